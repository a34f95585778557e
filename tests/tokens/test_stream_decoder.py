from hypothesis import given
from hypothesis import strategies as st

from derailleur.tokens import StreamDecoder, Tokenizer


@given(data=st.data())
def test_pieces_of_any_ids_join_to_the_full_decode(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=4)))
    decoder = StreamDecoder(tokenizer)
    pieces = [decoder.feed(ids[a:b]) for a, b in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
    assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids)


@given(data=st.data())
def test_a_character_comes_whole_and_as_soon_as_it_is_there(
    tokenizer: Tokenizer, any_text: st.SearchStrategy[str], data: st.DataObject
) -> None:
    text = data.draw(any_text)
    decoder = StreamDecoder(tokenizer)
    seen, ids = "", tokenizer.encode(text)
    for count, i in enumerate(ids, 1):
        seen += decoder.feed([i])
        assert text.startswith(seen)
        assert seen == tokenizer.decode_bytes(ids[:count]).decode("utf-8", "ignore")
    assert seen == text
    assert decoder.flush() == ""


def test_a_cut_off_character_is_shown_at_the_end(tokenizer: Tokenizer) -> None:
    first_byte = tokenizer.encode("😀")[:1]
    decoder = StreamDecoder(tokenizer)
    assert decoder.feed(first_byte) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.feed(tokenizer.encode("next")) == "next"
