"""Text that is shown: whole characters, nothing that a stop string takes back, nothing lost."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from derailleur.engine.text import StopText


class Bytes:
    eos_id = 256

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return bytes(ids)


def feed(text: StopText, tokens: Iterable[int]) -> list[str]:
    """What is shown token by token, then the rest."""
    shown = []
    for token in tokens:
        shown.append(text.push(token))
        if text.stopped:
            return shown
    return [*shown, text.finish()]


def before_first(text: str, stop: list[str]) -> str:
    """The oracle: cut where the first stop string is complete."""
    for end in range(len(text) + 1):
        found = [text[:end].find(string) for string in stop if string and string in text[:end]]
        if found:
            return text[: min(found)]
    return text


any_text = st.text(alphabet="abc é中😀\n", max_size=30)
any_stops = st.lists(st.text(alphabet="abc é中\n", max_size=4), max_size=3)


@given(any_text, any_stops)
def test_text_ends_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    shown = feed(StopText(Bytes(), stop), text.encode())
    assert "".join(shown) == before_first(text, stop)


@given(any_text, any_stops, st.data())
def test_what_was_shown_is_never_taken_back(text: str, stop: list[str], data: st.DataObject) -> None:
    """At every moment, what was shown is a beginning of every text that may still come."""
    data_bytes = text.encode()
    cut = data.draw(st.integers(0, len(data_bytes)))
    stream = StopText(Bytes(), stop)
    shown = ""
    for token in data_bytes[:cut]:
        shown += stream.push(token)
        if stream.stopped:
            break
    assert before_first(text, stop).startswith(shown)


@given(any_text)
def test_without_stop_strings_every_character_comes_with_its_last_byte(text: str) -> None:
    stream = StopText(Bytes(), [])
    for character in text:
        *first, last = character.encode()
        assert [stream.push(byte) for byte in first] == [""] * len(first)
        assert stream.push(last) == character


def test_a_cut_off_character_is_shown_as_replacement() -> None:
    stream = StopText(Bytes(), [])
    assert stream.push("é".encode()[0]) == ""
    assert stream.finish() == "�"


def test_a_stop_string_may_be_completed_by_the_rest() -> None:
    stream = StopText(Bytes(), ["a�"])
    assert feed(stream, b"xa" + "é".encode()[:1]) == ["x", "", "", ""]
    assert stream.stopped
