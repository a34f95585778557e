"""StarCoder2: LayerNorm, a plain MLP, biases on every projection, rotary positions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from derailleur.model.importing.family import Activation, family, our_activation
from derailleur.model.importing.rope import RotarySettings
from derailleur.model.importing.windows import layer_windows


@family("starcoder2")
class Starcoder2Settings(RotarySettings):
    """`model_type` starcoder2."""

    irrelevant: ClassVar[frozenset[str]] = RotarySettings.irrelevant | {
        "residual_dropout",
        "embedding_dropout",
    }
    modules: ClassVar[Mapping[str, str]] = {
        "embed.": "model.embed_tokens.",
        "norm.": "model.norm.",
        "head.": "lm_head.",
        "layers.*.input_norm.": "model.layers.*.input_layernorm.",
        "layers.*.post_norm.": "model.layers.*.post_attention_layernorm.",
        "layers.*.mixers.fa.": "model.layers.*.self_attn.",
        "layers.*.mlp.up_proj.": "model.layers.*.mlp.c_fc.",
        "layers.*.mlp.down_proj.": "model.layers.*.mlp.c_proj.",
    }
    ignored_tensors: ClassVar[str] = r".*rotary_emb\.inv_freq"

    vocab_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(2, gt=0)
    head_dim: int | None = Field(None, gt=0)
    hidden_act: Activation = "gelu_pytorch_tanh"
    norm_epsilon: float = Field(1e-5, gt=0)
    sliding_window: int | None = Field(None, gt=0)
    use_bias: bool = True
    tie_word_embeddings: bool = True

    def decoder(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_hidden_layers,
            "num_heads": self.num_attention_heads,
            "num_kv_heads": self.num_key_value_heads,
            "head_dim": self.head_dim or self.hidden_size // self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "norm": "layer",
            "norm_eps": self.norm_epsilon,
            "mlp": "plain",
            "activation": our_activation(self.hidden_act),
            "attention_bias": self.use_bias,
            "attention_output_bias": self.use_bias,
            "mlp_bias": self.use_bias,
            "tie_embeddings": self.tie_word_embeddings,
            "mixers": layer_windows(self.num_hidden_layers, self.sliding_window),
            **self.rotary(),
        }
