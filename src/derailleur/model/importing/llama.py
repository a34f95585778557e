"""Llama, and what the families after it share: grouped heads, rotary positions, most of them RMSNorm."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from derailleur.model.importing.family import Activation, family, our_activation
from derailleur.model.importing.rope import RotarySettings


class GroupedRotary(RotarySettings):
    """The fields of every family with grouped heads and rotary positions."""

    modules: ClassVar[Mapping[str, str]] = {
        "embed.": "model.embed_tokens.",
        "norm.": "model.norm.",
        "head.": "lm_head.",
        "layers.*.input_norm.": "model.layers.*.input_layernorm.",
        "layers.*.post_norm.": "model.layers.*.post_attention_layernorm.",
        "layers.*.mixers.fa.": "model.layers.*.self_attn.",
        "layers.*.mlp.": "model.layers.*.mlp.",
    }
    ignored_tensors: ClassVar[str] = r".*rotary_emb\.inv_freq"

    vocab_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int | None = Field(None, gt=0)
    head_dim: int | None = Field(None, gt=0)
    hidden_act: Activation = "silu"
    tie_word_embeddings: bool = False

    def decoder(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_hidden_layers,
            "num_heads": self.num_attention_heads,
            "num_kv_heads": self.num_key_value_heads or self.num_attention_heads,
            "head_dim": self.head_dim or self.hidden_size // self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "activation": our_activation(self.hidden_act),
            "tie_embeddings": self.tie_word_embeddings,
            **self.rotary(),
        }


class LlamaLike(GroupedRotary):
    """The fields that Llama, Mistral and Qwen share."""

    rms_norm_eps: float = Field(1e-6, gt=0)

    def decoder(self) -> dict[str, Any]:
        return super().decoder() | {"norm_eps": self.rms_norm_eps}


@family("llama")
class LlamaSettings(LlamaLike):
    """`model_type` llama."""

    irrelevant: ClassVar[frozenset[str]] = LlamaLike.irrelevant | {"pretraining_tp"}

    attention_bias: bool = False
    mlp_bias: bool = False

    def decoder(self) -> dict[str, Any]:
        biases = {
            "attention_bias": self.attention_bias,
            "attention_output_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
        }
        return super().decoder() | biases
