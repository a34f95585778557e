"""Qwen2 (Qwen2.5 and Qwen2.5-Coder too) and Qwen3: Llama with a window that may begin at some layer."""

from typing import Any

from pydantic import Field

from derailleur.model.importing.family import family
from derailleur.model.importing.llama import LlamaLike
from derailleur.model.importing.windows import layer_windows


class QwenLike(LlamaLike):
    """The fields that Qwen2 and Qwen3 share."""

    num_key_value_heads: int | None = Field(32, gt=0)
    use_sliding_window: bool = False
    sliding_window: int | None = Field(4096, gt=0)
    max_window_layers: int = Field(28, ge=0)
    layer_types: list[str] | None = None

    def decoder(self) -> dict[str, Any]:
        window = self.sliding_window if self.use_sliding_window else None
        mixers = layer_windows(self.num_hidden_layers, window, self.max_window_layers, self.layer_types)
        return super().decoder() | {"mixers": mixers}


@family("qwen2")
class Qwen2Settings(QwenLike):
    """`model_type` qwen2: biases on q, k and v."""

    def decoder(self) -> dict[str, Any]:
        return super().decoder() | {"attention_bias": True}


@family("qwen3")
class Qwen3Settings(QwenLike):
    """`model_type` qwen3: norms over each query and key head."""

    head_dim: int | None = Field(128, gt=0)
    attention_bias: bool = False

    def decoder(self) -> dict[str, Any]:
        biases = {"attention_bias": self.attention_bias, "attention_output_bias": self.attention_bias}
        return super().decoder() | {"qk_norm": True, **biases}
