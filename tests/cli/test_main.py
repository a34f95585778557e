"""The command line: help at once, one line for a mistake, exit codes, no torch where none is needed."""

import subprocess
import sys

import pytest

from derailleur.cli.main import COMMANDS, main


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("derailleur 0.")


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["currate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("derailleur: unknown command 'currate'") and error.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main([command, "--help"]) == 0
    except SystemExit as raised:
        assert raised.code == 0
    assert f"example: derailleur {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_call_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    error = capsys.readouterr().err
    assert error.startswith("derailleur: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    "module",
    [
        "derailleur.cli",
        "derailleur.corpus",
        "derailleur.tokens",
        "derailleur.placement",
        "derailleur.placement.search",
        "derailleur.placement.surrogate",
        "derailleur.cli.curate",
        "derailleur.cli.dedup",
        "derailleur.cli.pii",
        "derailleur.cli.tokens",
        "derailleur.cli.report",
    ],
)
def test_no_torch(module: str) -> None:
    done = python(f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr or f"{module} imports torch"
