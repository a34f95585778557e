"""lm-eval scores the server with our tasks: it generates, our sandbox judges."""

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
from derailleur.evaluation import lm_eval_tasks
from derailleur.evaluation.builtin import builtin_problems
from derailleur.evaluation.problems import STOPS
from derailleur.evaluation.programs import Language
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer

Serve = Callable[..., AbstractContextManager[Any]]
pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")

PLACEMENT, NUM_TOKENS, LIMIT = Placement("FSKG"), 24, 4
SOLVED = {
    "name": "always_one",
    "language": "py",
    "prompt": 'def always_one(n):\n    """One."""\n    return 1  #',
    "tests": "def check(candidate):\n    assert candidate(5) == 1\n\ncheck(always_one)\n",
    "stop_tokens": ["\n", "\r"],
}
"""Right whatever is written behind it on its last line."""


def evaluate(served: Any, tokenizer: Path, out: Path, *options: str) -> dict[str, list[dict[str, Any]]]:
    """Run lm-eval's command; gives what it recorded of every sample, by task."""
    arguments = {
        "model": "tiny@balanced",
        "base_url": f"{served.address}/v1/completions",
        "tokenizer": tokenizer,
        "max_length": 1024,
        "max_retries": 1,
    }
    [folder] = lm_eval_tasks.__path__
    subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "local-completions"),
            *("--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())),
            *("--gen_kwargs", f"max_gen_toks={NUM_TOKENS}", "--include_path", folder),
            *("--output_path", str(out), "--log_samples", *options),
        ],
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(out / "cache")},
    )
    recorded = {}
    for file in out.rglob("samples_*.jsonl"):
        samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        task = file.name.removeprefix("samples_").rpartition("_")[0]
        recorded[task] = sorted(samples, key=lambda sample: sample["doc_id"])
    return recorded


def log_likelihood(engine: Engine, context: list[int], continuation: list[int]) -> float:
    """Of a continuation, from the engine itself."""
    request = Request(
        prompt=[*context, *continuation],
        placement=PLACEMENT,
        max_tokens=0,
        sampling=Sampling(logprobs=1),
        prompt_logprobs=True,
    )
    engine.submit(request)
    entries = []
    while engine.busy:
        for delta in engine.step():
            entries += delta.logprobs
    return sum(entry.logprob for entry in entries[len(context) :])


def test_built_in_problems(
    serve: Serve, folder: Path, tokenizer: Tokenizer, engine: Engine, tmp_path: Path
) -> None:
    """What lm-eval got is what the engine writes, and as likely as the engine says."""
    tasks = "derailleur_python,derailleur_reference"
    with serve() as served:
        recorded = evaluate(served, folder, tmp_path, "--tasks", tasks, "--limit", str(LIMIT))
    problems = builtin_problems(Language.PYTHON)[:LIMIT]
    written, likely = recorded["derailleur_python"], recorded["derailleur_reference"]
    assert [sample["doc"]["id"] for sample in written] == [problem.id for problem in problems]
    for problem, sample, scored in zip(problems, written, likely, strict=True):
        [direct] = engine.generate(
            [tokenizer.encode(problem.prompt.rstrip())],
            placement=PLACEMENT,
            max_tokens=NUM_TOKENS,
            stop=STOPS[Language.PYTHON],
        )
        assert sample["resps"] == [[direct.text]] and sample["pass@1"] == 0.0
        context = tokenizer.encode(problem.prompt.rstrip())
        continuation = tokenizer.encode(problem.prompt + str(problem.reference))[len(context) :]
        [[answer, _]] = scored["resps"][0]
        assert float(answer) == pytest.approx(log_likelihood(engine, context, continuation), abs=1e-3)


def test_problems_of_a_file(serve: Serve, folder: Path, tmp_path: Path) -> None:
    """One is solved by its prompt, so that what lm-eval counts is what the sandbox says."""
    file = tmp_path / "solved.jsonl"
    wrong = SOLVED | {"name": "always_two", "tests": SOLVED["tests"].replace("== 1", "== 2")}
    file.write_text("".join(json.dumps(row) + "\n" for row in (SOLVED, wrong)), encoding="utf-8")
    options = ("--tasks", "derailleur_python", "--metadata", json.dumps({"problems": str(file)}))
    with serve() as served:
        recorded = evaluate(served, folder, tmp_path / "out", *options)
    assert [sample["pass@1"] for sample in recorded["derailleur_python"]] == [1.0, 0.0]
