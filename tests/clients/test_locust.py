"""Locust against the server: many editors and scripts at once, every preset, and not one failure."""

import csv
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[..., AbstractContextManager[Any]]
pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed")

LOCUSTFILE = Path(__file__).parents[2] / "benchmarks" / "locustfile.py"


def test_ten_seconds_of_load(serve: Serve, tmp_path: Path) -> None:
    with serve("--draft", "fast") as served:
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
                *("-u", "12", "-r", "12", "-t", "10s", "-s", "20", "-H", served.address),
                *("--csv", str(tmp_path / "load")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(ran.stdout)
        served.until_idle()
    assert ran.returncode == 0, "a request failed"
    assert "Response time percentiles" in ran.stdout
    with (tmp_path / "load_stats.csv").open() as file:
        statistics = {row["Name"]: row for row in csv.DictReader(file)}
    assert statistics["Aggregated"]["Failure Count"] == "0"
    counts = {name: int(row["Request Count"]) for name, row in statistics.items()}
    for part in ("infill", "completion", "first token", "full", "balanced", "fast"):
        assert sum(count for name, count in counts.items() if part in name) > 0
