"""The sections of a released Super Apriel config.json (Fast-LLM's `apriel2`), as typed models.

Names, nesting and the defaults of absent keys are those that the released modelling code reads. Where it
offers what this decoder does not compute, one value is allowed, so that validation names the key.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from derailleur.config import Config
from derailleur.placement import MIXERS


class Bias(Config):
    """Whether a projection has a bias."""

    enabled: bool | None = Field(None, description="As `add_linear_biases` says if absent.")


class Projection(Config):
    """One projection of attention."""

    bias: Bias = Field(Bias(), description="Its bias.")


class Rotary(Config):
    """Plain rotary positions, which go by two names."""

    type: Literal["mistral_1d", "default"] = Field(description="The kind of rotary positions.")
    theta: float = Field(gt=0, description="Base of the frequencies.")


class Attention(Config):
    """Full attention, or sliding-window attention where there is a window."""

    type: Literal["attention"] = Field(description="The kind of mixer.")
    heads: int = Field(gt=0, description="Query heads.")
    head_groups: int | None = Field(None, gt=0, description="Key-value heads; as many as heads if absent.")
    head_size: int = Field(gt=0, description="Width of a head.")
    window_size: int | None = Field(None, gt=0, description="How many tokens a token sees, itself included.")
    rotary: Rotary = Field(description="Rotary positions.")
    add_linear_biases: bool = Field(False, description="Biases where a projection says nothing itself.")
    query_layer: Projection = Field(Projection(), description="q_proj.")
    key_layer: Projection = Field(Projection(), description="k_proj.")
    value_layer: Projection = Field(Projection(), description="v_proj.")
    dense_layer: Projection = Field(Projection(), description="o_proj.")
    causal: Literal[True] = Field(True, description="No token sees one after it.")

    @property
    def letter(self) -> str:
        """Sliding windows are attention with a window."""
        return "F" if self.window_size is None else "S"

    def has_bias(self, projection: Projection) -> bool:
        """Whether one of the four projections has a bias."""
        enabled = projection.bias.enabled
        return self.add_linear_biases if enabled is None else enabled


class Convolution(Config):
    """The causal convolution over q, k and v."""

    kernel_size: int = Field(4, ge=2, description="Its length, tokens.")
    activation: Literal["silu"] = Field("silu", description="What follows it.")


class Gdn(Config):
    """Gated DeltaNet; its output gate is always silu."""

    type: Literal["gdn"] = Field(description="The kind of mixer.")
    value_heads: int = Field(32, gt=0, description="Heads of values.")
    key_heads: int = Field(8, gt=0, description="Heads of queries and keys.")
    key_head_dim: int = Field(64, gt=0, description="Width of a query or key head.")
    value_head_dim: int = Field(64, gt=0, description="Width of a value head.")
    norm_eps: float = Field(1e-5, gt=0, description="Added to the mean square in the output norm.")
    convolution_layer: Convolution = Field(Convolution(), description="The convolution.")

    @property
    def letter(self) -> str:
        """Gated DeltaNet."""
        return "G"

    @model_validator(mode="after")
    def _square_state(self) -> "Gdn":
        if self.key_head_dim != self.value_head_dim:
            raise ValueError(
                f"value_head_dim {self.value_head_dim} is not supported; expected {self.key_head_dim}"
            )
        return self


class GatedNorm(Config):
    """KDA's output norm and gate."""

    epsilon: float = Field(1e-5, gt=0, description="Added to the mean square.")
    activation: Literal["silu", "sigmoid"] = Field("silu", description="Activation of the output gate.")


class Kda(Config):
    """Kimi Delta Attention; queries, keys and values have the same heads."""

    type: Literal["kda"] = Field(description="The kind of mixer.")
    heads: int = Field(32, gt=0, description="Heads.")
    head_dim: int = Field(64, gt=0, description="Width of a head.")
    convolution_layer: Convolution = Field(Convolution(), description="The convolution.")
    normalization: GatedNorm = Field(GatedNorm(), description="The output norm and gate.")

    @property
    def letter(self) -> str:
        """Kimi Delta Attention."""
        return "K"


Leaf = Annotated[Attention | Gdn | Kda, Field(discriminator="type")]


class Stochastic(Config):
    """A bank of mixers. How training sampled them is not ours to keep."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["stochastic"] = Field(description="A bank of mixers.")
    mixers: dict[str, Leaf] = Field(min_length=1, description="The mixers by name.")
    main_mixer_name: str | None = Field(None, description="The mixer that runs; the first if absent.")
    sampling_strategy: str | None = Field(None, description="How training draws a mixer.")

    @model_validator(mode="after")
    def _one_of_a_kind(self) -> "Stochastic":
        seen: dict[str, str] = {}
        for name, mixer in self.mixers.items():
            if mixer.letter in seen:
                raise ValueError(f"'{seen[mixer.letter]}' and '{name}' are the same kind of mixer")
            seen[mixer.letter] = name
        return self


class Mlp(Config):
    """The gated MLP."""

    type: Literal["mlp"] = Field("mlp", description="The kind of MLP.")
    intermediate_size: int = Field(gt=0, description="Its inner width.")
    activation: Literal["silu"] = Field("silu", description="Activation of the gate.")
    gated: Literal[True] = Field(description="down(silu(gate(x)) * up(x)).")
    add_linear_biases: Literal[False] = Field(False, description="Biases.")


class Norm(Config):
    """Root mean square norm."""

    type: Literal["rms_norm"] = Field("rms_norm", description="The kind of norm.")
    epsilon: float = Field(gt=0, description="Added to the mean square.")


class Block(Config):
    """One decoder layer."""

    mixer: Annotated[Attention | Gdn | Kda | Stochastic, Field(discriminator="type")] = Field(
        description="Its mixer, or its bank of mixers."
    )
    mlp: Mlp = Field(description="Its MLP.")
    normalization: Norm = Field(description="Both of its norms.")

    @property
    def bank(self) -> Mapping[str, tuple[str, Attention | Gdn | Kda]]:
        """By letter, in canonical order: where in the block a mixer's tensors are, and its section."""
        if isinstance(self.mixer, Stochastic):
            found = {x.letter: (f"mixer.mixers.{name}.", x) for name, x in self.mixer.mixers.items()}
        else:
            found = {self.mixer.letter: ("mixer.", self.mixer)}
        return {letter: found[letter] for letter in MIXERS if letter in found}


class Fixed(Config):
    """The same block in every layer."""

    type: Literal["fixed"] = Field(description="One kind of block.")
    num_blocks: int = Field(gt=0, le=4096, description="Layers.")
    block: Block = Field(description="Every block.")

    @property
    def layers(self) -> list[Block]:
        """The block of each layer."""
        return [self.block] * self.num_blocks


class Pattern(Config):
    """Several kinds of blocks, in an order that repeats."""

    type: Literal["pattern"] = Field(description="Several kinds of blocks.")
    num_blocks: int = Field(gt=0, le=4096, description="Layers.")
    pattern: list[str] = Field(min_length=1, description="The block of each layer, from the first again.")
    blocks: dict[str, Block] = Field(description="The blocks by name.")

    @model_validator(mode="after")
    def _known_blocks(self) -> "Pattern":
        for name in self.pattern:
            if name not in self.blocks:
                raise ValueError(f"pattern names '{name}', which is not in blocks")
        return self

    @property
    def layers(self) -> list[Block]:
        """The block of each layer."""
        return [self.blocks[self.pattern[i % len(self.pattern)]] for i in range(self.num_blocks)]


class Embeddings(Config):
    """The embedding."""

    model_config = ConfigDict(extra="ignore")

    max_position_embeddings: int = Field(2048, gt=0, description="The trained context, tokens.")


class Head(Config):
    """What comes after the last layer."""

    normalization: Norm = Field(description="The final norm.")


class Released(Config):
    """A whole config.json; general keys of transformers and the vision encoder are left alone."""

    model_config = ConfigDict(extra="ignore")

    architectures: list[str] = Field([], description="The class of the released modelling code.")
    model_type: Literal["apriel2", "apriel2_text"] = Field(description="With or without vision.")
    vocab_size: int = Field(gt=0, description="Rows of the embedding.")
    hidden_size: int = Field(gt=0, description="Width of the residual stream.")
    tie_word_embeddings: bool = Field(False, description="The head shares the embedding's weights.")
    embeddings: Embeddings = Field(Embeddings(), description="The embedding.")
    decoder: Annotated[Fixed | Pattern, Field(discriminator="type")] = Field(description="The layers.")
    head: Head = Field(description="The head.")
