"""/infill with the bodies that llama.vim and llama.vscode send, /v1/fim/completions with Continue's."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from derailleur import serving
from derailleur.engine import Engine
from derailleur.placement import Placement
from derailleur.placement.presets import load_presets
from derailleur.serving.infill import editor_prompt
from derailleur.serving.infill_protocol import ExtraFile
from derailleur.tokens import Tokenizer, infill_prompt

BEFORE, LINE, AFTER = "import json\n\n\ndef load(path):\n", "    with open(", "\n    return text\n"
CHUNKS = [
    {"text": "def dump(path, text):\n    pass\n", "time": [1, 2], "filename": "dump.py"},
    {"text": "ROOT = '/srv'\n", "time": [3, 4], "filename": "settings.py"},
]
LLAMA_VIM = {
    "input_prefix": BEFORE,
    "input_suffix": AFTER,
    "input_extra": CHUNKS,
    "prompt": LINE,
    "n_predict": 24,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 60_000,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/prompt_per_token_ms",
        "timings/prompt_per_second",
        "timings/predicted_n",
        "timings/predicted_ms",
        "timings/predicted_per_token_ms",
        "timings/predicted_per_second",
        "truncated",
        "tokens_cached",
    ],
}
LLAMA_VSCODE = {
    "input_prefix": BEFORE,
    "input_suffix": AFTER,
    "input_extra": CHUNKS,
    "prompt": LINE,
    "n_predict": 24,
    "top_k": 40,
    "top_p": 0.99,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "n_indent": 4,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 60_000,
    "lora": [{"id": 0, "scale": 0.5}],
}
# Sent in pauses, so that the next request finds the other files read.
PREPARING = {
    "input_prefix": "",
    "input_suffix": "",
    "input_extra": CHUNKS,
    "prompt": "",
    "n_predict": 0,
    "temperature": 0.0,
    "stream": False,
    "samplers": [],
    "cache_prompt": True,
    "t_max_prompt_ms": 1,
    "t_max_predict_ms": 1,
}
CONTINUE = {
    "model": "tiny@fast",
    "prompt": BEFORE + LINE,
    "suffix": AFTER,
    "max_tokens": 24,
    "temperature": 0.01,
    "stop": ["/src/", "#- coding: utf-8", "```", *(f"\n{word}" for word in ("def", "class", '"""#'))],
    "stream": True,
}


@pytest.fixture
def fill(client: TestClient) -> Callable[[dict], dict]:
    def asked(body: dict) -> dict:
        answer = client.post("/infill", json=body, headers={"Authorization": "Bearer "})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


@pytest.fixture
def with_files(folder: Path, tmp_path: Path) -> Tokenizer:
    """The tokenizer with one of its tokens in the role of the one that separates files."""
    file = tmp_path / "tokenizer.json"
    file.write_text((folder / "tokenizer.json").read_text().replace("<|fim_pad|>", "<|file_sep|>"))
    return Tokenizer.load(file)


def middle(engine: Engine, tokenizer: Tokenizer, max_tokens: int, letters: str = "FFFF", **options) -> str:
    """What the engine alone says to the prompt that the editors' bodies should make."""
    files = [tokenizer.encode(f"{chunk['filename']}\n{chunk['text']}\n") for chunk in CHUNKS]
    ids = [*files[0], *files[1], *infill_prompt(BEFORE + LINE, AFTER, tokenizer, 400).ids]
    control = frozenset({tokenizer.eos_id} | tokenizer.fim.ids)
    [answer] = engine.generate(
        [ids], placement=Placement(letters), max_tokens=max_tokens, stop_tokens=control, **options
    )
    return answer.text


def test_llama_vim(fill: Callable[[dict], dict], folder: Path, tokenizer: Tokenizer) -> None:
    answer = fill(LLAMA_VIM)
    assert set(answer) == set(LLAMA_VIM["response_fields"])
    assert answer["content"] == middle(Engine(folder, tokenizer), tokenizer, 24)
    assert answer["timings/predicted_n"] == 24 and answer["timings/prompt_n"] > 40
    assert answer["truncated"] is False and 0 <= answer["tokens_cached"] < answer["timings/prompt_n"]
    assert fill({**PREPARING, "response_fields": [""]}) == {}


def test_llama_vscode(fill: Callable[[dict], dict], folder: Path, tokenizer: Tokenizer) -> None:
    answer = fill(LLAMA_VSCODE)
    assert answer["content"] == middle(Engine(folder, tokenizer), tokenizer, 24)
    assert (answer["stop"], answer["stop_type"], answer["stopping_word"]) == (True, "limit", "")
    assert answer["tokens_predicted"] == answer["timings"]["predicted_n"] == 24
    assert answer["tokens_evaluated"] == answer["timings"]["prompt_n"]
    again = fill(LLAMA_VSCODE)
    assert again["timings"]["cache_n"] == again["tokens_cached"] > 0
    assert again["timings"]["prompt_n"] == again["tokens_evaluated"] - again["tokens_cached"]
    assert answer["model"] == "tiny" and answer["placement"] == "FFFF"
    assert answer["generation_settings"]["n_predict"] == 24
    for spelled in (LINE, AFTER, "dump.py", "<|fim_prefix|>"):
        assert spelled in answer["prompt"]
    prepared = fill(PREPARING)
    assert (prepared["content"], prepared["tokens_predicted"]) == ("", 0)
    assert prepared["tokens_evaluated"] > 20


def test_a_stream_ends_with_the_numbers(client: TestClient, fill: Callable[[dict], dict]) -> None:
    body = {key: value for key, value in LLAMA_VIM.items() if key != "response_fields"}
    whole = fill({**body, "return_tokens": True})
    with client.stream("POST", "/infill", json={**body, "stream": True}) as answer:
        *pieces, last = [json.loads(line[len("data: ") :]) for line in answer.iter_lines() if line]
    assert "".join(piece["content"] for piece in pieces) == whole["content"]
    assert [token for piece in [*pieces, last] for token in piece["tokens"]] == whole["tokens"]
    assert not any(piece["stop"] for piece in pieces) and last["stop"] is True and last["content"] == ""
    assert last["tokens_predicted"] == whole["tokens_predicted"] == 24


def test_continue_speaks_mistrals_fill_in_the_middle(
    client: TestClient, folder: Path, tokenizer: Tokenizer
) -> None:
    greedy = {**CONTINUE, "temperature": 0}
    with client.stream("POST", "/v1/fim/completions", json=greedy) as answer:
        *events, done = [line[len("data: ") :] for line in answer.iter_lines() if line]
    text = "".join(json.loads(event)["choices"][0]["delta"]["content"] for event in events)
    ids = infill_prompt(BEFORE + LINE, AFTER, tokenizer, 400).ids
    [alone] = Engine(folder, tokenizer).generate(
        [ids],
        placement=Placement("GGGG"),
        max_tokens=24,
        stop=CONTINUE["stop"],
        stop_tokens=tokenizer.fim.ids,
    )
    assert done == "[DONE]" and text == alone.text
    body = {key: value for key, value in greedy.items() if key not in ("stream", "max_tokens")}
    whole = client.post("/v1/fim/completions", json={**body, "random_seed": 3, "min_tokens": 1}).json()
    assert whole["choices"][0]["message"]["content"].startswith(text)
    assert client.post("/v1/fim/completions", json=CONTINUE).status_code == 200


def test_why_a_text_ends(fill: Callable[[dict], dict], tokenizer: Tokenizer) -> None:
    body = {**LLAMA_VSCODE, "n_predict": 40}
    text = fill(body)["content"]
    # The longest of those that the text had begun with when the first of them was whole.
    word = re.search("[!-~]{2}", text)[0]
    stopped = fill({**body, "stop": ["never there", word, word[:1] + "~never", word[:1]]})
    assert stopped["content"] == text[: text.index(word[:1])]
    assert stopped["stop_type"] == "word" and stopped["stopping_word"] in (word, word[:1])
    biased = fill({**body, "logit_bias": {str(tokenizer.eos_id): 100}})
    assert (biased["content"], biased["stop_type"], biased["stopping_word"]) == ("", "eos", "")
    hurried = fill({**body, "n_predict": 300, "logit_bias": {str(tokenizer.encode("\n")[0]): 50},
                    "t_max_predict_ms": 1})  # fmt: skip
    assert hurried["has_new_line"] and hurried["tokens_predicted"] < 300
    assert hurried["stop_type"] == "limit"


def test_other_fields_of_llama_cpp(fill: Callable[[dict], dict], client: TestClient) -> None:
    sampled = {**LLAMA_VSCODE, "temperature": 0.9, "draft": "none"}
    assert fill({**sampled, "seed": 7})["content"] == fill({**sampled, "seed": 7})["content"]
    assert fill({**sampled, "seed": -1, "repeat_penalty": 1.1, "id_slot": 0, "n_predict": -1})["stop"]
    assert fill({**LLAMA_VSCODE, "preset": "fast", "draft": "balanced"})["draft"] == "FSKG"
    for body, message in [
        ({"grammar": "root ::= 'a'"}, "grammar: not supported"),
        ({"n_probs": 3}, "n_probs: not supported"),
        ({"input_extra": "x"}, "input_extra"),
        ({"n_predict": -2}, "n_predict"),
        ({"input_prefix": 3}, "input_prefix"),
    ]:
        answer = client.post("/infill", json={**LLAMA_VSCODE, **body})
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]


def test_other_files_begin_with_the_token_that_separates_files(with_files: Tokenizer) -> None:
    extra = [ExtraFile(filename="a.py", text="A = 1\n"), ExtraFile(filename="b.py", text="<|file_sep|>")]
    core = infill_prompt("x = ", "\ny", with_files, 100).ids
    first, second = with_files.encode("a.py\nA = 1\n"), with_files.encode("b.py\n<|file_sep|>")
    mark = with_files.file_id
    assert mark is not None and mark not in second
    made = editor_prompt("x = ", "\ny", extra, with_files, 100)
    assert made.ids == [mark, *first, mark, *second, mark, *core] and not made.truncated
    # The file around the cursor stays whole, and of the others the last.
    short = editor_prompt("x = ", "\ny", extra, with_files, len(core) + len(second) + 4)
    assert short.ids == [mark, *second, mark, *core] and short.truncated
    shorter = editor_prompt("x = ", "\ny", extra, with_files, len(core) + 1)
    assert shorter.ids == [mark, *core] and shorter.truncated
    cut = editor_prompt("x = " * 9, "\ny", [], with_files, len(core))
    assert len(cut.ids) == len(core) and cut.truncated
    assert editor_prompt("x = ", "\ny", [], with_files, 100).ids == core


def test_a_model_with_such_a_token_stops_before_it(folder: Path, with_files: Tokenizer) -> None:
    engine = Engine(folder, with_files)
    model = serving.ServedModel("tiny", with_files, load_presets(folder), engine.max_context)
    with TestClient(serving.create_app(model, serving.EngineWorker(engine))) as client:
        body = {**LLAMA_VSCODE, "logit_bias": {str(with_files.file_id): 100}}
        answer = client.post("/infill", json=body).json()
        assert (answer["content"], answer["stop_type"]) == ("", "eos")
        assert answer["prompt"].count("<|file_sep|>") == 3


def test_limits_bound_what_is_not_said(engine: Engine, model: serving.ServedModel) -> None:
    model = replace(model, limits=serving.LimitsConfig(max_tokens=5))
    with TestClient(serving.create_app(model, serving.EngineWorker(engine))) as client:
        body = {"input_prefix": "x", "input_suffix": "y"}
        for n_predict in (-1, 9, 2):
            answer = client.post("/infill", json={**body, "n_predict": n_predict}).json()
            assert answer["tokens_predicted"] <= (2 if n_predict == 2 else 5)
        filled = client.post("/v1/fim/completions", json={"prompt": "x", "suffix": "y"}).json()
        assert filled["usage"]["completion_tokens"] <= 5


def test_tokens_and_back(client: TestClient, tokenizer: Tokenizer) -> None:
    text = "x = 'é😀'<|endoftext|>"
    plain = client.post("/tokenize", json={"content": text, "parse_special": False}).json()["tokens"]
    assert plain == tokenizer.encode(text)
    assert client.post("/detokenize", json={"tokens": plain}).json() == {"content": text}
    marked = client.post("/tokenize", json={"content": text, "add_special": True}).json()["tokens"]
    assert marked == [*tokenizer.encode("x = 'é😀'"), tokenizer.eos_id]
    pieces = client.post("/tokenize", json={"content": text, "with_pieces": True}).json()["tokens"]
    assert [piece["id"] for piece in pieces] == marked
    spelled = [p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces]
    assert b"".join(spelled).decode() == text
    assert any(isinstance(piece["piece"], list) for piece in pieces)
    for path, body in (
        ("/tokenize", {}),
        ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": [400]}),
    ):
        assert client.post(path, json=body).status_code == 400
