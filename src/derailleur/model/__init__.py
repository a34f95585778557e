"""The decoder, its mixers, surgery, and checkpoint folders."""

from derailleur.model.checkpoint import load_config, load_model, model_folder, save_model
from derailleur.model.config import DecoderConfig, MixersConfig
from derailleur.model.decoder import Decoder, DecoderLayer, DecoderOutput
from derailleur.model.importing import import_checkpoint
from derailleur.model.mixers import (
    MAX_TRACE_TOKENS,
    FullAttentionConfig,
    GdnConfig,
    KdaConfig,
    Mixer,
    Pool,
    Rotary,
    Rows,
    SlidingWindowConfig,
    Trace,
    settings_of_mixers,
)
from derailleur.model.surgery import add_mixers

__all__ = [
    "MAX_TRACE_TOKENS",
    "Decoder",
    "DecoderConfig",
    "DecoderLayer",
    "DecoderOutput",
    "FullAttentionConfig",
    "GdnConfig",
    "KdaConfig",
    "Mixer",
    "MixersConfig",
    "Pool",
    "Rotary",
    "Rows",
    "SlidingWindowConfig",
    "Trace",
    "add_mixers",
    "import_checkpoint",
    "load_config",
    "load_model",
    "model_folder",
    "save_model",
    "settings_of_mixers",
]
