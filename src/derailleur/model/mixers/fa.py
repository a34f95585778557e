"""Full attention (FA): the teacher's, by which every token sees all before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from derailleur.config import Config
from derailleur.model.mixers.attention import Attention
from derailleur.model.mixers.base import register

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class FullAttentionConfig(Config):
    """The teacher's attention: full, or windowed where the teacher's is."""

    window_tokens: int | None = Field(
        None, gt=0, description="How many tokens a token sees, itself included; all if absent."
    )
    first_window_layer: int = Field(0, ge=0, description="Layers before this one see everything.")


@register("F", FullAttentionConfig)
class FullAttention(Attention):
    """Softmax attention over all that the teacher's layer sees."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        settings = config.mixers.F
        windowed = layer >= settings.first_window_layer
        super().__init__(config, layer, settings.window_tokens if windowed else None)
