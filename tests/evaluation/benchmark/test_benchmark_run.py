"""From problem files to scores: completions of a file, scores by hand, resuming, other harnesses' layouts."""

import gzip
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from derailleur.config import validate
from derailleur.errors import ConfigError, DataError, UserError
from derailleur.evaluation.benchmark.judging import Judging
from derailleur.evaluation.benchmark.run import Writer
from derailleur.evaluation.benchmark.sets import read_sets
from derailleur.evaluation.benchmark.settings import BenchmarkConfig
from derailleur.evaluation.benchmark.stage import benchmark
from derailleur.evaluation.benchmark.writers import Writers, file_writers
from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest
from derailleur.evaluation.passing import pass_at_k
from derailleur.evaluation.problems import Gap

WriteRows = Callable[[Path, list[dict[str, Any]]], Path]


def say(request: SampleRequest) -> str:
    """Sample 0 of each problem passes, and all of problem 0 at temperature 0.8."""
    passes = request.index == 0 or (request.temperature == 0.8 and request.problem.id == "add_0")
    return f"    # {request.seed} VERDICT {'passed' if passes else 'wrong'}\n"


class Scripted:
    """A source that writes what it is told, backwards."""

    def __init__(self, write: Callable[[SampleRequest], str] = say, *, dies_after: int | None = None) -> None:
        self.asked: list[SampleRequest] = []
        self._write, self._left = write, dies_after

    def complete(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[SampleRequest, Completion]]:
        for request in reversed(list(requests)):
            if self._left == 0:
                raise KeyboardInterrupt
            self._left = None if self._left is None else self._left - 1
            text = self._write(request)
            self.asked.append(request)
            yield request, Completion(text, Finish.STOP, 10)


def config(**values: Any) -> BenchmarkConfig:
    return validate(BenchmarkConfig, values)


def scores(row: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(score["metric"], score["rows"]): score for score in row["scores"]}


def test_pass_at_1_and_at_10_have_temperatures_of_their_own(
    multipl_e: Path, judging: Judging, tmp_path: Path
) -> None:
    source = Scripted()
    writers = Writers([Writer("full", "FF", source)], {})
    out = tmp_path / "out"
    results = benchmark(config(num_samples=12, k=(1, 10)), read_sets([str(multipl_e)]), writers, judging, out)
    assert len(source.asked) == 3 * 12 * 2
    assert len({(request.problem.id, request.temperature, request.seed) for request in source.asked}) == 72
    [row] = results["presets"]
    found = scores(row)
    assert found["pass@1", "all"]["temperature"] == 0.2
    assert found["pass@1", "all"]["value"] == pytest.approx(1 / 12)
    assert found["pass@10", "all"]["temperature"] == 0.8
    expected = (1 + 2 * pass_at_k(12, 1, 10)) / 3
    assert found["pass@10", "all"]["value"] == pytest.approx(expected)
    low, high = found["pass@10", "all"]["interval"]
    assert low <= expected <= high
    assert row["counts"]["passed"] == 3 + 12 + 2 and row["counts"]["wrong"] == 72 - 17
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [(s["id"], s["temperature"], s["sample"]) for s in samples] == [
        (f"add_{n}", t, i) for t in (0.2, 0.8) for n in range(3) for i in range(12)
    ]
    assert {s["passed"] for s in samples if s["sample"] == 0} == {True}
    assert not (out / "samples.jsonl.partial").exists()


def test_retention_is_over_all_fa(multipl_e: Path, judging: Judging, tmp_path: Path) -> None:
    full = Scripted(lambda request: "    # VERDICT passed\n")
    fast = Scripted(lambda r: f"    # VERDICT {'wrong' if r.problem.id == 'add_1' else 'passed'}\n")
    writers = Writers([Writer("fast", "GS", fast), Writer("full", "FF", full)], {})
    results = benchmark(config(), read_sets([str(multipl_e)]), writers, judging, tmp_path / "out")
    kept = {row["preset"]: scores(row)["pass@1", "all"]["retention"] for row in results["presets"]}
    assert kept == {"fast": pytest.approx(2 / 3), "full": 1.0}
    assert all(row["tokens_per_second"] > 0 for row in results["presets"])


def test_failures_of_the_sandbox_count_for_nothing(multipl_e: Path, judging: Judging, tmp_path: Path) -> None:
    """Problem 0 keeps one sample of two, problem 1 none."""

    def write(request: SampleRequest) -> str:
        fails = request.problem.id == "add_1" or (request.problem.id == "add_0" and request.index == 1)
        return f"    # {request.index} VERDICT {'sandbox' if fails else 'passed'}\n"

    writers = Writers([Writer("full", "FF", Scripted(write))], {})
    asked = config(num_samples=2, k=(1, 2), temperature=0.5)
    [row] = benchmark(asked, read_sets([str(multipl_e)]), writers, judging, tmp_path / "out")["presets"]
    at_1, at_2 = scores(row)["pass@1", "all"], scores(row)["pass@2", "all"]
    assert (at_1["value"], at_1["num_problems"], at_1["num_left_out"]) == (1.0, 2, 1)
    assert (at_2["value"], at_2["num_problems"], at_2["num_left_out"]) == (1.0, 1, 2)
    assert row["counts"]["sandbox"] == 3


def test_a_killed_run_generates_the_rest_and_gives_the_same(
    multipl_e: Path, judging: Judging, judged: list[str], tmp_path: Path
) -> None:
    sets, asked = read_sets([str(multipl_e)]), config(num_samples=4, temperature=0.7)
    whole = benchmark(
        asked, sets, Writers([Writer("full", "FF", Scripted())], {}), judging, tmp_path / "whole"
    )
    killed = Writers([Writer("full", "FF", Scripted(dies_after=5))], {})
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        benchmark(asked, sets, killed, judging, out)
    with (out / "completions.jsonl").open("a") as stream:
        stream.write('{"preset": "full", "tex')  # torn
    again = Scripted()
    judged.clear()
    results = benchmark(asked, sets, Writers([Writer("full", "FF", again)], {}), judging, out)
    assert len(again.asked) == 12 - 5 and len(judged) <= 12
    for row in (*results["presets"], *whole["presets"]):
        row.pop("tokens_per_second")
    assert results == whole
    assert (out / "samples.jsonl").read_bytes() == (tmp_path / "whole" / "samples.jsonl").read_bytes()


def test_programs_are_judged_while_others_are_generated(
    multipl_e: Path, judging: Judging, judged: list[str], tmp_path: Path
) -> None:
    def write(request: SampleRequest) -> str:
        for _ in range(2000):
            if len(judged) == len(source.asked):
                return "    # VERDICT passed\n"
            time.sleep(0.005)
        raise AssertionError("what was generated before was not judged meanwhile")

    source = Scripted(write)
    writers = Writers([Writer("full", "FF", source)], {})
    results = benchmark(config(), read_sets([str(multipl_e)]), writers, judging, tmp_path / "out")
    assert results["presets"][0]["counts"]["passed"] == 3


def test_lines_are_matched_and_run_and_braces_are_apart(
    lines: Path, judging: Judging, tmp_path: Path
) -> None:
    answers = {"hole-0": "return x; // VERDICT passed\n", "hole-1": "  }// VERDICT passed"}
    source = Scripted(lambda request: answers[request.problem.id])
    writers = Writers([Writer("full", "FF", source)], {})
    results = benchmark(config(), read_sets([str(lines)]), writers, judging, tmp_path / "out")
    found = {key: score["value"] for key, score in scores(results["presets"][0]).items()}
    assert found == {
        ("exact_match", "all"): 0.5,
        ("pass@1", "all"): 1.0,
        ("exact_match", "code"): 1.0,
        ("pass@1", "code"): 1.0,
        ("exact_match", "braces"): 0.0,
        ("pass@1", "braces"): 1.0,
    }
    assert source.asked[0].max_tokens == 25 and results["sets"][0]["gap"] == Gap.LINE


def test_completions_of_a_file(
    multipl_e: Path, judging: Judging, write_rows: WriteRows, tmp_path: Path
) -> None:
    rows = [
        {"task_id": "add_0", "completion": "    # VERDICT passed"},
        {"task_id": "add_0", "completion": "    # VERDICT wrong"},
        {"name": "add_1", "completions": ["    # VERDICT wrong 2", "    # VERDICT passed 2", "unused"]},
        {"id": "add_2", "completions": ["    # VERDICT wrong 3", "    # VERDICT wrong 4"]},
    ]
    file, sets = write_rows(tmp_path / "samples.jsonl", rows), read_sets([str(multipl_e)])
    out = tmp_path / "out"
    results = benchmark(config(k=(1, 2)), sets, file_writers(file, sets), judging, out)
    [row] = results["presets"]
    assert row["preset"] == "samples" and results["settings"]["num_samples"] == 2
    assert scores(row)["pass@1", "all"]["value"] == pytest.approx(1 / 3)
    assert scores(row)["pass@2", "all"]["value"] == pytest.approx(2 / 3)
    assert row["tokens_per_second"] is None
    with pytest.raises(ConfigError, match="num_samples: 3 asked for, there are 2 of a problem"):
        benchmark(config(num_samples=3), sets, file_writers(file, sets), judging, tmp_path / "more")
    with pytest.raises(ConfigError, match=r"pass@3 needs at least 3 samples of each problem, got 2"):
        benchmark(config(k=(3,)), sets, file_writers(file, sets), judging, tmp_path / "more")


def test_unused_completions_are_told(
    multipl_e: Path, write_rows: WriteRows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"id": f"add_{n}", "completions": ["x"] * (1 + n)} for n in range(3)]
    file_writers(write_rows(tmp_path / "samples.jsonl", rows), read_sets([str(multipl_e)]))
    assert "samples.jsonl: 3 completions are not used: some problems have but 1" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "add_9", "completion": ""}], r"samples.jsonl:1: 'add_9' is none of the 3 problems"),
        ([{"id": "add_1", "completion": ""}], r"no completion of 2 of 3 problems, 'add_0' the first"),
        ([{"completion": ""}], r"samples.jsonl:1: expected one of the keys id, task_id, name"),
        (
            [{"id": "add_1", "completions": ["\ud800"]}],
            r"samples.jsonl:1: completions: half a surrogate pair",
        ),
        ([{"id": "add_1", "completion": 5}], r"samples.jsonl:1: completion: expected a string, got int"),
    ],
)
def test_files_of_completions_that_do_not_fit(
    rows: list[dict[str, Any]], message: str, multipl_e: Path, write_rows: WriteRows, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        file_writers(write_rows(tmp_path / "samples.jsonl", rows), read_sets([str(multipl_e)]))


def test_a_prompt_without_room_fails_and_is_counted(
    multipl_e: Path, judging: Judging, judged: list[str], tmp_path: Path
) -> None:
    class NoRoom:
        def complete(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[SampleRequest, Completion]]:
            return ((request, Completion("", Finish.TOO_LONG, 0)) for request in requests)

    writers = Writers([Writer("full", "FF", NoRoom())], {})
    [row] = benchmark(config(), read_sets([str(multipl_e)]), writers, judging, tmp_path / "out")["presets"]
    assert scores(row)["pass@1", "all"]["value"] == 0 and row["counts"]["prompt_too_long"] == 3
    assert not judged


def test_layouts_of_other_harnesses(multipl_e: Path, judging: Judging, tmp_path: Path) -> None:
    source = Scripted(lambda request: f"    # VERDICT {'passed' if request.index else 'timeout'}\n")
    writers = Writers([Writer("all/gdn", "GG", source)], {})
    asked = config(num_samples=2, temperature=0.8)
    benchmark(asked, read_sets([str(multipl_e)]), writers, judging, tmp_path / "out")
    folder = tmp_path / "out" / "harnesses" / "bigcode" / "all_gdn" / "humaneval-py-t0.8"
    generations = json.loads((folder / "generations.json").read_text())
    assert len(generations) == 3 and all(len(of_problem) == 2 for of_problem in generations)
    assert generations[1][1] == 'def add_1(a, b):\n    """Sum."""\n    # VERDICT passed\n'
    found = json.loads((folder / "evaluation_results.json").read_text())
    assert found["humaneval-py"] == {"pass@1": 0.5}
    assert found["config"]["temperature"] == 0.8 and found["config"]["n_samples"] == 2
    folder = tmp_path / "out" / "harnesses" / "multipl-e" / "humaneval-py-all_gdn-0.8"
    value = json.loads(gzip.decompress((folder / "add_2.results.json.gz").read_bytes()))
    # As MultiPL-E's own pass_k.py counts.
    right = [r for r in value["results"] if r["status"] == "OK" and r["exit_code"] == 0]
    assert (len(value["results"]), len(right), value["temperature"]) == (2, 1, 0.8)
    assert value["results"][0]["status"] == "Timeout"
    assert value["results"][1]["program"].endswith("# VERDICT passed\nassert add_2(1, 2) == 3")


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 200, "a\0b", "../../a", "."])
def test_layouts_of_any_names(
    name: str, multipl_e: Path, judging: Judging, write_rows: WriteRows, tmp_path: Path
) -> None:
    row = json.loads(multipl_e.read_text().splitlines()[0]) | {"name": name}
    sets = read_sets([str(write_rows(tmp_path / "named.jsonl", [row]))])
    source = Scripted(lambda request: "    # VERDICT passed\n")
    benchmark(config(), sets, Writers([Writer(f"org/{name}", None, source)], {}), judging, tmp_path / "out")
    [folder] = (tmp_path / "out" / "harnesses" / "multipl-e").iterdir()
    [file] = folder.iterdir()
    assert json.loads(gzip.decompress(file.read_bytes()))["name"] == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"k": (10,), "num_samples": 5},
            "pass@10 needs at least 10 samples of each problem, got 5",
        ),
        ({"num_samples": 2, "temperature": 0}, "temperature 0 writes the same completion every time"),
        ({"k": ()}, "k: "),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**values)


def test_one_sample_is_greedy_and_a_temperature_is_for_all() -> None:
    assert config().plan == {0.0: (1,)}
    assert config(num_samples=5, k=(1, 5)).plan == {0.2: (1,), 0.8: (5,)}
    assert config(num_samples=5, k=(1, 5), temperature=0.6).plan == {0.6: (1, 5)}


def test_sets_are_of_one_kind_and_one_name(multipl_e: Path, lines: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(multipl_e.read_text() + lines.read_text())
    with pytest.raises(UserError, match="mixed: problems to complete and to fill in are in one file"):
        read_sets([str(mixed)])
    with pytest.raises(UserError, match="two sets of problems are named 'humaneval-py'"):
        read_sets([str(multipl_e), str(multipl_e)])
    names = [made.name for made in read_sets(["builtin", "builtin-infilling"])]
    assert names[0] == "builtin-python" and names[-1] == "builtin-infilling-java"
