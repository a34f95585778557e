"""The held-out files that every score is computed on, and what general compressors make of them."""

import gzip
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from derailleur.errors import DataError
from derailleur.tokens.documents import Document, read_documents


def read_heldout(corpus: Path, *, max_bytes: int, rng: np.random.Generator) -> list[Document]:
    """A random choice of whole held-out files of at most `max_bytes` together, in the corpus's order.

    A corpus without a `split` column is held out as a whole.

    Raises:
        DataError: if no held-out file is small enough.
    """
    documents = [
        document
        for document in read_documents(corpus, heldout_fraction=1.0)
        if document.split == "heldout" and document.content
    ]
    chosen, room = [], max_bytes
    for index in rng.permutation(len(documents)):
        if documents[index].num_bytes <= room:
            chosen.append(index)
            room -= documents[index].num_bytes
    if not chosen:
        what = (
            "no held-out documents"
            if not documents
            else f"no held-out document of {max_bytes:,} bytes or less"
        )
        raise DataError(f"{corpus}: {what}")
    return [documents[index] for index in sorted(chosen)]


def compress(documents: Sequence[Document]) -> dict[str, float]:
    """Bits per byte of gzip -9 and xz -9e on all files, one after the other."""
    text = b"".join(document.content.encode() for document in documents)
    return {
        "gzip": 8 * len(gzip.compress(text, compresslevel=9, mtime=0)) / len(text),
        "xz": 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text),
    }
