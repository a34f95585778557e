"""What the page says of a corpus: every file in one place, and nothing of a stranger's as markup."""

import itertools
import json
import shutil
from pathlib import Path

import pytest

from derailleur.cli.main import main
from derailleur.report import report_corpus, stage_of
from derailleur.report.corpus import bucketed, sections
from derailleur.report.corpus_flow import flow, plot_flow
from derailleur.report.run_folder import RunFolder


@pytest.mark.parametrize("unit", ["files", "bytes"])
def test_what_is_seen_is_left_out_or_kept(run_folder: Path, unit: str) -> None:
    results = RunFolder(run_folder).results("curate")
    steps = flow(results, unit)
    for step, following in itertools.pairwise(steps):
        assert following.before == step.before - step.left_out
    assert sum(step.left_out for step in steps) == sum(row[unit] for row in results["left_out"])


def test_a_corpus_of_which_nothing_was_left_out_is_drawn() -> None:
    steps = flow({"files_seen": 5, "left_out": []}, "files")
    assert plot_flow(steps, "files").axes[0].texts[-1].get_text().startswith("5 files, 100.0")


def test_cluster_sizes_are_put_into_ranges() -> None:
    assert bucketed({"2": 9, "4": 1, "5": 2, "8": 1, "9": 3, "200": 1}) == {
        "2": 9,
        "4": 1,
        "5–8": 3,
        "9–16": 3,
        "129–256": 1,
    }


def test_what_is_not_recognised_and_what_is_short_is_called_so(run_folder: Path) -> None:
    manifest = RunFolder(run_folder).manifest("curate")
    assert manifest
    licences = {"MIT": 60, "unknown": 10, "LicenseRef-unknown": 10, "MIT AND LicenseRef-unknown": 20}
    reasons = ("exact_duplicate", "near_duplicate", "near_duplicate_of_heldout", "short")
    results = manifest["results"] | {
        "bytes_kept": 100,
        "by_licence": {name: {"files_kept": 1, "bytes_kept": size} for name, size in licences.items()},
        "left_out": [
            {"step": "near_dedup", "action": "dropped", "reason": reason, "files": 1, "bytes": 1}
            for reason in reasons
        ],
    }
    leads = {part.name: str(part.lead) for part in sections(manifest | {"results": results})}
    assert "a licence is known for 60.0" in leads["content"]
    assert "1 exact copy and 2 near-duplicates" in leads["duplicates"]


def test_a_corpus_alone_has_a_page(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(run_folder / "curate", corpus)
    path = corpus / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"] = {"pii": {"salt": "hush"}}
    path.write_text(json.dumps(manifest).replace('"MIT"', '"<img src=x>"'))
    assert stage_of(corpus) == "curate"
    assert main(["report", str(corpus)]) == 0
    assert capsys.readouterr().out.strip() == str(corpus / "report.html")
    page = (corpus / "report.html").read_text()
    assert "<img" not in page and "&lt;img src=x&gt;" in page
    assert "hush" not in page
    report_corpus(corpus, tmp_path / "again")
    assert (tmp_path / "again/report.html").read_text() == page


def test_an_older_manifest_is_told_plainly() -> None:
    [section] = sections({"results": {"files_seen": 3}, "config": {}})
    assert "older version" in str(section.lead)
