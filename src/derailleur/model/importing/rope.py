"""Rotary positions of a config.json, in either generation of its keys, in our terms.

Older files have `rope_theta` and, for longer contexts, `rope_scaling`; newer ones have both in
`rope_parameters`.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from derailleur.config import Config
from derailleur.model.importing.family import Settings
from derailleur.model.rotary import yarn_magnitude

_DEFAULT_THETA = 10_000.0


def _whole(share: float | None) -> float | None:
    if share not in (None, 1):
        raise ValueError("is not supported; expected 1.0")
    return share


_WholeRotation: TypeAlias = Annotated[float | None, AfterValidator(_whole)]


class Rope(Config):
    """The content of `rope_scaling` or `rope_parameters`; keys that no scaling reads are left alone."""

    model_config = ConfigDict(extra="allow")

    rope_type: str | None = None
    type: str | None = None
    rope_theta: float | None = Field(None, gt=0)
    partial_rotary_factor: _WholeRotation = None
    factor: float | None = Field(None, ge=1)
    original_max_position_embeddings: int | None = Field(None, gt=0)
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    attention_factor: float | None = Field(None, gt=0)
    beta_fast: float | None = None
    beta_slow: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    @model_validator(mode="after")
    def _for_all_layers(self) -> "Rope":
        for key, value in (self.model_extra or {}).items():
            if isinstance(value, dict):
                raise ValueError(f"settings of one kind of layers ('{key}') are not supported")
        return self

    def scaling(self, max_positions: int, original: int) -> dict[str, Any] | None:
        """Our scaling's fields, to be validated.

        Args:
            max_positions, original: the context, and that before scaling, tokens.

        Raises:
            ValueError: naming a kind that is not supported.
        """
        kind = self.rope_type or self.type or "default"
        values: dict[str, Any] = {"kind": kind, "factor": self.factor}
        if kind == "default":
            return None
        if kind == "linear":
            return values
        values["original_max_positions"] = original
        if kind == "llama3":
            bounds = {"low_freq_factor": self.low_freq_factor, "high_freq_factor": self.high_freq_factor}
            return values | bounds
        if kind == "yarn":
            factor = self.factor or max_positions / original
            return values | {
                "factor": factor,
                "attention_factor": self._attention_factor(factor),
                "beta_fast": self.beta_fast or 32,
                "beta_slow": self.beta_slow or 1,
                "truncate": self.truncate,
            }
        raise ValueError(f"rope_type '{kind}' is not supported; expected default, linear, llama3 or yarn")

    def _attention_factor(self, factor: float) -> float | None:
        """As given, or DeepSeek's quotient of two magnitudes, or None for YaRN's own."""
        if self.attention_factor is None and self.mscale and self.mscale_all_dim:
            return yarn_magnitude(factor, self.mscale) / yarn_magnitude(factor, self.mscale_all_dim)
        return self.attention_factor


class RotarySettings(Settings):
    """The fields of a family with rotary positions."""

    max_position_embeddings: int = Field(gt=0)
    original_max_position_embeddings: int | None = Field(None, gt=0)
    rope_theta: float | None = Field(None, gt=0)
    rope_scaling: Rope | None = None
    rope_parameters: Rope | None = None
    partial_rotary_factor: _WholeRotation = None

    def rotary(self) -> dict[str, Any]:
        """The fields of our configuration that rotary positions depend on.

        Raises:
            ValueError: naming the field that is not supported.
        """
        field = "rope_scaling" if self.rope_scaling else "rope_parameters"
        rope = self.rope_scaling or self.rope_parameters or Rope()
        context = self.max_position_embeddings
        original = self.original_max_position_embeddings or rope.original_max_position_embeddings or context
        try:
            scaling = rope.scaling(context, original)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
        return {
            "max_positions": context,
            "rope_theta": rope.rope_theta or self.rope_theta or _DEFAULT_THETA,
            "rope_scaling": scaling,
        }
