"""A checkpoint that is not ours: made and trained by transformers, then import, distill, place, serve."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from derailleur.cli import main

SOURCE = """import os


def read_lines(path, encoding="utf-8"):
    with open(path, encoding=encoding) as stream:
        return [line.rstrip() for line in stream]


def count_words(text):
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return counts
"""


def make_tokenizer(folder: Path) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SOURCE], trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    return fast


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A Qwen2 folder from transformers alone: its model, trained a little, and its tokenizer."""
    folder = tmp_path_factory.mktemp("foreign") / "qwen"
    tokenizer = make_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.Qwen2ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = torch.tensor([tokenizer(SOURCE)["input_ids"][:120]])
    for _ in range(40):
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    return folder, model, tokenizer


def call(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def supernet(foreign: tuple[Path, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's commands, on a folder of a few files."""
    run = tmp_path_factory.mktemp("mine")
    code = run / "code"
    code.mkdir()
    for number in range(40):
        body = "\n".join(
            f"def f{number}_{i}(a{i}, b):\n    return a{i} * {number + i} + b\n" for i in range(30)
        )
        (code / f"module{number}.py").write_text(f"{SOURCE}\n{body}")
    call("import", foreign[0], "--out", run / "teacher")
    call("curate", code, "--out", run / "curate", "--near_dedup.threshold", 1, "--heldout_fraction", 0.3)
    call("tokenize", run / "curate", "--tokenizer", run / "teacher/model", "--out", run / "tokenize")
    steps = ["--alignment.steps", 3, "--stochastic.steps", 3]
    data = ["--data.sequence_length", 64, "--data.batch_size", 2, "--data.fim_rate", 0]
    mixers = ["--mixers.S.window_tokens", 16, "--heldout.num_sequences", 2]
    call(
        "distill",
        run / "teacher",
        "--data",
        run / "tokenize",
        "--out",
        run / "distill",
        *steps,
        *data,
        *mixers,
    )
    quality = ["--quality.window_tokens", 64, "--quality.num_windows", 2, "--quality.num_random", 4]
    speed = ["--speed.batches", "[2]", "--speed.contexts", "[64]", "--speed.steps", 2]
    search = ["--search.batch", 2, "--search.context", 64, "--quality.rounds", 0]
    place = ["place", "search", run / "distill", "--data", run / "tokenize", "--out", run / "place"]
    call(*place, "--write-presets", *quality, *speed, *search)
    return run / "distill" / "model"


def serve(model: Path) -> tuple[subprocess.Popen[str], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "derailleur", "serve", str(model), "--port", str(port), "--threads", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return process, f"http://127.0.0.1:{port}"


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not come up")


def test_served_text_is_that_of_transformers(foreign: tuple[Path, Any, Any], supernet: Path) -> None:
    _, model, tokenizer = foreign
    presets = json.loads((supernet / "presets.json").read_text())
    assert presets["presets"][0]["placement"] == "FFF"
    process, url = serve(supernet)
    try:
        wait_for(url, process)
        for prompt in ("def read_lines(path", "import os\n", "    counts = {}\n    for"):
            ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
            generated = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False
            )
            expected = tokenizer.decode(generated[0, ids.shape[1] :], skip_special_tokens=True)
            body = {"model": "distill@full", "prompt": prompt, "max_tokens": 32, "temperature": 0}
            answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60).json()
            assert answer["choices"][0]["text"] == expected
            body["placement"] = "all-gdn"
            body["model"] = "distill"
            assert httpx.post(f"{url}/v1/completions", json=body, timeout=60).status_code == 200
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
