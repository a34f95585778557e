"""The delta rules and the attention forms: fast paths beside their slow, obvious twins."""

from derailleur.kernels.attention import banded_attention, cached_attention, causal_attention
from derailleur.kernels.convolution import causal_convolution
from derailleur.kernels.decode_step import decode_step, replay
from derailleur.kernels.delta_rule import (
    DeltaRule,
    DeltaRuleOutput,
    chunk_gdn,
    chunk_kda,
    recurrent_delta_rule,
)
from derailleur.kernels.dispatch import compiled_serves, triton_serves
from derailleur.kernels.documents import document_positions, documents_of
from derailleur.kernels.linear import linear
from derailleur.kernels.paged import PAGE_TOKENS, extend_pages
from derailleur.kernels.rowwise import rms_norm, rotate
from derailleur.kernels.silu_product import silu_product

__all__ = [
    "PAGE_TOKENS",
    "DeltaRule",
    "DeltaRuleOutput",
    "banded_attention",
    "cached_attention",
    "causal_attention",
    "causal_convolution",
    "chunk_gdn",
    "chunk_kda",
    "compiled_serves",
    "decode_step",
    "document_positions",
    "documents_of",
    "extend_pages",
    "linear",
    "recurrent_delta_rule",
    "replay",
    "rms_norm",
    "rotate",
    "silu_product",
    "triton_serves",
]
