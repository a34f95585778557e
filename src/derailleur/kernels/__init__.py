"""The delta rules and the attention forms: fast paths beside their slow, obvious twins."""

from derailleur.kernels.attention import banded_attention, cached_attention, causal_attention
from derailleur.kernels.decode_step import decode_step
from derailleur.kernels.delta_rule import DeltaRuleOutput, chunk_gdn, chunk_kda, recurrent_delta_rule

__all__ = [
    "DeltaRuleOutput",
    "banded_attention",
    "cached_attention",
    "causal_attention",
    "chunk_gdn",
    "chunk_kda",
    "decode_step",
    "recurrent_delta_rule",
]
