import json
from pathlib import Path

import pytest

from derailleur.cli import main
from derailleur.tokens import TokenDataset


def test_tokenize_and_again(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tokenize", str(corpus), "--out", str(tmp_path / "out"), "--vocab-size", "300"]
    assert main([*command, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["vocab_size"] == 300
    assert results["tokens"]["train"] == TokenDataset(tmp_path / "out", "train").num_tokens
    made = (tmp_path / "out/train-00000.bin").stat().st_mtime_ns
    assert main(command) == 0
    assert "vocabulary 300" in capsys.readouterr().out
    assert (tmp_path / "out/train-00000.bin").stat().st_mtime_ns == made


def test_another_tokenizer_is_another_result(corpus: Path, packed: Path, tmp_path: Path) -> None:
    command = ["tokenize", str(corpus), "--out", str(tmp_path / "out")]
    assert main([*command, "--vocab-size", "300"]) == 0
    assert main([*command, "--tokenizer", str(packed)]) == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["results"]["vocab_size"] == 600
    assert manifest["inputs"] == {"corpus": str(corpus), "tokenizer": str(packed)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocab-sise", "300"], "unknown key 'vocab_sise'; did you mean 'vocab_size'?"),
        (["--vocab-size", "260"], "vocab_size: Input should be greater than or equal to 261, got 260"),
        (["--tokenizer", "missing"], "missing: no such file or folder"),
        (["--config", "missing.yaml"], "missing.yaml: no such file or directory"),
    ],
)
def test_mistakes_are_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["tokenize", str(corpus), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err == f"derailleur: {message}\n"


def test_a_missing_corpus_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"derailleur: {tmp_path}/none: no such file or folder\n"


def test_help_shows_an_example_and_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["tokenize", "--help"])
    out = capsys.readouterr().out
    assert "example: derailleur tokenize" in out
    assert "--shard_tokens" in out
