"""StarCoder2: LayerNorm, a plain MLP, biases on every projection, rotary positions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from derailleur.model.importing.family import Activation, family
from derailleur.model.importing.llama import GroupedRotary
from derailleur.model.importing.windows import layer_windows


@family("starcoder2")
class Starcoder2Settings(GroupedRotary):
    """`model_type` starcoder2."""

    irrelevant: ClassVar[frozenset[str]] = GroupedRotary.irrelevant | {
        "residual_dropout",
        "embedding_dropout",
    }
    modules: ClassVar[Mapping[str, str]] = {
        "layers.*.mlp.up_proj.": "model.layers.*.mlp.c_fc.",
        "layers.*.mlp.down_proj.": "model.layers.*.mlp.c_proj.",
        **GroupedRotary.modules,
    }

    num_key_value_heads: int | None = Field(2, gt=0)
    hidden_act: Activation = "gelu_pytorch_tanh"
    norm_epsilon: float = Field(1e-5, gt=0)
    sliding_window: int | None = Field(None, gt=0)
    use_bias: bool = True
    tie_word_embeddings: bool = True

    def decoder(self) -> dict[str, Any]:
        return super().decoder() | {
            "norm": "layer",
            "norm_eps": self.norm_epsilon,
            "mlp": "plain",
            "attention_bias": self.use_bias,
            "attention_output_bias": self.use_bias,
            "mlp_bias": self.use_bias,
            "mixers": layer_windows(self.num_hidden_layers, self.sliding_window),
        }
