"""The mixers. A new one is a module here, its line in `placement.MIXER_NAMES`, and its test."""

from importlib import import_module

from derailleur.kernels import PAGE_TOKENS
from derailleur.model.mixers.base import (
    MAX_TRACE_TOKENS,
    Mixer,
    Paging,
    Pool,
    Rows,
    Snapshot,
    TeacherLayer,
    Trace,
    build_mixer,
    settings_of_mixers,
)
from derailleur.model.mixers.fa import FullAttention, FullAttentionConfig
from derailleur.model.mixers.gdn import Gdn, GdnConfig
from derailleur.model.mixers.kda import Kda, KdaConfig
from derailleur.model.mixers.key_value import KeyValuePages, PagedKeyValues
from derailleur.model.mixers.swa import SlidingWindow, SlidingWindowConfig
from derailleur.model.rotary import Rotary
from derailleur.placement.placement import MIXER_NAMES

__all__ = [
    "MAX_TRACE_TOKENS",
    "PAGE_TOKENS",
    "FullAttention",
    "FullAttentionConfig",
    "Gdn",
    "GdnConfig",
    "Kda",
    "KdaConfig",
    "KeyValuePages",
    "Mixer",
    "PagedKeyValues",
    "Paging",
    "Pool",
    "Rotary",
    "Rows",
    "SlidingWindow",
    "SlidingWindowConfig",
    "Snapshot",
    "TeacherLayer",
    "Trace",
    "build_mixer",
    "settings_of_mixers",
]

for name in MIXER_NAMES.values():
    import_module(f"{__name__}.{name}")  # each registers its class
