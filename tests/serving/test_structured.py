"""Answers of a given shape over HTTP, and the other settings of sampling."""

import json
import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from derailleur.tokens import Tokenizer

Ask = Callable[..., dict]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"enum": ["a", "bc"]},
        "sizes": {"type": "array", "items": {"enum": [1, 22]}, "maxItems": 3},
    },
    "required": ["name", "sizes"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "asked",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        {"structured_outputs": {"json": SCHEMA}},
    ],
)
@pytest.mark.parametrize("draft", ["none", "fast", "ngram"])
def test_json_of_a_schema(ask: Ask, asked: dict, draft: str) -> None:
    answer = ask(prompt="x = ", max_tokens=120, temperature=0.8, seed=1, draft=draft, **asked)
    [choice] = answer["choices"]
    assert choice["text"].lstrip().startswith("{")
    if choice["finish_reason"] == "stop":
        value = json.loads(choice["text"])
        assert value["name"] in ("a", "bc") and set(value["sizes"]) <= {1, 22}


def test_a_regular_expression_is_matched_as_a_whole(ask: Ask) -> None:
    pattern = r"(left|right): [0-9]{2,4};"
    for seed in range(4):
        [choice] = ask(
            prompt="x", max_tokens=40, temperature=1, seed=seed, structured_outputs={"regex": pattern}
        )["choices"]
        assert re.fullmatch(pattern, choice["text"])
        assert choice["finish_reason"] == "stop"


def test_a_grammar(ask: Ask) -> None:
    grammar = 'start: "[" item ("," item)? "]"\nitem: /[ab]/ | "(" item ")"'
    [choice] = ask(prompt="x", max_tokens=60, structured_outputs={"grammar": grammar})["choices"]
    assert re.match(r"\[\(*[ab]?", choice["text"])


def test_an_answer_that_is_cut_says_length(ask: Ask) -> None:
    [choice] = ask(prompt="x", max_tokens=3, structured_outputs={"regex": "abcdefghijklmnop{100}"})["choices"]
    assert choice["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"structured_outputs": {"regex": "a("}}, "the regular expression cannot be used"),
        ({"structured_outputs": {"grammar": "start: ("}}, "the grammar cannot be used"),
        ({"structured_outputs": {"json": {"type": "objct"}}}, "the JSON schema cannot be used"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "expected one of json, regex and grammar"),
        ({"structured_outputs": {}}, "expected one of json, regex and grammar"),
        ({"response_format": {"type": "json_schema"}}, "json_schema is expected with type 'json_schema'"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        (
            {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
            "give response_format or structured_outputs, not both",
        ),
        ({"structured_outputs": {"regex": "a"}, "min_tokens": 3}, "min_tokens and a grammar"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(client: TestClient, body: dict, message: str) -> None:
    answer = client.post("/v1/completions", json={"prompt": "x", **body})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert message in error["message"] and "\n" not in error["message"]


def test_settings_of_sampling_reach_the_engine(ask: Ask, tokenizer: Tokenizer) -> None:
    [token] = tokenizer.encode("q")
    biased = ask(prompt="x = ", max_tokens=8, logit_bias={str(token): 100})["choices"][0]
    assert biased["text"] == "q" * 8
    varied = ask(prompt="x = ", max_tokens=8, logit_bias={str(token): 100}, frequency_penalty=2)["choices"][0]
    assert varied["text"] == "q" * 8  # 100 is more than the penalties take off
    repeated = ask(prompt="x = ", max_tokens=40, repetition_penalty=1.0)["choices"][0]["text"]
    penalised = ask(prompt="x = ", max_tokens=40, repetition_penalty=3.0, presence_penalty=2)["choices"][0]
    assert penalised["text"] != repeated
    certain = ask(prompt="x = ", max_tokens=8, temperature=1.5, min_p=1.0)["choices"][0]["text"]
    assert certain == ask(prompt="x = ", max_tokens=8)["choices"][0]["text"]
