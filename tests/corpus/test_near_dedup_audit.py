"""The audit of near-dedup, and its command."""

import json
import random
from pathlib import Path

import pytest

from derailleur.cli import main
from derailleur.corpus.dedup import audit_files
from derailleur.corpus.near_dedup import BINS, NearDedupConfig


def write_rows(path: Path, texts: list[str]) -> Path:
    rows = [{"id": f"{number:04d}", "content": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def families(seed: int) -> list[str]:
    """Texts of 200 words in families of six that differ in up to every twelfth word."""
    generator = random.Random(seed)
    texts = []
    for family in range(40):
        base = [f"f{family}w{n}" for n in range(200)]
        for _ in range(6):
            rate = generator.uniform(0, 0.05)
            texts.append(
                " ".join(f"x{generator.random()}"[2:] if generator.random() < rate else w for w in base)
            )
    return texts


def audit_of(config: NearDedupConfig, path: Path, sample: int):
    return audit_files({"it": config}, [path], sample=sample, seed=0, num_workers=1)["it"]


def test_the_default_errs_in_nothing_here(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", families(0))
    audit = audit_of(NearDedupConfig(), path, 10_000)
    assert audit.num_sampled == audit.num_documents == len(set(families(0)))
    assert sum(audit.pairs_by_bin) > 300
    assert audit.num_similar == sum(audit.pairs_by_bin[BINS.index(0.7) :]) > 100
    assert audit.num_missed <= 0.01 * audit.num_similar
    assert audit.num_unlike == 0 < audit.num_dropped
    recall = [share for share in audit.recall_by_bin[BINS.index(0.7) :] if share is not None]
    assert min(recall) > 0.97


def test_too_few_bands_miss_pairs_and_components_drop_what_is_unlike(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", families(1))
    few = audit_of(NearDedupConfig(num_bands=1, rows_per_band=12), path, 10_000)
    assert few.false_negative_rate > 0.2
    assert few.false_positive_rate == 0
    many = audit_of(NearDedupConfig(rule="components", num_bands=60, rows_per_band=2), path, 10_000)
    assert many.false_negative_rate == 0
    assert many.false_positive_rate > 0.1


def test_a_sample_looks_at_its_neighbours_only(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", families(2))
    audit = audit_of(NearDedupConfig(), path, 10)
    assert audit.num_sampled == 10
    assert sum(audit.pairs_by_bin) <= 50, "each has five relatives"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "r.jsonl", families(3))
    command = ["dedup", "audit", str(path), "--sample", "50", "--workers", "1"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["default", "santacoder-baseline", "santacoder-alt"]
    assert found["default"]["num_sampled"] == 50
    assert main([*command, "--threshold", "0.8"]) == 0
    out = capsys.readouterr().out
    assert "both stayed" in out and "0.95 to 1.00" in out
