"""Sequences cut into chunks of 64 tokens, and the sums of log decays within chunks.

Tokens of all sequences lie one after another; a batch is the case in which all are equally long. Where
each chunk begins is worked out on the device, so that packed documents cost no wait for their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.delta_rule import CHUNK_TOKENS
from derailleur.kernels.triton.tiles import load_tile, matmul_precision, store_tile

_SUM_CHANNELS = 64


@dataclass(frozen=True)
class Chunks:
    """Where sequences and their chunks begin and end, in tokens.

    Attributes:
        cu_seqlens: int64 [sequences + 1], where each sequence begins; last, where the last one ends.
        first: int64 [sequences + 1], the number of each sequence's first chunk.
        bounds: int64 [chunks, 2], each chunk's first token and its sequence's end. There may be more
            rows than chunks; those begin at or after their end.
    """

    cu_seqlens: Tensor
    first: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, cu_seqlens: Tensor, num_tokens: int) -> Chunks:
        """Cut the sequences that `cu_seqlens` names; `num_tokens` is its last entry."""
        num_sequences = cu_seqlens.shape[0] - 1
        lengths = cu_seqlens.diff()
        first = F.pad(((lengths + CHUNK_TOKENS - 1) // CHUNK_TOKENS).cumsum(0), (1, 0))
        chunk = torch.arange(num_tokens // CHUNK_TOKENS + num_sequences, device=cu_seqlens.device)
        sequence = (torch.searchsorted(first, chunk, right=True) - 1).clamp_(max=num_sequences - 1)
        start = cu_seqlens[sequence] + (chunk - first[sequence]) * CHUNK_TOKENS
        return cls(cu_seqlens, first, torch.stack([start, cu_seqlens[sequence + 1]], 1))

    @property
    def num_sequences(self) -> int:
        """How many sequences there are."""
        return self.cu_seqlens.shape[0] - 1

    @property
    def num_chunks(self) -> int:
        """How many chunks there are at most."""
        return self.bounds.shape[0]


@dataclass(frozen=True)
class Packed:
    """The inputs of a chunked rule: tensors over all tokens, contiguous.

    Attributes:
        q, k: [tokens, heads, head_dim] float32 or bfloat16, as v.
        v: [tokens, heads, value_dim].
        beta: [tokens, heads].
        G: [tokens, heads] or [tokens, heads, head_dim] float32, sums of log decays within the chunk.
        chunks: where the sequences are.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    beta: Tensor
    G: Tensor
    chunks: Chunks

    @property
    def num_heads(self) -> int:
        """Heads of every tensor."""
        return self.q.shape[1]

    @property
    def per_channel(self) -> bool:
        """Whether each key channel decays by itself (KDA)."""
        return self.G.dim() == 3

    def new(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """An uninitialised tensor on the inputs' device."""
        return torch.empty(shape, dtype=dtype, device=self.q.device)

    def value_blocks(self, block: int) -> int:
        """How many blocks of at most `block` value channels there are."""
        return triton.cdiv(self.v.shape[-1], block)

    def sizes(self, block: int) -> dict[str, int | bool | str]:
        """The keyword arguments that every kernel takes, for blocks of at most `block` value channels.

        Float32 tiles, and those of decays per channel, take twice the registers and shared memory: eight
        warps share them, and a loop loads one step ahead only where the tiles are half as large.
        """
        K, V = self.k.shape[-1], self.v.shape[-1]
        wide = self.q.dtype == torch.float32
        return {
            "H": self.num_heads,
            "K": K,
            "V": V,
            "BLOCK_K": max(16, triton.next_power_of_2(K)),
            "BLOCK_V": max(16, min(block, triton.next_power_of_2(V))),
            "PER_CHANNEL": self.per_channel,
            "PRECISION": matmul_precision(),
            "num_warps": 8 if wide or self.per_channel else 4,
            "num_stages": 1 if wide else 2,
        }


def chunk_sums(x: Tensor, chunks: Chunks, *, reverse: bool = False, dtype: torch.dtype) -> Tensor:
    """Inclusive sums within each chunk, from its first token on or (`reverse`) from its last token back.

    Args:
        x: [tokens, ...], contiguous.
    """
    sums = torch.empty_like(x, dtype=dtype)
    width = x[0].numel()
    _chunk_sums_kernel[(chunks.num_chunks, triton.cdiv(width, _SUM_CHANNELS))](
        x, sums, chunks.bounds, width, REVERSE=reverse, CHUNK=CHUNK_TOKENS, COLUMNS=_SUM_CHANNELS
    )
    return sums


@triton.jit
def _chunk_sums_kernel(
    x, sums, bounds, width, REVERSE: tl.constexpr, CHUNK: tl.constexpr, COLUMNS: tl.constexpr
):
    chunk, column = tl.program_id(0), tl.program_id(1) * COLUMNS
    token = tl.load(bounds + 2 * chunk)
    rows = tl.load(bounds + 2 * chunk + 1) - token
    place = token * width + column
    tile = load_tile(x + place, width, rows, width - column, CHUNK, COLUMNS).to(tl.float32)
    store_tile(sums + place, width, rows, width - column, tl.cumsum(tile, 0, reverse=REVERSE), CHUNK, COLUMNS)
