"""The shape of a decoder: everything that its weights' shapes and its arithmetic depend on."""

from pydantic import Field, model_validator

from derailleur.config import Config
from derailleur.model.mixers import FullAttentionConfig, GdnConfig, KdaConfig, SlidingWindowConfig


class MixersConfig(Config):
    """The mixers that every layer has; a teacher has only full attention."""

    F: FullAttentionConfig = Field(FullAttentionConfig(), description="Full attention.")
    S: SlidingWindowConfig | None = Field(None, description="Sliding-window attention, or absent.")
    K: KdaConfig | None = Field(None, description="Kimi Delta Attention, or absent.")
    G: GdnConfig | None = Field(None, description="Gated DeltaNet, or absent.")

    @property
    def letters(self) -> str:
        """The letters of the mixers that are there, in canonical order."""
        return "".join(name for name in type(self).model_fields if getattr(self, name) is not None)


class DecoderConfig(Config):
    """A Llama-style decoder: RMSNorm, RoPE, gated MLP, grouped attention."""

    vocab_size: int = Field(gt=0, description="Rows of the embedding.")
    hidden_size: int = Field(gt=0, description="Width of the residual stream.")
    num_layers: int = Field(gt=0, description="Decoder layers.")
    num_heads: int = Field(gt=0, description="Query heads.")
    num_kv_heads: int = Field(gt=0, description="Key-value heads; 1 is multi-query attention.")
    head_dim: int = Field(gt=0, description="Width of one head.")
    intermediate_size: int = Field(gt=0, description="Width of the gated MLP.")
    max_positions: int = Field(gt=0, description="The trained context, tokens.")
    rope_theta: float = Field(10_000.0, gt=0, description="Base of the rotary frequencies.")
    norm_eps: float = Field(1e-5, gt=0, description="Added to the mean square in every norm.")
    tie_embeddings: bool = Field(True, description="The head shares the embedding's weights.")
    attention_bias: bool = Field(False, description="Biases on the q, k, v projections.")
    attention_output_bias: bool = Field(False, description="Bias on the attention's output projection.")
    qk_norm: bool = Field(False, description="RMSNorm over each query and key head.")
    mixers: MixersConfig = Field(MixersConfig(), description="The mixers of every layer.")

    @model_validator(mode="after")
    def _heads_fit(self) -> "DecoderConfig":
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary positions need pairs")
        return self
