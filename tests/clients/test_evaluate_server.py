"""`evaluate multipl-e URL` against the real server: its presets, and what the engine writes."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from derailleur.cli import main
from derailleur.engine import Engine
from derailleur.evaluation.builtin import builtin_infilling, builtin_problems
from derailleur.evaluation.problems import Problem
from derailleur.evaluation.programs import Language
from derailleur.evaluation.sandbox import RefusedError, open_sandbox
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt

Serve = Callable[..., AbstractContextManager[Any]]

LIMIT, NUM_TOKENS = 6, 16


@pytest.fixture(autouse=True)
def sandbox() -> None:
    try:
        open_sandbox().close()
    except RefusedError as refusal:
        pytest.skip(f"needs a sandbox: {refusal}")


def write_problems(path: Path, problems: list[Problem]) -> Path:
    rows = [
        {"name": p.id, "language": "py", "prompt": p.prompt, "tests": p.tests, "stop_tokens": p.stop}
        | ({"suffix": p.suffix, "canonical_solution": p.reference} if p.suffix else {})
        for p in problems
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_the_presets_of_a_server_write_what_the_engine_writes(
    serve: Serve, tokenizer: Tokenizer, engine: Engine, tmp_path: Path
) -> None:
    problems = list(builtin_problems(Language.PYTHON)[:LIMIT])
    holes = list(builtin_infilling(Language.PYTHON)[:LIMIT])
    options = ("--no-cache", "--preset", "full", "fast", "--max_tokens", str(NUM_TOKENS))
    with serve() as served:
        for task, chosen in (("multipl-e", problems), ("infill", holes)):
            file = write_problems(tmp_path / f"{task}.jsonl", chosen)
            command = ["evaluate", task, served.address, "--problems", str(file), *options]
            assert main([*command, "--out", str(tmp_path / task)]) == 0
        every = [*command[:5], "--no-cache", "--max_tokens", "1", "--out", str(tmp_path / "every")]
        assert main(every) == 0
    found = json.loads((tmp_path / "every" / "manifest.json").read_text())["results"]
    assert {row["preset"]: row["placement"] for row in found["presets"]} == {
        "full": "FFFF",
        "balanced": "FSKG",
        "fast": "GGGG",
    }
    assert found["model"]["name"] == "tiny"
    special = frozenset(tokenizer.special.values())
    for placement, first in (("FFFF", 0), ("GGGG", LIMIT)):
        asked = {"placement": Placement(placement), "max_tokens": NUM_TOKENS}
        written = samples(tmp_path / "multipl-e")[first : first + LIMIT]
        prompts = [tokenizer.encode(problem.prompt.rstrip()) for problem in problems]
        direct = engine.generate(prompts, **asked, stop=problems[0].stop, stop_tokens=special)
        assert [row["completion"] for row in written] == [answer.text for answer in direct]
        written = samples(tmp_path / "infill")[first : first + LIMIT]
        made = [infill_prompt(hole.prompt, hole.suffix, tokenizer, 1000) for hole in holes]
        direct = engine.generate([p.ids for p in made], **asked, stop_tokens=special)
        assert [row["completion"] for row in written] == [answer.text for answer in direct]
