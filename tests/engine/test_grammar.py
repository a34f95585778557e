"""Constrained output: what is generated is in the language, in any company, with and without drafts."""

import json
import re
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.engine import NGRAM, DraftSource, Engine, Generation, Grammar, Request, Sampling
from derailleur.engine.grammar import Grammars
from derailleur.errors import UserError
from derailleur.placement import Placement

pytest.importorskip("llguidance")
FULL = Placement("FFFF")
DRAFTS = [None, Placement("FSKG"), Placement("GGGG"), NGRAM]


class Words:
    """Bytes, an end, and words of several bytes, some of them no characters."""

    eos_id = 256
    words = (b"ab", b"abc", b'{"', b'":', b"\xe4\xb8", b"true", b"")

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode_bytes(self, ids: list[int]) -> bytes:
        return b"".join(bytes([i]) if i < 256 else b"" if i == 256 else self.words[i - 257] for i in ids)


VOCAB = 257 + len(Words.words)


def run(engine: Engine, requests: list[Request]) -> list[Generation]:
    answers = {engine.submit(request): Generation() for request in requests}
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    return list(answers.values())


@pytest.mark.parametrize("draft", DRAFTS, ids=str)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_are_in_the_language(
    make_engine: Callable[..., Engine], draft: DraftSource | None, temperature: float
) -> None:
    """Finished ones wholly; the batch mixes grammars, plain requests and placements."""
    pattern = r"(ab?c|x+y|[0-9]{3}\.)*;"
    schema = {"type": "array", "items": {"enum": [True, "é"]}, "minItems": 1, "maxItems": 2}
    grammars = [Grammar("regex", pattern), Grammar("json", json.dumps(schema)), None]
    requests = [
        Request(
            prompt=[10 + seed, 2, 3],
            placement=placement,
            draft=draft,
            max_tokens=40,
            grammar=grammar,
            sampling=Sampling(temperature=temperature, seed=seed),
        )
        for seed, placement in enumerate([FULL, Placement("GKSF")] * 3)
        for grammar in grammars
    ]
    answers = run(make_engine(), requests)
    finished = 0
    for request, answer in zip(requests, answers, strict=True):
        if request.grammar is None:
            continue
        assert answer.finish_reason in ("stop", "length")
        if answer.finish_reason == "length":
            assert len(answer.tokens) == 40
        elif request.grammar.kind == "regex":
            finished += bool(re.fullmatch(pattern, answer.text))
            assert re.fullmatch(pattern, answer.text)
        else:
            assert set(json.loads(answer.text)) <= {True, "é"}
    assert finished or temperature == 0


@pytest.mark.parametrize("placement", [FULL, Placement("FSKG")])
def test_greedy_constrained_text_is_the_same_with_drafts(
    make_engine: Callable[..., Engine], placement: Placement
) -> None:
    settings = {"prompt": [1, 2, 3], "placement": placement, "max_tokens": 40}
    grammar = Grammar("regex", r"[a-z]{5,9}( [a-z]{5,9}){2,5}\n")
    answers = run(make_engine(), [Request(**settings, grammar=grammar, draft=draft) for draft in DRAFTS])
    assert {tuple(answer.tokens) for answer in answers} == {tuple(answers[0].tokens)}
    # Under a grammar a draft's choices are the target's more often; it is counted as always.
    assert answers[1].speculation is not None and answers[1].speculation.drafted > 0


def test_a_text_ends_where_nothing_can_follow(make_engine: Callable[..., Engine]) -> None:
    """No step is spent on an end token; a stop string and max_tokens end it earlier."""

    def ask(**settings: object) -> Generation:
        asked = {
            "prompt": [1],
            "placement": FULL,
            "max_tokens": 20,
            "grammar": Grammar("lark", 'start: "hello"'),
        }
        return run(make_engine(), [Request(**{**asked, **settings})])[0]

    whole = ask()
    assert (whole.text, whole.tokens, whole.finish_reason) == ("hello", list(b"hello"), "stop")
    assert ask(draft=FULL).tokens == whole.tokens
    cut = ask(max_tokens=3)
    assert (cut.text, cut.finish_reason) == ("hel", "length")
    stopped = ask(stop=["ll"])
    assert (stopped.text, stopped.finish_reason) == ("he", "stop")
    assert ask(max_tokens=5).finish_reason == "stop"


def test_white_space_in_json_ends(make_engine: Callable[..., Engine]) -> None:
    space = Sampling(logit_bias={ord(" "): 100.0})
    grammar = Grammar("json", '{"type": "array", "items": {"const": 7}, "minItems": 1, "maxItems": 1}')
    [answer] = make_engine().generate([[1]], placement=FULL, max_tokens=150, grammar=grammar, sampling=space)
    assert (json.loads(answer.text), answer.finish_reason) == ([7], "stop")
    assert " " * 32 in answer.text and " " * 33 not in answer.text


def test_endings_come_where_the_grammar_may_end(make_engine: Callable[..., Engine]) -> None:
    """Tokens that end the request are no text of it, though their bytes would fit."""
    ending = ord("z")
    settings = {"prompt": [1], "placement": FULL, "max_tokens": 8, "stop_tokens": frozenset([ending])}
    bias = Sampling(logit_bias={ending: 100.0, ord("y"): 50.0})
    [answer] = run(make_engine(), [Request(**settings, sampling=bias, grammar=Grammar("regex", "[yz]{3,6}"))])
    assert (answer.tokens, answer.text) == ([*b"yyy", ending], "yyy")
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (Grammar("regex", "a("), "the regular expression cannot be used: .*unclosed group"),
        (Grammar("lark", "start: missing"), 'the grammar cannot be used: .*unknown name: "missing"'),
        (Grammar("json", '{"type": "objct"}'), "the JSON schema cannot be used: Invalid type: objct"),
        (Grammar("json", "{"), "the JSON schema cannot be used"),
    ],
)
def test_invalid_grammars_are_refused_in_one_line(
    make_engine: Callable[..., Engine], grammar: Grammar, message: str
) -> None:
    engine = make_engine()
    with pytest.raises(UserError, match=message) as refused:
        engine.submit(Request(prompt=[1], placement=FULL, max_tokens=4, grammar=grammar))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert not engine.busy


def test_without_the_library_it_is_said_how_to_get_it(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UserError, match=r"pip install 'derailleur\[constrained\]'"):
        make_engine().submit(Request(prompt=[1], placement=FULL, max_tokens=4, grammar=Grammar("regex", "a")))


LANGUAGES = {
    r"(ab|cd)*e?": lambda text: re.fullmatch(rb"((ab|cd)*e?|(ab|cd)*[ac]?)", text),
    r"[a-c]{2,4}": lambda text: re.fullmatch(rb"[a-c]{0,4}", text),
}
GRAMMARS = Grammars(Words(), VOCAB)


@given(pattern=st.sampled_from(sorted(LANGUAGES)), data=st.data())
@settings(max_examples=60, deadline=None)
def test_masks_are_those_of_trying_every_token(pattern: str, data: st.DataObject) -> None:
    """A token is allowed if the text with its bytes can still be completed (the oracle knows these two)."""
    constraint = GRAMMARS.constraint(Grammar("regex", pattern), [Words.eos_id])
    possible, words = LANGUAGES[pattern], Words()
    text: list[int] = []
    for _ in range(data.draw(st.integers(0, 4))):
        mask = constraint.allowed(())
        for token in range(VOCAB):
            if token != Words.eos_id and words.decode_bytes([token]):
                assert bool(mask[token]) == bool(possible(words.decode_bytes([*text, token])))
        assert bool(mask[Words.eos_id]) == bool(re.fullmatch(pattern.encode(), words.decode_bytes(text)))
        choices = [token for token in mask.nonzero().flatten().tolist() if token != Words.eos_id]
        if not choices:
            break
        text.append(data.draw(st.sampled_from(choices)))
        # Looking ahead leaves the constraint where it is.
        ahead = constraint.allowed(text[-1:])
        assert torch.equal(constraint.allowed(()), mask)
        constraint.push(text[-1])
        if constraint.complete:
            break
        assert torch.equal(constraint.allowed(()), ahead)
