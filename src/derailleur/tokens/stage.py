"""The `tokenize` stage: documents -> a tokenizer and packed shards of token ids."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from derailleur.config import Config
from derailleur.errors import DataError
from derailleur.io import Progress, silent
from derailleur.tokens.documents import SPLITS, Document, read_documents, unit_hash
from derailleur.tokens.packing import SplitWriter, token_dtype
from derailleur.tokens.special_tokens import OUR_SPELLING, FimOrder
from derailleur.tokens.tokenizer import TOKENIZER_FILE, Tokenizer

VERSION = 1

_CHUNK_BYTES = 4 << 20  # encoded at once: enough for all cores, small beside a shard
_MIN_VOCAB = 256 + 1 + len(OUR_SPELLING)  # every byte, the end of a document, fill-in-the-middle


class TokenizeConfig(Config):
    """How documents become tokens."""

    tokenizer: Path | None = Field(
        None, description="folder or tokenizer.json to reuse, such as a teacher's; none trains one"
    )
    vocab_size: int = Field(
        49_152, ge=_MIN_VOCAB, le=1 << 20, description="size of a trained vocabulary, tokens"
    )
    fim_order: FimOrder = Field(
        FimOrder.SPM, description="order of infilling prompts under a trained tokenizer: psm or spm"
    )
    training_bytes: int = Field(
        100_000_000, gt=0, description="at most this much training text, evenly sampled, trains it, bytes"
    )
    heldout_fraction: float = Field(
        0.01, ge=0, le=0.5, description="share of documents held out if the corpus has no column 'split'"
    )
    shard_tokens: int = Field(
        1 << 24, gt=0, description="a shard ends with the document that reaches this, tokens"
    )


@dataclass
class _Size:
    documents: int = 0
    num_bytes: int = 0


def tokenize(
    config: TokenizeConfig, corpus: Path, out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Train or reuse a tokenizer, encode every document, pack the shards of both splits.

    Resumes after the tokenizer and the shards that a killed call left in `out`.

    Args:
        corpus: a curate stage's folder, or a folder or file of Parquet or JSONL with a column `content`.

    Returns:
        vocab_size, dtype, bytes_per_token; by split: documents, tokens (ends of documents included), bytes.

    Raises:
        DataError: if the corpus is unreadable or a split is empty.
        CheckpointError: if the tokenizer to reuse cannot be used.
    """
    sizes = _survey(config, corpus)
    tokenizer = _tokenizer(config, corpus, out, sizes["train"], progress)
    dtype = token_dtype(tokenizer.vocab_size)
    writers = {
        split: SplitWriter(out, split, dtype=dtype, eos_id=tokenizer.eos_id, shard_tokens=config.shard_tokens)
        for split in SPLITS
    }
    documents = read_documents(corpus, heldout_fraction=config.heldout_fraction)
    _pack(documents, writers, tokenizer, sum(size.num_bytes for size in sizes.values()), progress)
    tokens = {split: writer.num_tokens for split, writer in writers.items()}
    num_bytes = {split: size.num_bytes for split, size in sizes.items()}
    return {
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype.name,
        "documents": {split: size.documents for split, size in sizes.items()},
        "tokens": tokens,
        "bytes": num_bytes,
        "bytes_per_token": sum(num_bytes.values()) / sum(tokens.values()),
    }


def _survey(config: TokenizeConfig, corpus: Path) -> dict[str, _Size]:
    """Read everything once, so that a bad row or an empty split ends the call before long work begins."""
    sizes = {split: _Size() for split in SPLITS}
    for document in read_documents(corpus, heldout_fraction=config.heldout_fraction):
        sizes[document.split].documents += 1
        sizes[document.split].num_bytes += document.num_bytes
    if not sizes["train"].num_bytes:
        raise DataError(f"{corpus}: no text in split 'train'")
    if not sizes["heldout"].num_bytes and config.heldout_fraction:
        raise DataError(
            f"{corpus}: no text in split 'heldout' beside {sizes['train'].documents} training documents; "
            "raise heldout_fraction, or set it to 0 to hold out none"
        )
    return sizes


def _tokenizer(
    config: TokenizeConfig, corpus: Path, out: Path, train: _Size, progress: Progress
) -> Tokenizer:
    if (out / TOKENIZER_FILE).is_file():
        return Tokenizer.load(out)
    if config.tokenizer:
        tokenizer = Tokenizer.load(config.tokenizer)
    else:
        texts = _training_texts(config, corpus, train, progress)
        tokenizer = Tokenizer.train(texts, vocab_size=config.vocab_size, fim_order=config.fim_order)
    tokenizer.save(out)
    return tokenizer


def _training_texts(config: TokenizeConfig, corpus: Path, train: _Size, progress: Progress) -> Iterator[str]:
    share = config.training_bytes / train.num_bytes
    total = min(train.num_bytes, config.training_bytes)
    done = 0
    for document in read_documents(corpus, heldout_fraction=config.heldout_fraction):
        # salted, so that the sample does not depend on how the split was drawn
        if document.split == "train" and unit_hash(f"sample {document.id}") < share:
            yield document.content
            done += document.num_bytes
            progress("train tokenizer", min(done, total), total)


def _pack(
    documents: Iterator[Document],
    writers: dict[str, SplitWriter],
    tokenizer: Tokenizer,
    total_bytes: int,
    progress: Progress,
) -> None:
    chunk: list[Document] = []
    chunk_bytes = done_bytes = 0

    def encode_chunk() -> None:
        batch = tokenizer.encode_batch([document.content for document in chunk])
        for document, ids in zip(chunk, batch, strict=True):
            writers[document.split].add(document, ids)
        chunk.clear()

    for document in documents:
        done_bytes += document.num_bytes
        if writers[document.split].resuming:
            writers[document.split].skip(document)
            continue
        chunk.append(document)
        chunk_bytes += document.num_bytes
        if chunk_bytes >= _CHUNK_BYTES:
            encode_chunk()
            chunk_bytes = 0
            progress("encode", done_bytes, total_bytes)
    encode_chunk()
    for writer in writers.values():
        writer.close()
    progress("encode", total_bytes, total_bytes)
