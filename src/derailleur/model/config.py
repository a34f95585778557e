"""The shape of a decoder: everything that its weights' shapes and its arithmetic depend on."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, create_model, model_validator

from derailleur.config import Config
from derailleur.model.mixers import FullAttentionConfig, settings_of_mixers
from derailleur.model.rotary import RopeScaling
from derailleur.placement.placement import Placement

_FIELDS: dict[str, Any] = {
    letter: (settings | None, None) for letter, settings in settings_of_mixers().items()
}
_Absent: Any = create_model("_Absent", __base__=Config, **_FIELDS)


class MixersConfig(_Absent):
    """The mixers that layers have, a block of settings under each one's letter; None where it is absent.

    A teacher has only full attention.
    """

    F: FullAttentionConfig = Field(FullAttentionConfig(), description="Full attention.")

    def settings(self, letter: str) -> Any:
        """The block of a mixer, of the class that it was registered with."""
        return getattr(self, letter)

    @property
    def letters(self) -> str:
        """The letters of the mixers that are there, in canonical order."""
        return "".join(name for name in type(self).model_fields if getattr(self, name) is not None)


_Size: TypeAlias = Annotated[int, Field(gt=0, le=2**24)]
_Heads: TypeAlias = Annotated[int, Field(gt=0, le=2**16)]
"""Bounds that no decoder comes near: no tensor has more elements than 64 bits can count."""


class DecoderConfig(Config):
    """A decoder with pre-norms and grouped attention.

    The defaults are Llama's: RMSNorm, rotary positions, a gated MLP with SiLU, no biases.
    """

    vocab_size: _Size = Field(description="Rows of the embedding.")
    hidden_size: _Size = Field(description="Width of the residual stream.")
    num_layers: int = Field(gt=0, le=4096, description="Decoder layers.")
    num_heads: _Heads = Field(description="Query heads.")
    num_kv_heads: _Heads = Field(description="Key-value heads; 1 is multi-query attention.")
    head_dim: _Heads = Field(description="Width of one head.")
    intermediate_size: _Size = Field(description="Width of the MLP.")
    max_positions: int = Field(
        gt=0, le=2**31, description="The trained context, tokens; learned positions end there for good."
    )
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="Rotate queries and keys, or add a learned embedding to the tokens'."
    )
    rope_theta: float = Field(10_000.0, gt=0, description="Base of the rotary frequencies.")
    rope_scaling: RopeScaling | None = Field(
        None, description="How rotary frequencies reach beyond the context of the first training, if at all."
    )
    norm: Literal["rms", "layer"] = Field(
        "rms", description="RMSNorm, or LayerNorm with bias; norms inside mixers are RMSNorm in either case."
    )
    norm_eps: float = Field(1e-5, gt=0, description="Added to the mean square in every norm.")
    mlp: Literal["gated", "plain"] = Field(
        "gated", description="down(act(gate(x)) * up(x)), or down(act(up(x)))."
    )
    activation: Literal["silu", "gelu", "gelu_tanh"] = Field("silu", description="Of the MLP.")
    mlp_bias: bool = Field(False, description="Biases on the MLP's projections.")
    tie_embeddings: bool = Field(True, description="The head shares the embedding's weights.")
    attention_bias: bool = Field(False, description="Biases on the q, k, v projections.")
    attention_output_bias: bool = Field(False, description="Bias on the attention's output projection.")
    qk_norm: bool = Field(False, description="RMSNorm over each query and key head.")
    mixers: MixersConfig = Field(MixersConfig(), description="The mixers that layers have.")
    banks: tuple[str, ...] | None = Field(
        None, description="Letters of each layer's mixers, as in [F, FSKG, G]; all of `mixers` if absent."
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> "DecoderConfig":
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}"
            )
        if self.head_dim % 2 and self.positions == "rotary":
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary positions need pairs")
        return self

    @model_validator(mode="after")
    def _banks_fit(self) -> "DecoderConfig":
        if self.banks is None:
            return self
        if len(self.banks) != self.num_layers:
            raise ValueError(f"banks has {len(self.banks)} entries for {self.num_layers} layers")
        for layer, bank in enumerate(self.banks):
            if not bank or "".join(x for x in self.mixers.letters if x in bank) != bank:
                raise ValueError(f"banks[{layer}]: '{bank}' is not some of '{self.mixers.letters}' in order")
        return self

    def bank(self, layer: int) -> str:
        """The letters of a layer's mixers, in canonical order."""
        return self.mixers.letters if self.banks is None else self.banks[layer]

    @property
    def full_placement(self) -> Placement:
        """Full attention, the teacher's, in every layer that has it; else the first mixer of its bank."""
        return Placement.of(self.bank(layer)[0] for layer in range(self.num_layers))
