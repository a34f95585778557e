import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from derailleur.errors import CheckpointError, DataError
from derailleur.tokens import TokenDataset, TokenizeConfig, Tokenizer, tokenize
from derailleur.tokens.documents import read_documents


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_corpus(folder: Path, contents: list[str], **columns: list[str]) -> Path:
    pq.write_table(pa.table({"content": contents, **columns}), folder / "corpus.parquet")
    return folder / "corpus.parquet"


def test_every_document_lies_where_the_table_says(
    corpus: Path, packed: Path, tokenizer: Tokenizer, sources: dict[str, str]
) -> None:
    originals = {document.id: document for document in read_documents(corpus, heldout_fraction=0)}
    num_seen = 0
    for split in ("train", "heldout"):
        rows = TokenDataset(packed, split).documents().to_pylist()
        assert [row["path"] for row in rows] == [o.path for o in originals.values() if o.split == split]
        for row in rows:
            shard = np.fromfile(packed / f"{split}-{row['shard']:05d}.bin", "<u2").tolist()
            *ids, end = shard[row["start_token"] : row["start_token"] + row["num_tokens"]]
            assert end == tokenizer.eos_id
            assert tokenizer.decode(ids) == originals[row["id"]].content
            assert row["num_bytes"] == originals[row["id"]].num_bytes
            num_seen += 1
    assert num_seen == len(originals) == len(sources)


def test_shards_are_full_and_hold_whole_documents(packed: Path, config: TokenizeConfig) -> None:
    rows = TokenDataset(packed, "train").documents().to_pylist()
    shards = [np.fromfile(path, "<u2") for path in sorted(packed.glob("train-*.bin"))]
    assert len(shards) >= 3
    for number, shard in enumerate(shards):
        inside = [row for row in rows if row["shard"] == number]
        assert sum(row["num_tokens"] for row in inside) == len(shard)
        before_last = len(shard) - inside[-1]["num_tokens"]
        assert before_last < config.shard_tokens
        assert len(shard) >= config.shard_tokens or number == len(shards) - 1


def test_results_count_what_is_there(
    corpus: Path, config: TokenizeConfig, packed: Path, sources: dict[str, str], tmp_path: Path
) -> None:
    results = tokenize(config, corpus, tmp_path)
    assert json.loads(json.dumps(results)) == results
    assert (results["vocab_size"], results["dtype"]) == (600, "uint16")
    assert sum(results["documents"].values()) == len(sources)
    for split, num_tokens in results["tokens"].items():
        assert num_tokens == sum(len(np.fromfile(p, "<u2")) for p in packed.glob(f"{split}-*.bin"))
        assert results["bytes"][split] == TokenDataset(packed, split).num_bytes
    assert results["bytes_per_token"] == sum(results["bytes"].values()) / sum(results["tokens"].values())
    assert files(tmp_path) == files(packed)  # and two calls give the same files


@pytest.mark.parametrize(
    "lost",
    [
        ["train-*.bin", "heldout-*.bin", "*.parquet"],
        ["train-0000[1-9].bin", "heldout-*.bin", "*.parquet"],
        ["heldout-00000.bin", "*.parquet"],
        ["heldout.documents.parquet"],
        [],
    ],
)
def test_a_killed_call_is_resumed_without_redoing_shards(
    corpus: Path,
    config: TokenizeConfig,
    packed: Path,
    sources: dict[str, str],
    tmp_path: Path,
    lost: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, content in files(packed).items():
        (tmp_path / name).write_bytes(content)
    for pattern in lost:
        for path in list(tmp_path.glob(pattern)):
            path.unlink()
    (tmp_path / ".train-00001.bin.tmp-1").write_bytes(b"half a shard")
    kept = {path: path.stat().st_mtime_ns for path in [*tmp_path.glob("*.bin"), tmp_path / "tokenizer.json"]}
    finished = sum(int((np.fromfile(p, "<u2") == 0).sum()) for p in tmp_path.glob("*.bin"))
    encoded: list[str] = []
    encode_batch = Tokenizer.encode_batch

    def counting(self: Tokenizer, texts: list[str]) -> list[list[int]]:
        encoded.extend(text for text in texts if text in sources.values())
        return encode_batch(self, texts)

    monkeypatch.setattr(Tokenizer, "encode_batch", counting)
    tokenize(config, corpus, tmp_path)
    assert len(encoded) == len(sources) - finished
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    (tmp_path / ".train-00001.bin.tmp-1").unlink()
    assert files(tmp_path) == files(packed)


@pytest.mark.parametrize("chunk_bytes", [1, 10_000])
def test_the_size_of_chunks_does_not_matter(
    corpus: Path,
    config: TokenizeConfig,
    packed: Path,
    tmp_path: Path,
    chunk_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("derailleur.tokens.stage._CHUNK_BYTES", chunk_bytes)
    tokenize(config, corpus, tmp_path)
    assert files(tmp_path) == files(packed)


def test_progress_ends_at_the_total(corpus: Path, config: TokenizeConfig, tmp_path: Path) -> None:
    seen: dict[str, tuple[float, float | None]] = {}

    def progress(label: str, done: float, total: float | None, note: str = "") -> None:
        assert done >= seen.get(label, (0, 0))[0]
        seen[label] = (done, total)

    tokenize(config, corpus, tmp_path, progress=progress)
    assert seen.keys() == {"train tokenizer", "encode"}
    assert all(done == total for done, total in seen.values())


def test_heldout_text_does_not_train_the_tokenizer(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, ["plain words " * 50, "zyxwvut " * 50], split=["train", "heldout"])
    tokenize(TokenizeConfig(vocab_size=400), corpus, tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert len(tokenizer.encode("plain words")) == 2
    assert len(tokenizer.encode("zyxwvut")) > 4


def test_training_text_is_capped(tmp_path: Path) -> None:
    words = ["alpha", "bravo", "delta", "gamma", "kappa", "omega", "sigma", "theta"]
    corpus = write_corpus(tmp_path, [f"{word} " * 100 for word in words])
    config = TokenizeConfig(vocab_size=400, heldout_fraction=0, training_bytes=300 * len(words))
    tokenize(config, corpus, tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    whole = [word for word in words if len(tokenizer.encode(f" {word}")) == 1]
    assert 0 < len(whole) < len(words)


def test_an_existing_tokenizer_is_reused(corpus: Path, packed: Path, tmp_path: Path) -> None:
    results = tokenize(TokenizeConfig(tokenizer=packed), corpus, tmp_path)
    assert results["vocab_size"] == 600
    assert (tmp_path / "tokenizer.json").read_bytes() == (packed / "tokenizer.json").read_bytes()
    assert TokenDataset(tmp_path, "train").num_tokens == TokenDataset(packed, "train").num_tokens


def test_a_folder_without_a_tokenizer(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read"):
        tokenize(TokenizeConfig(tokenizer=tmp_path), corpus, tmp_path / "out")


def test_a_large_vocabulary_takes_four_bytes_a_token(packed: Path, tmp_path: Path) -> None:
    values = json.loads((packed / "tokenizer.json").read_text())
    values["model"]["vocab"] |= {f"filler{n}": n for n in range(600, 70_000)}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    corpus = write_corpus(tmp_path, ["def f(): pass\n"])
    config = TokenizeConfig(tokenizer=tmp_path / "tokenizer.json", heldout_fraction=0)
    results = tokenize(config, corpus, tmp_path / "out")
    dataset = TokenDataset(tmp_path / "out", "train")
    assert (results["vocab_size"], results["dtype"]) == (70_000, "uint32")
    assert (tmp_path / "out/train-00000.bin").stat().st_size == 4 * dataset.num_tokens
    tokens = dataset.window(0, dataset.num_tokens).tolist()
    assert Tokenizer.load(tmp_path / "out").decode(tokens[:-1]) == "def f(): pass\n"


def test_empty_splits_are_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, ["a", "b"], split=["train", "train"])
    with pytest.raises(DataError, match="no text in split 'heldout' beside 2 training documents"):
        tokenize(TokenizeConfig(vocab_size=300), corpus, tmp_path / "out")
    tokenize(TokenizeConfig(vocab_size=300, heldout_fraction=0), corpus, tmp_path / "out")
    with pytest.raises(DataError, match="split 'heldout' holds no documents"):
        TokenDataset(tmp_path / "out", "heldout")
    corpus = write_corpus(tmp_path, ["", ""])
    with pytest.raises(DataError, match="no text in split 'train'"):
        tokenize(TokenizeConfig(vocab_size=300), corpus, tmp_path / "other")


def test_torch_is_not_imported() -> None:
    script = "import sys, derailleur.tokens, derailleur.cli.tokens; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
