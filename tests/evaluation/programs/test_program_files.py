"""A file of programs from end to end with a pretended judge: results, resuming, the cache, the key."""

import json
from pathlib import Path

import pytest

from derailleur.errors import DataError, UserError
from derailleur.evaluation.programs import Language, Row
from derailleur.evaluation.programs.cache import Cache, default_cache_folder
from derailleur.evaluation.programs.evaluate import Summary, evaluate_programs
from derailleur.evaluation.programs.key import judgement_key, toolchain
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.programs.results import PartialResults
from derailleur.evaluation.sandbox.limits import Limits
from derailleur.evaluation.verdicts import Judgement, Verdict


class Judge:
    """The verdict is the program's text; `stop` ends the run."""

    def __init__(self, runs: list[str]) -> None:
        self.runs = runs

    def judge(self, row: Row) -> Judgement:
        self.runs.append(row.program)
        if row.program == "stop":
            raise KeyboardInterrupt
        return Judgement(Verdict(row.program.strip()), "why", 0.123456)

    def close(self) -> None:
        pass


def rows(*programs: str) -> list[Row]:
    return [Row(f"{n}", Language.PYTHON, program, tests="") for n, program in enumerate(programs)]


def evaluate(
    programs: list[Row], out: Path, *, cache: Path | None = None, limits: LanguageLimits | None = None
) -> tuple[Summary, list[str]]:
    runs: list[str] = []
    summary = evaluate_programs(
        programs,
        out,
        lambda: Judge(runs),
        limits=limits or LanguageLimits(),
        setting="1",
        workers=1,
        cache=cache,
    )
    return summary, runs


def test_results_in_the_order_of_the_rows(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    summary, _ = evaluate(rows("wrong", "passed", "sandbox", "passed"), out)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    why = {"seconds": 0.1235, "detail": "why"}
    assert written == [
        {"id": "0", "passed": False, "verdict": "wrong"} | why,
        {"id": "1", "passed": True, "verdict": "passed"} | why,
        {"id": "2", "passed": None, "verdict": "sandbox"} | why,
        {"id": "3", "passed": True, "verdict": "passed"} | why,
    ]
    assert summary.counts == {"python": dict.fromkeys(Verdict, 0) | {"passed": 2, "wrong": 1, "sandbox": 1}}
    assert summary.total(Verdict.PASSED) == 2
    assert (summary.num_distinct, summary.num_known, summary.num_retried) == (3, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.jsonl"]


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    with pytest.raises(KeyboardInterrupt):
        evaluate(rows("passed", "wrong", "stop"), out)
    assert not out.exists()
    with (tmp_path / "results.jsonl.partial").open("a") as stream:
        stream.write('{"key": "torn')
    summary, runs = evaluate(rows("passed", "wrong", "runtime"), out)
    assert runs == ["runtime"]
    assert summary.num_known == 2
    assert [json.loads(line)["verdict"] for line in out.read_text().splitlines()] == [
        "passed",
        "wrong",
        "runtime",
    ]


def test_other_limits_or_programs_are_not_taken_from_a_run_that_was_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate(rows("passed", "stop"), tmp_path / "out")
    limits = LanguageLimits(python=Limits(cpu_seconds=3))
    _, runs = evaluate(rows("passed"), tmp_path / "out", limits=limits)
    assert runs == ["passed"]


def test_the_cache_keeps_what_would_be_the_same_again(tmp_path: Path) -> None:
    programs = rows("passed", "wrong", "compile", "runtime", "memory", "output", "timeout", "sandbox")
    first, _ = evaluate(programs, tmp_path / "first", cache=tmp_path / "cache")
    second, runs = evaluate(programs, tmp_path / "second", cache=tmp_path / "cache")
    assert set(runs) == {"timeout", "sandbox"}
    assert second.counts == first.counts
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_two_processes_may_share_a_cache(tmp_path: Path) -> None:
    with Cache(tmp_path) as one, Cache(tmp_path) as other:
        for number in range(300):  # more than a batch
            one.put(f"{number}", Judgement(Verdict.PASSED))
            other.put(f"{number}", Judgement(Verdict.PASSED))
        assert other.get("0") == Judgement(Verdict.PASSED)
    with Cache(tmp_path) as again:
        assert again.get("299") == Judgement(Verdict.PASSED)
        assert again.get("300") is None


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "judgements.sqlite").write_text(
        "no table, but long enough to be read as the header of one" * 9
    )
    with pytest.raises(
        DataError, match=r"judgements.sqlite: file is not a database; remove the file or name"
    ):
        Cache(tmp_path)


def test_a_file_that_holds_no_partial_results_is_named(tmp_path: Path) -> None:
    for content, message in (("[]\n", ":1: expected an object"), ('{"key": "a"}\n', ":1: no partial result")):
        (tmp_path / "out.partial").write_text(content)
        with pytest.raises(DataError, match=f"out.partial{message}"):
            PartialResults(tmp_path / "out")


def test_the_cache_folder_is_where_the_user_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "derailleur/programs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache/derailleur/programs"


def test_the_key_is_of_all_that_decides_and_of_nothing_else() -> None:
    base = Row("a", Language.PYTHON, "p", tests="t")
    others = [
        Row("a", Language.PYTHON, "p", tests="u"),
        Row("a", Language.PYTHON, "q", tests="t"),
        Row("a", Language.PYTHON, "p", stdin="t", expected=""),
        Row("a", Language.PYTHON, "p", stdin="", expected="t"),
        Row("a", Language.PYTHON, "pt", tests=""),
    ]
    keys = {judgement_key(row, Limits(), "1") for row in (base, *others)}
    keys |= {judgement_key(base, Limits(cpu_seconds=1), "1"), judgement_key(base, Limits(), "2")}
    assert len(keys) == len(others) + 3
    assert judgement_key(Row("b", Language.PYTHON, "p", tests="t"), Limits(), "1") in keys


def test_a_toolchain_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain.cache_clear()
    with pytest.raises(
        UserError, match="javascript programs need 'node', which is not on the PATH: install nodejs"
    ):
        toolchain(Language.JAVASCRIPT)
    toolchain.cache_clear()
