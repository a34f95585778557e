"""GPT-BigCode (SantaCoder, StarCoder): GPT-2's layers with multi-query attention.

Queries, keys and values come from one projection, `c_attn`. With multi-query attention its rows are
[all queries | the key | the value]; else each head's own [query | key | value] follow one another.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from derailleur.model.importing.family import (
    Activation,
    Made,
    Settings,
    family,
    our_activation,
    translate,
)


@family("gpt_bigcode")
class GptBigCodeSettings(Settings):
    """`model_type` gpt_bigcode."""

    irrelevant: ClassVar[frozenset[str]] = Settings.irrelevant | {
        *("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        "num_key_value_heads",  # which multi_query decides
        # in which precision the softmax is computed, which transformers no longer asks
        *("attention_softmax_in_fp32", "scale_attention_softmax_in_fp32"),
    }
    modules: ClassVar[Mapping[str, str]] = {
        "embed.": "transformer.wte.",
        "position_embed.": "transformer.wpe.",
        "norm.": "transformer.ln_f.",
        "head.": "lm_head.",
        "layers.*.input_norm.": "transformer.h.*.ln_1.",
        "layers.*.post_norm.": "transformer.h.*.ln_2.",
        "layers.*.mixers.fa.q_proj.": "transformer.h.*.attn.c_attn.",
        "layers.*.mixers.fa.k_proj.": "transformer.h.*.attn.c_attn.",
        "layers.*.mixers.fa.v_proj.": "transformer.h.*.attn.c_attn.",
        "layers.*.mixers.fa.o_proj.": "transformer.h.*.attn.c_proj.",
        "layers.*.mlp.up_proj.": "transformer.h.*.mlp.c_fc.",
        "layers.*.mlp.down_proj.": "transformer.h.*.mlp.c_proj.",
    }
    ignored_tensors: ClassVar[str] = r"transformer\.(h\.\d+\.attn\.)?(masked_)?bias"

    vocab_size: int = Field(gt=0)
    n_positions: int = Field(gt=0)
    n_embd: int = Field(gt=0)
    n_layer: int = Field(gt=0)
    n_head: int = Field(gt=0)
    n_inner: int | None = Field(None, gt=0)
    activation_function: Activation = "gelu_pytorch_tanh"
    layer_norm_epsilon: float = Field(1e-5, gt=0)
    scale_attn_weights: Literal[True] = True
    multi_query: bool = True
    tie_word_embeddings: bool = True

    def decoder(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab_size,
            "hidden_size": self.n_embd,
            "num_layers": self.n_layer,
            "num_heads": self.n_head,
            "num_kv_heads": 1 if self.multi_query else self.n_head,
            "head_dim": self.n_embd // self.n_head,
            "intermediate_size": self.n_inner or 4 * self.n_embd,
            "max_positions": self.n_positions,
            "positions": "learned",
            "norm": "layer",
            "norm_eps": self.layer_norm_epsilon,
            "mlp": "plain",
            "activation": our_activation(self.activation_function),
            "attention_bias": True,
            "attention_output_bias": True,
            "mlp_bias": True,
            "tie_embeddings": self.tie_word_embeddings,
        }

    def make(self, name: str) -> Made:
        source = translate(name, self.modules)
        if ".c_attn." not in source:
            return Made((source,))
        part = ["q_proj", "k_proj", "v_proj"].index(name.split(".")[-2])
        heads, head_dim = self.n_head, self.n_embd // self.n_head
        if self.multi_query:
            return Made((source,), partial(_rows, sizes=(heads * head_dim, head_dim, head_dim), part=part))
        return Made((source,), partial(_rows_of_heads, heads=heads, part=part))


def _rows(x: Tensor, *, sizes: tuple[int, int, int], part: int) -> Tensor:
    """One of three runs of rows."""
    return x.split(sizes)[part]


def _rows_of_heads(x: Tensor, *, heads: int, part: int) -> Tensor:
    """One of the three runs of rows that every head has."""
    return x.unflatten(0, (heads, 3, -1))[:, part].flatten(0, 1)
