"""The HTTP interface, in-process: what is answered, in which shape, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from derailleur import serving
from derailleur.engine import Engine, Sampling
from derailleur.model.mixers import PAGE_TOKENS
from derailleur.placement import Placement
from derailleur.placement.presets import load_presets
from derailleur.tokens import Tokenizer, infill_prompt

Ask = Callable[..., dict]


def generated(engine_folder: Path, tokenizer: Tokenizer, letters: str, prompt: list[int], **settings) -> str:
    """What the engine alone says."""
    engine = Engine(engine_folder, tokenizer)
    control = frozenset({tokenizer.eos_id} | tokenizer.fim.ids)
    [answer] = engine.generate(
        [prompt], placement=Placement(letters), max_tokens=12, stop_tokens=control, **settings
    )
    return answer.text


def stream(client: TestClient, body: dict) -> list[dict]:
    """The events of a streamed completion, which must end with [DONE]."""
    with client.stream("POST", "/v1/completions", json={"stream": True, **body}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, last = [line[len("data: ") :] for line in answer.iter_lines() if line]
    assert last == "[DONE]"
    return [json.loads(event) for event in events]


def test_models_lists_every_preset(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["tiny", "tiny@full", "tiny@balanced", "tiny@fast"]
    assert all(entry["object"] == "model" for entry in listed["data"])


def test_presets_say_their_placements(client: TestClient) -> None:
    listed = client.get("/v1/presets").json()
    assert {entry["name"]: entry["placement"] for entry in listed["data"]} == {
        "full": "FFFF",
        "balanced": "FSKG",
        "fast": "GGGG",
    }
    assert (listed["default"], listed["draft"], listed["infill"], listed["max_context"]) == (
        "full", "GGGG", True, 512,
    )  # fmt: skip


def test_health_counts_what_runs(client: TestClient, ask: Ask) -> None:
    ask(prompt="x", max_tokens=3)
    health = client.get("/health").json()
    assert (health["status"], health["running"], health["waiting"]) == ("ok", 0, 0)
    assert set(health["state_bytes"].values()) == {0}


@pytest.mark.parametrize(
    ("asked", "letters"),
    [
        ({}, "FFFF"),
        ({"model": "tiny"}, "FFFF"),
        ({"model": "tiny@balanced"}, "FSKG"),
        ({"preset": "fast"}, "GGGG"),
        ({"placement": "2F 2S"}, "FFSS"),
        ({"model": "tiny@all-kda"}, "KKKK"),
        ({"model": "tiny@fast", "preset": "fast"}, "GGGG"),
    ],
)
def test_every_way_to_ask_for_a_placement(
    ask: Ask, folder: Path, tokenizer: Tokenizer, asked: dict, letters: str
) -> None:
    prompt = "def load(fp):\n    return"
    answer = ask(prompt=prompt, max_tokens=12, **asked)
    assert answer["placement"] == letters
    assert answer["model"] == asked.get("model", "tiny")
    assert answer["object"] == "text_completion"
    [choice] = answer["choices"]
    assert choice["text"] == generated(folder, tokenizer, letters, tokenizer.encode(prompt))
    assert choice["finish_reason"] in ("length", "stop")
    assert answer["usage"]["prompt_tokens"] == len(tokenizer.encode(prompt))


def test_prompts_of_every_kind(ask: Ask, tokenizer: Tokenizer) -> None:
    texts = ["import os\n", "class A:"]
    ids = [tokenizer.encode(text) for text in texts]
    singly = [ask(prompt=text, max_tokens=6)["choices"][0]["text"] for text in texts]
    for prompt in (texts, ids):
        answer = ask(prompt=prompt, max_tokens=6)
        assert [choice["text"] for choice in answer["choices"]] == singly
        assert [choice["index"] for choice in answer["choices"]] == [0, 1]
        assert answer["usage"]["prompt_tokens"] == sum(map(len, ids))
    assert ask(prompt=ids[0], max_tokens=6)["choices"][0]["text"] == singly[0]
    assert ask(prompt="", max_tokens=6)["usage"]["prompt_tokens"] == 1


def test_a_stream_says_the_same_as_an_answer(client: TestClient, ask: Ask) -> None:
    body = {"prompt": ["a = ", "b = "], "max_tokens": 9, "temperature": 0.7, "seed": 4, "n": 2, "logprobs": 1}
    whole = ask(**body)
    events = stream(client, {**body, "draft": "none", "stream_options": {"include_usage": True}})
    *pieces, last = events
    assert last["choices"] == [] and last["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [p["choices"][0] for p in pieces if p["choices"][0]["index"] == choice["index"]]
        assert "".join(piece["text"] for piece in own) == choice["text"]
        assert [piece["finish_reason"] for piece in own][-1] == choice["finish_reason"]
        assert all(piece["finish_reason"] is None for piece in own[:-1])
        tokens = [t for piece in own if piece["logprobs"] for t in piece["logprobs"]["tokens"]]
        assert tokens == choice["logprobs"]["tokens"]
    assert {event["id"] for event in events} == {events[0]["id"]}
    assert len(pieces) > 4


def test_a_suffix_fills_in(ask: Ask, folder: Path, tokenizer: Tokenizer) -> None:
    before, after = "def f(x):\n    ", "\n    return y\n"
    ids = infill_prompt(before, after, tokenizer, 500).ids
    answer = ask(prompt=before, suffix=after, max_tokens=12)
    assert answer["choices"][0]["text"] == generated(folder, tokenizer, "FFFF", ids)
    assert answer["usage"]["prompt_tokens"] == len(ids)


def test_a_long_file_around_the_cursor_is_cut_to_the_context(ask: Ask) -> None:
    answer = ask(prompt="a = 1\n" * 500, suffix="b = 2\n" * 500, max_tokens=12)
    assert answer["usage"]["prompt_tokens"] == 512 - 12


def test_seeds_samples_and_n(ask: Ask, folder: Path, tokenizer: Tokenizer) -> None:
    body = {"prompt": "x = ", "max_tokens": 12, "temperature": 0.8, "top_p": 0.9, "top_k": 40, "seed": 5}
    three = [choice["text"] for choice in ask(**body, n=3)["choices"]]
    assert len(set(three)) == 3
    assert ask(**body)["choices"][0]["text"] == three[0]
    sampling = Sampling(temperature=0.8, top_p=0.9, top_k=40, seed=5)
    assert generated(folder, tokenizer, "FFFF", tokenizer.encode("x = "), sampling=sampling) == three[0]


def test_best_of_gives_the_likeliest_samples(ask: Ask) -> None:
    body = {"prompt": ["x = ", "y"], "max_tokens": 8, "temperature": 1, "seed": 3}
    written = ask(**body, n=5, logprobs=0)["choices"]
    means = [sum(c["logprobs"]["token_logprobs"]) / len(c["logprobs"]["tokens"]) for c in written]
    best = [sorted(places, key=lambda i: -means[i])[:2] for places in (range(5), range(5, 10))]
    answer = ask(**body, n=2, best_of=5)
    assert [c["text"] for c in answer["choices"]] == [written[i]["text"] for two in best for i in two]
    assert [c["index"] for c in answer["choices"]] == [0, 1, 2, 3]
    assert all(choice["logprobs"] is None for choice in answer["choices"])
    assert answer["usage"]["completion_tokens"] == sum(len(c["logprobs"]["tokens"]) for c in written)
    echoed = ask(**body, n=2, best_of=5, echo=True, logprobs=0)["choices"]
    assert [c["text"] for c in echoed[:2]] == ["x = " + written[i]["text"] for i in best[0]]


def test_stop_strings_end_the_text(ask: Ask) -> None:
    plain = ask(prompt="x = ", max_tokens=20)["choices"][0]["text"]
    stop = plain[7:10]
    [choice] = ask(prompt="x = ", max_tokens=20, stop=["never there", stop])["choices"]
    assert choice["text"] == plain[: plain.index(stop)]
    assert choice["finish_reason"] == "stop"


def test_echo_and_logprobs(ask: Ask, tokenizer: Tokenizer) -> None:
    prompt = "def dumps(obj):"
    ids = tokenizer.encode(prompt)
    [choice] = ask(prompt=prompt, max_tokens=4, echo=True, logprobs=3)["choices"]
    assert choice["text"].startswith(prompt)
    logprobs = choice["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["text_offset"])
    assert logprobs["tokens"][: len(ids)] == [tokenizer.decode([i]) for i in ids]
    assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
    assert logprobs["text_offset"][:3] == [
        0,
        len(logprobs["tokens"][0]),
        len("".join(logprobs["tokens"][:2])),
    ]
    for token, value, top in list(zip(*list(logprobs.values())[:3], strict=True))[1:]:
        assert top[token] == value <= 0
        assert len(top) in (3, 4)
    scored = ask(prompt=prompt, max_tokens=0, echo=True, logprobs=0)["choices"][0]
    assert scored["text"] == prompt and scored["finish_reason"] == "length"
    assert scored["logprobs"]["token_logprobs"][1:] == pytest.approx(
        logprobs["token_logprobs"][1 : len(ids)], abs=1e-4
    )


def test_a_draft_changes_the_numbers_and_not_the_text(ask: Ask, client: TestClient) -> None:
    body = {"prompt": "import json\n", "max_tokens": 24, "preset": "balanced"}
    plain = ask(**body)
    assert plain["draft"] is None and plain["choices"][0]["speculation"] is None
    drafted = ask(**body, draft="full")
    assert drafted["choices"][0]["text"] == plain["choices"][0]["text"]
    assert drafted["draft"] == "FFFF"
    numbers = drafted["choices"][0]["speculation"]
    assert 0 <= numbers["accepted"] <= numbers["drafted"]
    by_default = client.post("/v1/completions", json={**body, "temperature": 0}).json()
    assert by_default["draft"] == "GGGG"
    assert by_default["choices"][0]["text"] == plain["choices"][0]["text"]
    sampled = client.post("/v1/completions", json={**body, "temperature": 1, "seed": 3}).json()
    assert sampled["draft"] == "GGGG" and sampled["choices"][0]["speculation"]["drafted"] > 0
    copied = ask(**body, draft="ngram")
    assert copied["draft"] == "ngram"
    assert copied["choices"][0]["text"] == plain["choices"][0]["text"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"preset": "balancd"}, 400, "unknown preset 'balancd'; did you mean 'balanced'?"),
        ({"placement": "FFF"}, 400, "has 3 layers"),
        ({"model": "gpt-4"}, 404, "model 'gpt-4' does not exist; this server has 'tiny'"),
        ({"model": "tiny@fast", "preset": "full"}, 400, "ask for different placements"),
        ({"preset": "fast", "placement": "GGGG"}, 400, "not both"),
        ({"temperature": 3}, 400, "temperature: Input should be less than or equal to 2"),
        ({"prompts": "x"}, 400, "prompts: unknown field"),
        ({"prompt": [[1], "x"]}, 400, "prompt"),
        ({"prompt": [99999]}, 400, "outside 0 .. 399"),
        ({"prompt": []}, 400, "prompt is an empty list"),
        ({"prompt": "x" * 9000}, 400, "the context is 512"),
        ({"draft": "fst"}, 400, "draft: unknown preset 'fst'; did you mean 'fast'?"),
        ({"suffix": "b", "prompt": [1, 2]}, 400, "suffix needs a prompt of text"),
        ({"suffix": "b", "echo": True}, 400, "echo and suffix"),
        ({"suffix": "b", "max_tokens": 600}, 400, "max_tokens"),
        ({"presence_penalty": 3}, 400, "presence_penalty: Input should be less than or equal to 2"),
        ({"logit_bias": {"x": 1}}, 400, "logit_bias.x"),
        ({"logit_bias": {"5": 101}}, 400, "logit_bias.5: Input should be less than or equal to 100"),
        ({"logit_bias": {"400": 1}}, 400, "logit_bias has token ids outside 0 .. 399"),
        ({"n": 3, "best_of": 2}, 400, "best_of is 2; expected at least n (3)"),
        ({"best_of": 3, "stream": True}, 400, "best_of cannot be streamed"),
        ({"best_of": 99}, 400, "99 answers per prompt; this server gives at most 32"),
    ],
)
def test_refusals_have_openais_shape(client: TestClient, body: dict, status: int, message: str) -> None:
    answer = client.post("/v1/completions", json={"prompt": "x", **body})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}
    assert client.get("/health").json()["running"] == 0


def test_broken_bodies_and_paths_have_it_too(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    for content in (b"{", b"\xff\xfe", b"[]", b""):
        answer = client.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]
    surrogate = client.post("/v1/completions", content=rb'{"prompt": "\ud800"}', headers=headers)
    assert surrogate.status_code == 400
    assert client.get("/v1/nothing").json()["error"]["message"] == "Not Found"
    assert client.get("/v1/completions").status_code == 405


def test_a_model_that_cannot_infill_says_so(folder: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "tokenizer.json"
    renamed.write_text((folder / "tokenizer.json").read_text().replace("<|fim_", "<|other_"))
    tokenizer = Tokenizer.load(renamed)
    engine = Engine(folder, tokenizer)
    model = serving.ServedModel("tiny", tokenizer, load_presets(folder), engine.max_context)
    with TestClient(serving.create_app(model, serving.EngineWorker(engine))) as client:
        answer = client.post("/v1/completions", json={"prompt": "a", "suffix": "b"})
        assert answer.status_code == 400
        assert "no fill-in-the-middle tokens" in answer.json()["error"]["message"]
        assert client.get("/v1/presets").json()["infill"] is False


def test_keys(engine: Engine, model: serving.ServedModel) -> None:
    keys = serving.KeyRing([serving.ApiKey(name=key, key=key) for key in ("first", "sécond")])
    with TestClient(serving.create_app(model, serving.EngineWorker(engine), keys=keys)) as client:
        for path in ("/v1/models", "/v1/presets"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["error"]["code"] == "invalid_api_key"
        refused = client.post("/v1/completions", json={"prompt": "x"})
        assert refused.status_code == 401
        for key in ("first", "sécond"):
            headers = {"Authorization": f"Bearer {key}".encode()}
            assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
    outside = [word for word in answer.text.split('"') if word.startswith(("http:", "https:", "//"))]
    assert outside == []


def test_usage_says_what_was_not_read_again(ask: Ask, tokenizer: Tokenizer) -> None:
    """An editor's next request: the same file and a little more; samples of a prompt read it once."""
    file = "def load(fp):\n    return loads(fp.read())\n\n\n" * 12
    num_tokens = len(tokenizer.encode(file))
    assert num_tokens > 150
    for preset, spare in (("full", 2), ("balanced", 2 * PAGE_TOKENS)):
        first = ask(prompt=file, preset=preset, max_tokens=2, n=3)["usage"]
        assert first["prompt_tokens_details"]["cached_tokens"] == 0
        again = ask(prompt=file + "x = [", preset=preset, max_tokens=2, n=3)["usage"]
        assert num_tokens - spare <= again["prompt_tokens_details"]["cached_tokens"] < again["prompt_tokens"]
