"""Recall measures recall: a model that remembers so far scores so far, and one pass is greedy decoding."""

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.engine import Engine
from derailleur.errors import DataError
from derailleur.evaluation.recall import Answer, Question, RecallScore, RecallScorer, question
from derailleur.evaluation.recall_places import (
    Place,
    RecallConfig,
    buckets,
    byte_offsets,
    choose_places,
)
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer
from derailleur.tokens.documents import Document

CPU = torch.device("cpu")
FULL = Placement("FF")
NAMES = ("alpha_reader", "brave_writer", "cedar_holder", "delta_keeper")


def document(text: str, language: str = "Python") -> Document:
    return Document("", "", "heldout", text, language)


def far_apart(name: str, num_lines: int, *, between: str = "x = 1\n") -> Document:
    """A file that defines a name, does other things, and then says it again."""
    return document(f"import os\n\ndef {name}(z):\n    return z\n" + between * num_lines + f"y = {name}(2)\n")


def places_of(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    *,
    context: int = 4096,
    edges: Sequence[int] = (1, 4096),
) -> list[Place]:
    config = RecallConfig(edges_tokens=tuple(edges), num_per_bucket=100)
    return choose_places(documents, tokenizer, config, context, np.random.default_rng(0))


def scorer(decoder: object, tokenizer: Tokenizer, batch_tokens: int = 8192) -> RecallScorer:
    return RecallScorer(decoder, tokenizer, batch_tokens=batch_tokens, device=CPU)  # type: ignore[arg-type]


class Remembering:
    """Writes the latest of the names that it knows, as long as all of it lies in the last `view` tokens."""

    def __init__(self, tokenizer: Tokenizer, view: int) -> None:
        self._vocab_size = tokenizer.vocab_size
        self._view = view
        self._names = [tokenizer.encode(f" {name}") for name in NAMES]
        self._nothing = tokenizer.encode(" = ")[0]
        self.after = tokenizer.encode("(")[0]

    def hidden(self, tokens: Tensor, placement: Placement | None = None) -> Tensor:
        """[batch, seq] -> [batch, seq, 1]: the token that comes next."""
        guesses = [[self._next(row[: end + 1]) for end in range(len(row))] for row in tokens.tolist()]
        return torch.tensor(guesses).unsqueeze(-1)

    def logits(self, hidden: Tensor) -> Tensor:
        return 20.0 * torch.nn.functional.one_hot(hidden.squeeze(-1), self._vocab_size)

    def _next(self, seen: list[int]) -> int:
        visible = seen[-self._view :]
        for start in range(len(visible) - 1, -1, -1):
            for name in self._names:
                if visible[start : start + len(name)] == name:
                    written = max(n for n in range(len(name) + 1) if seen[len(seen) - n :] == name[:n])
                    return [*name, self.after][written]
        return self._nothing


@pytest.mark.parametrize("view", [40, 120, 4000])
def test_recall_ends_where_the_model_stops_to_see_the_definition(tokenizer: Tokenizer, view: int) -> None:
    documents = [far_apart(name, lines) for name in NAMES for lines in (0, 5, 10, 20, 40)]
    places = places_of(documents, tokenizer)
    assert len(places) == len(documents)
    score = scorer(Remembering(tokenizer, view), tokenizer).score(places, FULL)
    for place, answer, control in zip(places, score.answers, score.controls, strict=True):
        num_tokens = len(tokenizer.encode(f" {place.name}"))
        # When the last token is to be written, the definition is that much further back.
        assert answer.correct == (place.distance + num_tokens - 1 <= view)
        assert not control.correct
        assert not answer.correct or answer.log_likelihood > control.log_likelihood + 20
    assert 0 < score.exact_match <= 1


@pytest.mark.parametrize(("letters", "sees"), [("SS", False), ("FS", True), ("KS", True)])
def test_a_sliding_window_cannot_tell_the_control_from_the_file(
    engine: Engine, tokenizer: Tokenizer, letters: str, sees: bool
) -> None:
    documents = [far_apart(name, 8, between="x = y + 17\n") for name in NAMES]
    places = places_of(documents, tokenizer, edges=(30, 4096))  # two layers of 8 tokens reach 14 back
    score = scorer(engine.decoder, tokenizer).score(places, Placement(letters))
    gains = [
        abs(answer.log_likelihood - control.log_likelihood)
        for answer, control in zip(score.answers, score.controls, strict=True)
    ]
    assert (min(gains) > 1e-3) if sees else (max(gains) < 1e-4)


def greedy(engine: Engine, ids: Sequence[int], num_tokens: int, placement: Placement) -> list[int]:
    [answer] = engine.generate([ids], placement=placement, max_tokens=num_tokens)
    return answer.tokens


@pytest.mark.parametrize("letters", ["FF", "SK", "GF"])
def test_one_pass_says_what_greedy_decoding_would_write(
    engine: Engine, tokenizer: Tokenizer, letters: str
) -> None:
    placement, rng, asked, wanted = Placement(letters), np.random.default_rng(1), [], []
    for length in range(3, 24):
        prompt = rng.integers(10, tokenizer.vocab_size, length).tolist()
        written = greedy(engine, prompt, 4, placement)
        if len(written) < 4:
            continue
        ends = not re.match(rb"[\w\x80-\xff]", tokenizer.decode_bytes(written[3:]))
        asked.append(Question([*prompt, *written[:3]], 3, b""))
        wanted.append(ends)
        for place in range(3):
            wrong = [*written[:3]]
            wrong[place] = (wrong[place] + 1) % tokenizer.vocab_size
            asked.append(Question([*prompt, *wrong], 3, b""))
            wanted.append(False)
    assert any(wanted) and len(asked) > 20
    answers = scorer(engine.decoder, tokenizer, batch_tokens=100).answer(asked, placement)
    assert [answer.correct for answer in answers] == wanted


def test_the_likelihood_is_that_of_the_name_given_what_its_first_token_begins_with(
    engine: Engine, tokenizer: Tokenizer
) -> None:
    asked = question(tokenizer, "total =", " depth"[1:], opens=True, context=48)
    assert asked.ids[0] == tokenizer.eos_id and tokenizer.decode(asked.ids[1:]) == "total =depth"
    asked = question(tokenizer, "total = ", "depth", opens=False, context=48)
    name = tokenizer.encode(" depth")
    assert asked == Question(tokenizer.encode("total =") + name, len(name), b" ")
    [answer] = scorer(engine.decoder, tokenizer).answer([asked], FULL)
    with torch.inference_mode():
        logits = engine.decoder(torch.tensor([asked.ids]), FULL).logits[0, -len(name) - 1 : -1]
    spaced = [i for i in range(tokenizer.vocab_size) if tokenizer.decode_bytes([i]).startswith(b" ")]
    nats = float(logits[0, name[0]] - logits[0, spaced].logsumexp(-1))
    nats += sum(float(logits[i].log_softmax(-1)[token]) for i, token in enumerate(name[1:], start=1))
    assert answer.log_likelihood == pytest.approx(nats, abs=1e-5)


def test_a_longer_name_that_begins_alike_is_no_match(tokenizer: Tokenizer) -> None:
    places = places_of([far_apart(NAMES[0], 3)], tokenizer)
    model = Remembering(tokenizer, 999)
    assert scorer(model, tokenizer).score(places, FULL).exact_match == 1
    model.after = tokenizer.encode("_more")[0]
    assert scorer(model, tokenizer).score(places, FULL).exact_match == 0


def test_scores_do_not_depend_on_the_batches(engine: Engine, tokenizer: Tokenizer) -> None:
    places = places_of([far_apart(name, lines) for name in NAMES for lines in (1, 3, 5)], tokenizer)
    one, many = (
        scorer(engine.decoder, tokenizer, size).score(places, Placement("GS")) for size in (1, 1 << 20)
    )
    for left, right in zip([*one.answers, *one.controls], [*many.answers, *many.controls], strict=True):
        assert left.correct == right.correct
        assert left.log_likelihood == pytest.approx(right.log_likelihood, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "reader = 1\n{gap}# the reader\n{gap}y = reader\n",  # a comment that has it
        "reader = 1\n{gap}Reader()\n{gap}y = reader\n",  # in another case
        "reader = 1\n{gap}a.reader_of()\n{gap}y = reader\n",  # in a longer name
        "reader = 1\n{gap}reader = 2\n",  # defined anew, not used
        "print(reader)\n{gap}y = reader\n",  # not defined
        "abc = 1\n{gap}y = abc\n",  # too short
        "print = 1\n{gap}y = print\n",  # a builtin
        "größe = 1\n{gap}y = größe\n",  # not ASCII
        "x = 'reader'\n{gap}y = reader\n",  # in a string alone
    ],
)
def test_what_could_be_copied_from_nearer_or_has_no_definition_is_not_asked(
    tokenizer: Tokenizer, text: str
) -> None:
    with pytest.raises(DataError, match="defined so long before"):
        places_of([document(text.format(gap="z = 1\n" * 9))], tokenizer, edges=(30, 4096))


def test_a_place_is_what_is_read_without_what_is_to_be_recalled(tokenizer: Tokenizer) -> None:
    text = "import os\n\n# é中😀\ndef reader(a):\n    return a\n" + "z = 1\n" * 9 + "y = os + reader(2)\n"
    [place] = [place for place in places_of([document(text)], tokenizer) if place.name == "reader"]
    assert place.text == text[: text.rindex("reader")] and place.opens
    assert place.control == place.text.replace("def reader(a):\n", "")
    ids = tokenizer.encode(text)
    ends = np.cumsum([len(tokenizer.decode_bytes([token])) for token in ids])
    spans = [text.index("reader"), text.rindex("reader")]
    first, second = (int(np.searchsorted(ends, len(text[:at].encode()), side="right")) for at in spans)
    assert place.distance == second - first


def test_no_more_is_read_than_the_context_and_the_definition_is_part_of_it(tokenizer: Tokenizer) -> None:
    documents = [far_apart(name, lines) for name in NAMES for lines in range(40)]
    for context in (48, 100):
        for place in places_of(documents, tokenizer, context=context, edges=(1, context)):
            asked = question(tokenizer, place.text, place.name, opens=place.opens, context=1 << 20)
            assert len(asked.ids) <= context + 1
            assert f"def {place.name}" in place.text
            assert place.distance < context


def test_buckets_are_those_that_fit_into_what_is_read() -> None:
    bounds = [(bucket.low_tokens, bucket.high_tokens) for bucket in buckets(RecallConfig(), 1024)]
    assert bounds == [(100, 250), (250, 500), (500, 1000)]
    beyond = buckets(RecallConfig(max_context=5000), 1024)
    assert [(bucket.context_tokens, bucket.beyond_context) for bucket in beyond] == [
        *[(1024, False)] * 3,
        (2048, True),
        (4096, True),
    ]
    assert {bucket.context_tokens for bucket in buckets(RecallConfig(max_context=600), 1024)} == {600}


def test_the_same_seed_asks_the_same_and_every_file_comes_before_a_second_place_of_one(
    tokenizer: Tokenizer,
) -> None:
    two = far_apart(NAMES[0], 6).content.replace(
        "y =", f"def {NAMES[1]}(): 1\n" + "x = 1\n" * 9 + f"{NAMES[1]}()\ny ="
    )
    documents = [document(two), far_apart(NAMES[2], 8), far_apart(NAMES[3], 8)]
    config = RecallConfig(edges_tokens=(10, 400), num_per_bucket=3)

    def chosen(seed: int) -> list[Place]:
        return choose_places(documents, tokenizer, config, 4096, np.random.default_rng(seed))

    assert chosen(3) == chosen(3)
    for seed in range(9):
        assert len({place.text[:40] for place in chosen(seed)}) == 3


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_byte_offsets_are_those_of_utf8(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    expected = [len(text[:end].encode()) for end in range(len(text) + 1)]
    assert byte_offsets(text).tolist() == expected


def test_a_row_has_shares_and_means_and_intervals_around_them() -> None:
    answers = [Answer(True, -1.0), Answer(False, -3.0), Answer(False, -5.0), Answer(True, -1.0)]
    controls = [Answer(False, -4.0), Answer(False, -4.0), Answer(False, -5.0), Answer(True, -1.5)]
    score = RecallScore(answers, controls)
    row = score.row()
    assert (row["places"], row["exact_match"], row["control_exact_match"]) == (4, 0.5, 0.25)
    assert row["gain_nats"] == pytest.approx(row["log_likelihood"] - row["control_log_likelihood"])
    assert row["gain_nats"] == pytest.approx(4.5 / 4)
    for middle, (low, high) in (
        (row["exact_match"], row["interval"]),
        (row["gain_nats"], row["gain_interval"]),
    ):
        assert low < middle < high
    assert score.where([True, False, False, False]).gain_nats == 3
    assert math.isclose(score.where([False] * 4).gain_nats, score.gain_nats)
