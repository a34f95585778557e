"""Pieces of a streamed text: which characters a draft proposed."""

import json
from collections.abc import Callable
from itertools import accumulate, pairwise

import openai
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from derailleur.engine import Delta, Request
from derailleur.engine.text import StopText
from derailleur.placement import Placement
from derailleur.serving.pieces import Pieces
from derailleur.tokens import Tokenizer

TEXT = "größe = '→ 日本 🚲'  # größer"
BODY = {"prompt": "import json\n", "max_tokens": 24, "temperature": 0, "preset": "balanced", "stream": True}


@pytest.fixture(scope="session")
def bytewise() -> Tokenizer:
    """Hardly any merges, so that most characters of TEXT are several tokens."""
    return Tokenizer.train(["ab"], vocab_size=300)


def pieces_of(tokenizer: Tokenizer) -> Pieces:
    request = Request(prompt=[0], placement=Placement("FF"), draft=Placement("GG"), max_tokens=99)
    return Pieces([request], tokenizer)


@given(data=st.data())
def test_every_character_has_the_origin_of_its_last_token(bytewise: Tokenizer, data: st.DataObject) -> None:
    """However tokens come in deltas, and whatever a stop string holds back."""
    ids = bytewise.encode(TEXT)
    text = StopText(bytewise, data.draw(st.lists(st.sampled_from(["größte", "日本語", "'!", "🚲''"]))))
    pieces, shown, of_tokens, rest = pieces_of(bytewise), [], [], ids
    while rest:
        size = data.draw(st.integers(1, min(9, len(rest))))
        own, rest = rest[:size], rest[size:]
        accepted = data.draw(st.integers(0, size))
        of_tokens += [place < accepted for place in range(size)]
        new = "".join(map(text.push, own)) + ("" if rest else text.finish())
        given = pieces.of(0, Delta(0, own, new, accepted)) or []
        assert "".join(piece.text for piece in given) == new
        assert all(a.accepted != b.accepted for a, b in pairwise(given))
        shown += [(character, piece.accepted) for piece in given for character in piece.text]
    ends = list(accumulate(len(bytewise.decode_bytes([token])) for token in ids))
    of_bytes = {end: accepted for end, accepted in zip(ends, of_tokens, strict=True)}
    expected = [of_bytes[end] for end in accumulate(len(character.encode()) for character in TEXT)]
    assert shown == list(zip(TEXT, expected, strict=True))


def test_a_character_that_is_never_completed(bytewise: Tokenizer) -> None:
    [first, *_] = bytewise.encode("→")
    [piece] = pieces_of(bytewise).of(0, Delta(0, [first], "\ufffd", 1)) or []
    assert (piece.text, piece.accepted) == ("\ufffd", False)


def stream(client: TestClient, path: str, body: dict) -> list[dict]:
    lines = client.post(path, json=body).text.split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line and "[DONE]" not in line]


def test_a_stream_with_a_draft_has_pieces(
    client: TestClient, ask: Callable[..., dict], tokenizer: Tokenizer
) -> None:
    choices = [
        c for e in stream(client, "/v1/completions", {**BODY, "draft": "balanced"}) for c in e["choices"]
    ]
    text = ask(**{**BODY, "stream": False})["choices"][0]["text"]
    pieces = [piece for choice in choices for piece in choice["pieces"]]
    assert all("".join(p["text"] for p in choice["pieces"]) == choice["text"] for choice in choices)
    assert "".join(piece["text"] for piece in pieces) == text
    # A placement accepts all that it drafted itself: only the last token of a step is not a draft's.
    assert choices[-1]["speculation"]["acceptance_rate"] == 1
    assert sum(piece["accepted"] for piece in pieces) > 1
    assert any(not piece["accepted"] for piece in pieces)


def test_nothing_drafted_nothing_said(client: TestClient) -> None:
    for body in ({**BODY, "draft": "none"}, {**BODY, "draft": "fast", "stream": False}):
        answer = client.post("/v1/completions", json=body)
        events = stream(client, "/v1/completions", body) if body["stream"] else [answer.json()]
        assert all(choice["pieces"] is None for event in events for choice in event["choices"])


def test_usage_in_every_chunk(client: TestClient, tokenizer: Tokenizer) -> None:
    usages = [
        event["usage"]
        for event in stream(
            client, "/v1/completions", {**BODY, "stream_options": {"continuous_usage_stats": True}}
        )
    ]
    counts = [usage["completion_tokens"] for usage in usages]
    assert counts == sorted(counts) and counts[0] < counts[-1] <= 24
    assert {usage["prompt_tokens"] for usage in usages} == {len(tokenizer.encode(BODY["prompt"]))}
    plain = stream(client, "/v1/completions", BODY)
    assert all(event["usage"] is None for event in plain)


def test_openais_client_passes_them_on(address: str) -> None:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    asked = {**BODY, "model": "tiny"}
    preset, stream = asked.pop("preset"), asked.pop("stream")
    extra = {"preset": preset, "draft": "balanced"}
    chunks = list(client.completions.create(**asked, stream=stream, extra_body=extra))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].model_extra["pieces"]]
    assert "".join(piece["text"] for piece in pieces) == "".join(chunk.choices[0].text for chunk in chunks)
