"""Mistral: Llama with one sliding window in every layer."""

from typing import Any

from pydantic import Field

from derailleur.model.importing.family import family
from derailleur.model.importing.llama import LlamaLike
from derailleur.model.importing.windows import FULL, SLIDING, layer_windows


@family("mistral")
class MistralSettings(LlamaLike):
    """`model_type` mistral."""

    num_key_value_heads: int | None = Field(8, gt=0)
    sliding_window: int | None = Field(4096, gt=0)
    layer_types: list[str] | None = None

    def decoder(self) -> dict[str, Any]:
        # One window for all layers, whatever layer_types says; so it must say the same.
        kind = FULL if self.sliding_window is None else SLIDING
        if set(self.layer_types or [kind]) != {kind}:
            raise ValueError(f"layer_types: expected {kind} in every layer, as sliding_window says")
        return super().decoder() | {"mixers": layer_windows(self.num_hidden_layers, self.sliding_window)}
