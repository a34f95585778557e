"""What editors' plugins say to the server, request by request: llama.vim, llama.vscode, Continue.

Bodies and headers are what the plugins' sources send with their default settings (llama.vim of January 2026,
llama.vscode 0.0.63, Continue of June 2026). What the fields mean is tested in tests/serving.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from derailleur.engine import Engine
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt

Serve = Callable[..., AbstractContextManager[Any]]

BEFORE = "import json\n\n\ndef load(path):\n    # reads a file\n"
LINE, AFTER = "    with open(", ") as file:\n        return json.load(file)\n"
CHUNKS = [
    {"text": "def dump(path, text):\n    pass\n", "time": [1731, 52], "filename": "src/dump.py"},
    {"text": "ROOT = '/srv'\n", "time": [1732, 11], "filename": "src/settings.py"},
]


@pytest.fixture(scope="module")
def served(serve: Serve) -> Iterator[Any]:
    with serve("--preset", "balanced") as served:
        yield served


@pytest.fixture
def middle(engine: Engine, tokenizer: Tokenizer) -> Callable[..., str]:
    """What the engine alone says between two texts."""

    def filled(letters: str, max_tokens: int, *, files: bool, stop: list[str] | None = None) -> str:
        before = "".join(f"{chunk['filename']}\n{chunk['text']}\n" for chunk in CHUNKS * files)
        around = infill_prompt(BEFORE + LINE, AFTER, tokenizer, 1024 - max_tokens)
        [answer] = engine.generate(
            [[*tokenizer.encode(before), *around.ids]],
            placement=Placement(letters),
            max_tokens=max_tokens,
            stop=stop or [],
            stop_tokens=around.stop_ids,
        )
        return answer.text

    return filled


class LlamaVim:
    """llama.vim: starts curl, gives it the body on standard input, and ends it when the cursor moves on."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def start(self, path: str, request: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Send a request as the plugin does with no key and no model set, which it sends all the same."""
        process = subprocess.Popen(
            [
                *("curl", "--silent", "--no-buffer", "--request", "POST", "--url", self._endpoint + path),
                *("--header", "Content-Type: application/json", "--data", "@-"),
                *("--header", "Authorization: Bearer "),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(request | {"model": ""}).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def ask(self, path: str, request: dict[str, Any]) -> str:
        """Wait for the answer."""
        process = self.start(path, request)
        answer, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return answer.decode()

    @staticmethod
    def fim(**changed: Any) -> dict[str, Any]:
        """A filling at the cursor."""
        body = {
            "id_slot": 0,
            "input_prefix": BEFORE,
            "input_suffix": AFTER,
            "input_extra": CHUNKS,
            "prompt": LINE,
            "n_predict": 128,
            "stop": [],
            "n_indent": 4,
            "top_k": 40,
            "top_p": 0.9,
            "samplers": ["top_k", "top_p", "infill"],
            "stream": False,
            "cache_prompt": True,
            "t_max_prompt_ms": 500,
            "t_max_predict_ms": 60_000,
            "response_fields": [
                "content",
                *(f"timings/{part}_{unit}" for part in ("prompt", "predicted") for unit in ("n", "ms")),
                *(
                    f"timings/{part}_{unit}"
                    for part in ("prompt", "predicted")
                    for unit in ("per_token_ms", "per_second")
                ),
                "truncated",
                "tokens_cached",
            ],
        }
        return body | changed


@pytest.fixture
def vim(served: Any) -> LlamaVim:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return LlamaVim(served.address)


def test_llama_vim_prepares_and_fills(vim: LlamaVim, middle: Callable[..., str]) -> None:
    prepared = {
        "id_slot": 0,
        "input_prefix": "",
        "input_suffix": "",
        "input_extra": CHUNKS,
        "prompt": "",
        "n_predict": 0,
        "temperature": 0.0,
        "samplers": [],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": 1,
        "t_max_predict_ms": 1,
        "response_fields": [""],
    }
    assert json.loads(vim.ask("/infill", prepared)) == {}
    raw = vim.ask("/infill", LlamaVim.fim())
    # The plugin drops what does not look like this, before it parses it.
    assert re.match(r"\s*{", raw) and re.search(r'"content"\s*:"', raw)
    answer = json.loads(raw)
    assert answer["content"] == middle("FSKG", 128, files=True)
    assert set(answer) == set(LlamaVim.fim()["response_fields"])
    assert answer["timings/predicted_n"] > 0 < answer["timings/prompt_per_second"]


def test_llama_vim_gives_up_what_the_cursor_left(served: Any, vim: LlamaVim) -> None:
    """A request that is ended by its successor frees the engine."""
    long = LlamaVim.fim(n_predict=500, min_tokens=500)
    for _ in range(3):
        process = vim.start("/infill", long)
        served.until(lambda: served.health["running"] == 1)
        process.terminate()
        process.communicate()
        served.until(lambda: served.health["running"] == 0)
    assert json.loads(vim.ask("/infill", LlamaVim.fim(n_predict=4)))["timings/predicted_n"] <= 4


def test_llama_vim_edits_by_instruction(vim: LlamaVim) -> None:
    """A request that only warms up, then one whose stream is read line by line."""
    messages = [
        {"role": "system", "content": "You are a text-editing assistant.\n\n--- CONTEXT ---\n" + BEFORE},
        {"role": "user", "content": "INSTRUCTION: close the file"},
    ]
    common = {"id_slot": 3, "messages": messages, "cache_prompt": True}
    warm_up = {"samplers": [], "n_predict": 0, "stream": False, "response_fields": [""]}
    warmed = json.loads(vim.ask("/v1/chat/completions", common | warm_up))
    assert warmed["usage"]["completion_tokens"] == 0
    sampled = {"min_p": 0.1, "temperature": 0.1, "samplers": ["min_p", "temperature"], "stream": True}
    lines = vim.ask("/v1/chat/completions", common | sampled | {"n_predict": 12}).splitlines()
    *events, done = [line.removeprefix("data: ") for line in lines if line]
    assert done == "[DONE]"
    pieces = [json.loads(event)["choices"][0] for event in events]
    assert pieces[-1]["finish_reason"] in ("stop", "length")
    assert "".join(piece["delta"].get("content", "") for piece in pieces)


@pytest.fixture
def vscode(served: Any) -> Iterator[httpx.Client]:
    """llama.vscode: axios."""
    headers = {
        "Accept": "application/json, text/plain, */*",
        "User-Agent": "axios/1.13.2",
        "Accept-Encoding": "gzip, compress, deflate, br",
    }
    with httpx.Client(base_url=served.address, headers=headers, timeout=60) as client:
        yield client


def test_llama_vscode(vscode: httpx.Client, middle: Callable[..., str]) -> None:
    """It looks for the server and its models, prepares, fills, and asks ahead for what comes after that."""
    assert vscode.get("/health").json()["status"] == "ok"
    [first, *_] = vscode.get("/v1/models").json()["data"]
    assert first["id"] == "tiny" and first["context_length"] == 1024
    prepare = {
        "id_slot": 0,
        "input_prefix": "",
        "input_suffix": "",
        "input_extra": CHUNKS,
        "prompt": "",
        "n_predict": 0,
        "samplers": [],
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1,
    }
    assert vscode.post("/infill", json=prepare).json()["content"] == ""
    fill = {
        "id_slot": 0,
        "input_prefix": BEFORE,
        "input_suffix": AFTER,
        "input_extra": CHUNKS,
        "prompt": LINE,
        "n_predict": 128,
        "n_cmpl": 3,
        "top_k": 40,
        "top_p": 0.99,
        "stream": False,
        "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True,
        "n_indent": 4,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 60_000,
    }
    answer = vscode.post("/infill", json=fill).json()
    # Without "content" it takes the answer for a list of several.
    assert answer["content"] == middle("FSKG", 128, files=True)
    # What its status bar shows.
    assert answer["generation_settings"]["n_ctx"] == 1024 and answer["tokens_cached"] >= 0
    assert {"prompt_n", "prompt_ms", "prompt_per_second", "predicted_n"} <= set(answer["timings"])
    ahead = vscode.post("/infill", json=fill | {"prompt": LINE + answer["content"], "n_predict": 8})
    assert ahead.status_code == 200
    chat = {
        "messages": [
            {"role": "system", "content": "You are an expert coder.\n"},
            {"role": "user", "content": "x"},
        ],
        "stream": False,
        "cache_prompt": True,
        "temperature": 0.8,
        "top_p": 0.95,
        "lora": [{"id": 0, "scale": 0.5}],
    }
    edited = vscode.post("/v1/chat/completions", json=chat | {"max_tokens": 8}).json()
    assert edited["choices"][0]["message"]["content"]
    # Counts a prompt's tokens; asks for what is not there and goes on without.
    counted = vscode.post("/tokenize", json={"content": BEFORE, "add_special": False, "parse_special": True})
    assert len(counted.json()["tokens"]) > 10
    for missing in (vscode.get("/props"), vscode.post("/apply-template", json={"messages": []})):
        assert missing.status_code == 404 and missing.json()["error"]["message"]


@pytest.fixture
def continue_dev(served: Any) -> Iterator[httpx.Client]:
    """Continue's provider `mistral`, with `apiBase: .../v1/` and `apiKey: none`."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "x-api-key": "none",
        "Authorization": "Bearer none",
        "User-Agent": "node-fetch",
        "Accept-Encoding": "gzip, deflate, br",
    }
    with httpx.Client(base_url=f"{served.address}/v1/", headers=headers, timeout=60) as client:
        yield client


def continue_fim(**changed: Any) -> dict[str, Any]:
    """A filling: it asks for more tokens than there is room for, and stops reading where it likes."""
    stop = ["/src/", "#- coding: utf-8", "```"]
    body = {"model": "tiny@fast", "prompt": BEFORE + LINE, "suffix": AFTER, "max_tokens": 4096}
    return body | {"temperature": 0.01, "stop": stop, "stream": True} | changed


def test_continue(served: Any, continue_dev: httpx.Client, middle: Callable[..., str]) -> None:
    assert "tiny@fast" in [model["id"] for model in continue_dev.get("models").json()["data"]]
    body = continue_fim(temperature=0)
    with continue_dev.stream("POST", "fim/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, done = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    texts = [json.loads(event)["choices"][0]["delta"]["content"] for event in events]
    assert done == "[DONE]"
    assert "".join(texts) == middle("GGGG", 512, files=False, stop=body["stop"])
    with continue_dev.stream("POST", "fim/completions", json=continue_fim(stop=[], min_tokens=512)) as answer:
        lines = answer.iter_lines()
        next(lines)
        served.until(lambda: served.health["running"] == 1)
    served.until(lambda: served.health["running"] == 0)


def test_an_editor_with_a_key(serve: Serve, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-editor\n")
    body = LlamaVim.fim(n_predict=2)
    with serve("--api-key-file", str(keys)) as served, httpx.Client(base_url=served.address) as client:
        assert client.get("/health").json()["status"] == "ok"
        for given, status in (("Bearer sk-editor", 200), ("Bearer", 401), ("Bearer other", 401)):
            answer = client.post("/infill", json=body, headers={"Authorization": given}, timeout=60)
            assert answer.status_code == status
