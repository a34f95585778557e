"""lm-eval's `local-completions` on two tiny tasks of our own: its scores are the engine's."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from derailleur.engine import Engine, Request, Sampling
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer

Serve = Callable[..., AbstractContextManager[Any]]
pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")

PLACEMENT = "FSKG"
NUM_TOKENS = 12
QUESTIONS = [
    {"context": "def load(path):", "choices": [" return path", "\n    pass", " é😀"], "answer": 0},
    {"context": "import json\nimport", "choices": [" os", " sys\n", " numpy as np"], "answer": 1},
    {"context": "x = [", "choices": ["1, 2]", "]", "x for x in y]"], "answer": 2},
]
CHOOSE = """task: tiny_choose
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{metric: acc}]
"""
WRITE = """task: tiny_write
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: ["@@"], max_gen_toks: 12, temperature: 0.0}
metric_list: [{metric: exact_match}]
"""


def evaluate(served: Any, tasks: Path, tokenizer: Path) -> dict[str, list[Any]]:
    """Run lm-eval's command; gives what it recorded of every sample, by task."""
    data = tasks / "questions.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS), encoding="utf-8")
    for name, text in {"choose": CHOOSE, "write": WRITE}.items():
        (tasks / f"{name}.yaml").write_text(text % data, encoding="utf-8")
    arguments = {
        "model": "tiny@balanced",
        "base_url": f"{served.address}/v1/completions",
        "tokenizer": tokenizer,
        "max_length": 1024,
        "num_concurrent": 2,
        "max_retries": 1,
    }
    subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "local-completions"),
            *("--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())),
            *("--tasks", "tiny_choose,tiny_write", "--include_path", str(tasks)),
            *("--output_path", str(tasks / "out"), "--log_samples"),
        ],
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tasks / "cache")},
    )
    recorded = {}
    for task in ("tiny_choose", "tiny_write"):
        [file] = (tasks / "out").rglob(f"samples_{task}_*.jsonl")
        samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        recorded[task] = sorted(samples, key=lambda sample: sample["doc_id"])
    return recorded


def log_likelihood(engine: Engine, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """Of a continuation, and whether each of its tokens was the likeliest; from the engine itself."""
    request = Request(
        prompt=[*context, *continuation],
        placement=Placement(PLACEMENT),
        max_tokens=0,
        sampling=Sampling(temperature=0, logprobs=1),
        prompt_logprobs=True,
    )
    engine.submit(request)
    entries = []
    while engine.busy:
        for delta in engine.step():
            entries += delta.logprobs
    own = entries[len(context) :]
    assert [entry.token for entry in own] == continuation
    return sum(entry.logprob for entry in own), all(entry.token == entry.top[0][0] for entry in own)


def test_scores_are_the_engines(
    serve: Serve, folder: Path, tokenizer: Tokenizer, engine: Engine, tmp_path: Path
) -> None:
    """Several prompts at once, as token ids."""
    with serve() as served:
        recorded = evaluate(served, tmp_path, folder)
    for question, chosen, written in zip(
        QUESTIONS, recorded["tiny_choose"], recorded["tiny_write"], strict=True
    ):
        context = tokenizer.encode(question["context"])
        scores = []
        for choice, [answer] in zip(question["choices"], chosen["resps"], strict=True):
            continuation = tokenizer.encode(question["context"] + choice)[len(context) :]
            score, greedy = log_likelihood(engine, context, continuation)
            assert float(answer[0]) == pytest.approx(score, abs=1e-3)
            assert str(answer[1]) == str(greedy)
            scores.append(score)
        assert chosen["acc"] == float(scores.index(max(scores)) == question["answer"])
        [direct] = engine.generate([context], placement=Placement(PLACEMENT), max_tokens=NUM_TOKENS)
        assert written["resps"] == [[direct.text]]
