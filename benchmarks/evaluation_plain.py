"""Runs programs joined with their tests as one process each, without a sandbox: the plain way."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from derailleur.evaluation.programs import Language, Row

_SECONDS = 20.0
_LIMITS = ("prlimit", f"--data={1 << 30}")
_JAVATUPLES = "/usr/share/java/javatuples-1.2.jar"


def passes_plainly(rows: Sequence[Row], workers: int) -> list[bool]:
    """Whether each ends with 0."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(_passes, rows))


def _passes(row: Row) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        match row.language:
            case Language.PYTHON:
                return _ends_well(row, folder, "program.py", [["python3", "-I", "program.py"]])
            case Language.JAVASCRIPT:
                return _ends_well(row, folder, "program.js", [["node", "program.js"]])
            case Language.JAVA:
                path = ["-cp", f".{os.pathsep}{_JAVATUPLES}"]
                compiler = ["javac", *path, "-nowarn", "-encoding", "UTF8", "Problem.java"]
                return _ends_well(row, folder, "Problem.java", [compiler, ["java", "-ea", *path, "Problem"]])


def _ends_well(row: Row, folder: str, name: str, commands: Sequence[Sequence[str]]) -> bool:
    (Path(folder) / name).write_text(row.joined(), encoding="utf-8")
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return all(
            subprocess.run(
                [*_LIMITS, *command], cwd=folder, timeout=_SECONDS, check=False, **quiet
            ).returncode
            == 0
            for command in commands
        )
    except subprocess.TimeoutExpired:
        return False
