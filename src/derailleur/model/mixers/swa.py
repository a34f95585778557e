"""Sliding-window attention (SWA): every token sees the last `window_tokens`; the cache is a ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from derailleur.config import Config
from derailleur.model.mixers.attention import Attention
from derailleur.model.mixers.base import register

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class SlidingWindowConfig(Config):
    """Settings of sliding-window attention."""

    window_tokens: int = Field(4096, gt=0, description="How many tokens a token sees, itself included.")


@register("S", SlidingWindowConfig)
class SlidingWindow(Attention):
    """Softmax attention over the last tokens, with weights of its own."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer, config.mixers.settings(self.letter).window_tokens)
