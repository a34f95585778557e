"""The benchmark of single steps runs, and its tables have a row for each."""

from pathlib import Path

import corpus_steps
import pytest

from derailleur.corpus.filters import FILTERS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("source") / "project"
    made.mkdir()
    (made / "a.py").write_text("def add(left, right):\n    # the sum\n    return left + right\n" * 20)
    (made / "b.py").write_bytes(b"name = 'caf\xe9'\n")
    return made


def test_sources_are_read_and_decoded(folder: Path) -> None:
    [_, _, row] = corpus_steps.measure_sources([str(folder)], rounds=1).splitlines()
    assert row.startswith("| project | 2 | ")


def test_every_filter_has_a_row(folder: Path) -> None:
    texts = corpus_steps.python_files(folder, megabytes=1)
    assert len(texts) == 1
    rows = corpus_steps.measure_filters(texts, rounds=1).splitlines()[2:]
    assert len(rows) == len(FILTERS) - 1 + len(corpus_steps.PROFILES)


def test_decontamination_counts_what_it_finds(folder: Path, tmp_path: Path) -> None:
    benchmark = tmp_path / "mbpp.jsonl"
    solution = "def add(left, right):\\n    # the sum\\n    return left + right\\n" * 2
    benchmark.write_text(
        f'{{"text": "Add.", "code": "{solution}", "test_list": ["assert add(1, 2) == 3"]}}\n'
    )
    texts = corpus_steps.python_files(folder, megabytes=1)
    [_, _, row] = corpus_steps.measure_decontamination(texts, [benchmark], rounds=1).splitlines()
    assert row.startswith("| 1 | 3 | ")
    assert row.endswith("| 1 of 1 |")
