"""Small problems, and a judge that needs no sandbox."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derailleur.evaluation.benchmark.judging import Judging
from derailleur.evaluation.programs import Row
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.verdicts import Judgement, Verdict

WORDS = ("passed", "wrong", "timeout", "sandbox")


class WordJudge:
    """Finds its verdict written in the program; what says nothing is wrong."""

    def __init__(self, judged: list[str]) -> None:
        self._judged = judged

    def judge(self, row: Row) -> Judgement:
        self._judged.append(row.program)
        found = [word for word in WORDS if f"VERDICT {word}" in row.program]
        return Judgement(Verdict(found[0]) if found else Verdict.WRONG, "says so", 0.5)

    def close(self) -> None:
        pass


@pytest.fixture
def judged() -> list[str]:
    """Programs in the order in which they were judged."""
    return []


@pytest.fixture
def judging(judged: list[str]) -> Judging:
    return Judging(lambda: WordJudge(judged), "by words", "none", LanguageLimits(), workers=2)


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def write_rows() -> Callable[[Path, list[dict[str, Any]]], Path]:
    return _write


@pytest.fixture
def multipl_e(tmp_path: Path) -> Path:
    """Three problems in MultiPL-E's layout."""
    rows = [
        {
            "name": f"add_{number}",
            "language": "py",
            "prompt": f'def add_{number}(a, b):\n    """Sum."""\n',
            "tests": f"assert add_{number}(1, 2) == 3",
            "stop_tokens": ["\ndef"],
        }
        for number in range(3)
    ]
    return _write(tmp_path / "humaneval-py.jsonl", rows)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Two lines to fill in, in SantaCoder's layout, one of which is a brace."""
    rows = [
        {
            "name": f"hole-{number}",
            "language": "js",
            "prompt": "function f() {\n  let x = 1;",
            "suffix": "\n",
            "canonical_solution": line,
            "tests": "f();",
        }
        for number, line in enumerate(("  return x; // VERDICT passed", "}"))
    ]
    return _write(tmp_path / "fim-js.jsonl", rows)
