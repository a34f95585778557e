"""The page of redactions that `curate` makes when it is asked to."""

from pathlib import Path

import pytest

from derailleur.corpus import CurateConfig, curate, open_sources
from derailleur.corpus.pii.review import Finding, Piece, read_findings, write_findings
from derailleur.corpus.workspace import Workspace, plan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(12):
        lines = [f"MAIL_{number}_{line} = 'person{number}.{line}@corp.com'\n" for line in range(3)]
        (folder / f"m{number}.py").write_text("".join(lines))
    return folder


def run(source: Path, out: Path, *, workers: int = 1, **changes: int) -> Path:
    config = CurateConfig(languages=("Python",)).model_copy(update=changes)
    curate(config, open_sources([source], config, out=out), out, workers=workers)
    assert not (out / ".scratch").exists(), "values in plain sight are nowhere but on the page"
    return out / "review.html"


def test_the_page_is_the_same_for_any_workers_and_shards(source: Path, tmp_path: Path) -> None:
    page = run(source, tmp_path / "one", review=4)
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_bytes()
    assert b"@corp.com" in text
    assert run(source, tmp_path / "two", workers=2, review=4, shard_bytes=300).read_bytes() == text
    assert len(list((tmp_path / "two").glob("documents-*"))) > 1
    assert run(source, tmp_path / "three", review=4, shard_bytes=300).read_bytes() == text


def test_texts_before_redaction_are_their_owners_alone_also_where_a_run_is_killed(
    source: Path, tmp_path: Path
) -> None:
    config = CurateConfig()
    plan(Workspace(tmp_path / "out", config), open_sources([source], config, out=tmp_path / "out"))
    assert (tmp_path / "out" / ".scratch").stat().st_mode & 0o777 == 0o700


def test_there_is_no_page_by_default(source: Path, tmp_path: Path) -> None:
    assert not run(source, tmp_path / "out").exists()
    assert not any(b"@corp.com" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_findings_come_back_as_they_were(tmp_path: Path) -> None:
    pieces = (Piece("a = '\u2028\n"), Piece("é@corp.com", "x@example.com", True), Piece("'"))
    found = [Finding("r/a.py", 7, "EMAIL", pieces), Finding("r/b.py", 1, "EMAIL", pieces[1:2])]
    write_findings({"EMAIL": found}, tmp_path / "f.jsonl")
    assert list(read_findings(tmp_path / "f.jsonl")) == found
    assert (tmp_path / "f.jsonl").stat().st_mode & 0o777 == 0o600
