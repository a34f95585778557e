"""Rows are judged by their tests or by their output, in the language that they name."""

from dataclasses import dataclass

import pytest

from derailleur.evaluation.sandbox import Limits, Sandbox
from derailleur.evaluation.sandbox.job import End, Outcome
from derailleur.evaluation.verdicts import Judgement, Verdict
from derailleur.evaluation.verdicts.judge import judge
from derailleur.evaluation.verdicts.verdict import ended, one_line


@dataclass(frozen=True)
class Row:
    program: str
    tests: str | None = None
    stdin: str = ""
    expected: str | None = None
    language: str = "python"


SUM = "print(sum(map(int, input().split())))\n"


@pytest.mark.parametrize(
    "program, stdin, expected, verdict, detail",
    [
        (SUM, "1 2\n", "3\n", Verdict.PASSED, ""),
        (SUM, "1 2", "3", Verdict.PASSED, ""),
        ("print('a  \\nb\\n\\n')", "", "a\nb", Verdict.PASSED, ""),
        ("print('é', exit)\nexit()", "", "é Use exit() or Ctrl-D (i.e. EOF) to exit\n", Verdict.PASSED, ""),
        ("print(' a')", "", "a", Verdict.WRONG, "line 1 of the output differs"),
        ("print('a\\n\\nb')", "", "a\nb", Verdict.WRONG, "line 2 of the output differs"),
        ("print('a')", "", "a\nb", Verdict.WRONG, "line 2 of the output differs"),
        ("", "", "a", Verdict.WRONG, "line 1 of the output differs"),
        ("print(3)\nraise ValueError('no')", "", "3", Verdict.RUNTIME, "ValueError: no"),
        ("print(3)\nexit(1)", "", "3", Verdict.RUNTIME, "exit status 1"),
        ("def f(", "", "3", Verdict.COMPILE, "SyntaxError"),
        ("x = [0] * 10**11", "", "3", Verdict.MEMORY, "MemoryError"),
        ("while True: print('x' * 1000)", "", "x", Verdict.OUTPUT, ""),
        ("while True: pass", "", "x", Verdict.TIMEOUT, ""),
    ],
)
def test_a_program_is_judged_by_what_it_writes(
    program: str, stdin: str, expected: str, verdict: Verdict, detail: str, sandbox: Sandbox
) -> None:
    row = Row(program, stdin=stdin, expected=expected)
    judgement = judge(row, sandbox, Limits(cpu_seconds=1, wall_seconds=8))
    assert judgement.verdict is verdict, judgement
    assert detail in judgement.detail
    assert judgement.seconds > 0


def test_a_program_is_judged_by_its_tests(sandbox: Sandbox) -> None:
    row = Row("def f(x): return x", tests="assert f(1) == 1")
    assert judge(row, sandbox).passed


def test_a_language_without_a_judge_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(KeyError):
        judge(Row("x", tests="", language="cobol"), sandbox)


def test_a_judgement_says_how_a_program_was_stopped() -> None:
    assert ended(Outcome(End.EXITED, 1)) is None
    stopped = ended(Outcome(End.SANDBOX, detail="the launcher died", cpu_seconds=2.0))
    assert stopped == Judgement(Verdict.SANDBOX, "the launcher died", 2.0)
    assert ended(Outcome(End.OUTPUT)) == Judgement(Verdict.OUTPUT)


def test_details_are_one_short_line() -> None:
    assert one_line("Traceback\n  File\nValueError:\tno  way \n\n") == "ValueError: no way"
    assert one_line("") == ""
    assert len(one_line("x" * 1000)) == 300


def test_half_a_surrogate_pair_in_a_detail_can_be_written() -> None:
    assert one_line("ValueError: \ud800").encode() == b"ValueError: \\ud800"
