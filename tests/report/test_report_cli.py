"""`derailleur report`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from derailleur.cli.main import main


def test_the_page_is_written_into_the_run_and_rewritten_when_the_run_goes_on(
    unfinished_run: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = unfinished_run("tokenize")
    assert main(["report", str(run)]) == 0
    page = run / "report/report.html"
    assert capsys.readouterr().out.strip() == str(page)
    written = page.stat().st_mtime_ns
    assert main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["page"] == "report.html"
    assert page.stat().st_mtime_ns == written
    (run / "curate/manifest.json").write_text(
        (run / "curate/manifest.json").read_text().replace('"fingerprint": "c', '"fingerprint": "d')
    )
    assert main(["report", str(run)]) == 0
    assert page.stat().st_mtime_ns != written


def test_a_wrong_folder_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "nothing").exists()
