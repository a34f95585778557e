"""Packed documents: several that stand one after another in the one row of a batch.

`cu_seqlens` (int64 [documents + 1]) names the token at which each document begins and, last, where the
row ends. It is how training packs short documents into one sequence without any of them seeing another.
"""

from itertools import pairwise

import torch
from torch import Tensor

from derailleur.errors import ShapeError


def documents_of(x: Tensor, cu_seqlens: Tensor | None) -> list[range]:
    """The tokens of each document in x [batch, seq, ...]; without `cu_seqlens` all rows are one document.

    Raises:
        ShapeError: if the batch is not one row, or `cu_seqlens` does not rise from 0 to seq.
    """
    batch, seq = x.shape[:2]
    if cu_seqlens is None:
        return [range(seq)]
    bounds: list[int] = cu_seqlens.tolist()
    if batch != 1:
        raise ShapeError(f"packed documents: expected one row, got a batch of {batch}")
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != seq or bounds != sorted(bounds):
        raise ShapeError(f"packed documents: expected cu_seqlens to rise from 0 to {seq}, got {bounds}")
    return [range(start, end) for start, end in pairwise(bounds)]


def document_positions(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """[seq] int64: the place of every token of x [1, seq, ...] in its document.

    Raises:
        ShapeError: as `documents_of`.
    """
    positions = [torch.arange(len(document), device=x.device) for document in documents_of(x, cu_seqlens)]
    return torch.cat(positions)
