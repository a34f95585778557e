"""The four mixers. A new one is a module here, one import line, and its test."""

from derailleur.model.mixers.base import (
    MAX_TRACE_TOKENS,
    Mixer,
    Pool,
    Rows,
    Snapshot,
    Trace,
    build_mixer,
)
from derailleur.model.mixers.full_attention import FullAttention, FullAttentionConfig
from derailleur.model.mixers.gdn import Gdn, GdnConfig
from derailleur.model.mixers.kda import Kda, KdaConfig
from derailleur.model.mixers.sliding_window import SlidingWindow, SlidingWindowConfig
from derailleur.model.rotary import Rotary

__all__ = [
    "MAX_TRACE_TOKENS",
    "FullAttention",
    "FullAttentionConfig",
    "Gdn",
    "GdnConfig",
    "Kda",
    "KdaConfig",
    "Mixer",
    "Pool",
    "Rotary",
    "Rows",
    "SlidingWindow",
    "SlidingWindowConfig",
    "Snapshot",
    "Trace",
    "build_mixer",
]
