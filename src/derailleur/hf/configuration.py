"""A checkpoint's config.json as transformers sees it."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from derailleur.config import validate
from derailleur.model.checkpoint import MODEL_TYPE, describe
from derailleur.model.config import DecoderConfig


class DerailleurConfig(PreTrainedConfig):
    """The shape of a decoder, and the placement that a model starts with.

    Attributes:
        derailleur: the fields of `DecoderConfig`; all other sizes of config.json follow from them.
        placement: in any spelling, or the name of a preset; None for the folder's default.
    """

    model_type: ClassVar[str] = MODEL_TYPE
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    derailleur: dict[str, Any] | None = None
    placement: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        if self.derailleur is not None:
            sizes = describe(self.shape)
            for name in sizes.keys() - {"architectures", "model_type", "derailleur"}:
                setattr(self, name, sizes[name])

    @property
    def shape(self) -> DecoderConfig:
        """The shape of the decoder.

        Raises:
            ConfigError: naming the key that is wrong.
        """
        return validate(DecoderConfig, self.derailleur or {}, source="config.json: derailleur")
