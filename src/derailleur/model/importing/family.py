"""What a family of foreign checkpoints says to be imported, and the registry of those that do.

A family is a function from the content of a config.json to a `Foreign`: our configuration of the same
decoder, and how each of our tensors is made from the folder's. Most families are described by a
`Settings`: the fields of their configuration class in transformers that change logits, with its defaults.
A field that this decoder can compute at one value only has just that value as its type, so that another
one is refused by name.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict
from torch import Tensor

from derailleur.config import Config, validate
from derailleur.errors import CheckpointError, ConfigError
from derailleur.model.checkpoint import tensor_names
from derailleur.model.config import DecoderConfig


@dataclass(frozen=True)
class Made:
    """How one of our tensors is made.

    Attributes:
        sources: names of the folder's tensors.
        make: gives ours from them, also where they are empty tensors on the meta device.
    """

    sources: tuple[str, ...]
    make: Callable[..., Tensor] = lambda x: x

    def __call__(self, read: Callable[[str], Tensor]) -> Tensor:
        """Make it from what `read` gives by name."""
        return self.make(*(read(name) for name in self.sources))


@dataclass(frozen=True)
class Foreign:
    """A foreign checkpoint, understood.

    Attributes:
        config: the same decoder in our terms.
        tensors: how each of our tensors is made; the head's too where it is tied.
        ignored_tensors: a regular expression of names that carry nothing that changes logits.
        unknown_fields: of config.json, taken to change nothing.
    """

    config: DecoderConfig
    tensors: Mapping[str, Made]
    ignored_tensors: str = r"(?!)"
    unknown_fields: tuple[str, ...] = ()


Understand: TypeAlias = Callable[[Mapping[str, Any], Path], Foreign]
"""From the content of a config.json, and its path for errors."""

FAMILIES: dict[str, Understand] = {}
"""By `model_type`."""


def register(model_type: str) -> Callable[[Understand], Understand]:
    """Decorator of a function: make it the family of that `model_type`."""

    def add(understand: Understand) -> Understand:
        FAMILIES[model_type] = understand
        return understand

    return add


def understand(description: Mapping[str, Any], path: Path) -> Foreign:
    """Translate a config.json.

    Raises:
        CheckpointError: naming the field that is not supported.
    """
    family = description.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise CheckpointError(f"{path}: model_type '{family}' is not supported; known: {known}")
    try:
        return FAMILIES[family](description, path)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def _absent(value: Any) -> Any:
    if value:
        raise ValueError("is not supported")
    return value


Absent: TypeAlias = Annotated[Any, AfterValidator(_absent)]
"""The type of a field that must not be there, or be empty."""

Activation: TypeAlias = Literal["silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"]
_OUR_ACTIVATION = {"silu": "silu", "swish": "silu", "gelu": "gelu"}


class Settings(Config):
    """The fields of a config.json that every family has and that must not say anything special.

    Attributes:
        irrelevant: fields of transformers' class that do not change logits in inference.
        modules: (ours, theirs) beginnings of tensor names, `*` for a layer's number.
        ignored_tensors: as `Foreign`'s.
    """

    model_config = ConfigDict(extra="ignore")

    irrelevant: ClassVar[frozenset[str]] = frozenset(
        {
            # what the file is
            *("model_type", "architectures", "transformers_version", "dtype", "torch_dtype", "auto_map"),
            *("_name_or_path", "name_or_path", "id2label", "label2id", "num_labels", "problem_type"),
            # generation and outputs
            *("bos_token_id", "eos_token_id", "pad_token_id", "use_cache", "return_dict"),
            *("output_hidden_states", "output_attentions"),
            # training; a feed-forward layer in chunks computes the same
            *("initializer_range", "attention_dropout", "chunk_size_feed_forward"),
        }
    )
    modules: ClassVar[Mapping[str, str]]
    ignored_tensors: ClassVar[str] = r"(?!)"

    is_encoder_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False
    quantization_config: Absent = None
    per_layer_config: Absent = None
    pruned_heads: Absent = None
    text_config: Absent = None
    vision_config: Absent = None
    audio_config: Absent = None

    @abstractmethod
    def decoder(self) -> dict[str, Any]:
        """The fields of our `DecoderConfig`.

        Raises:
            ValueError: naming the field that is not supported.
        """

    def make(self, name: str) -> Made:
        """How one of our tensors is made."""
        return Made((translate(name, self.modules),))


AnySettings = TypeVar("AnySettings", bound=type[Settings])


def family(model_type: str) -> Callable[[AnySettings], AnySettings]:
    """Decorator of a `Settings`: make it the family of that `model_type`."""

    def add(settings: AnySettings) -> AnySettings:
        register(model_type)(partial(_understand, settings))
        return settings

    return add


def _understand(settings: type[Settings], description: Mapping[str, Any], path: Path) -> Foreign:
    read = validate(settings, description, source=path)
    try:
        values = read.decoder()
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    config = validate(DecoderConfig, values, source=path)
    names = tensor_names(config.model_copy(update={"tie_embeddings": False}))
    known = settings.irrelevant | set(settings.model_fields)
    return Foreign(
        config,
        {name: read.make(name) for name in names},
        settings.ignored_tensors,
        tuple(sorted(set(description) - known)),
    )


def our_activation(name: str) -> str:
    """Our name of one of transformers' activations; all of GELU's tanh forms are one."""
    return _OUR_ACTIVATION.get(name, "gelu_tanh")


def translate(name: str, modules: Mapping[str, str]) -> str:
    """A tensor's name after the first pair of beginnings that fits; a layer's number stays."""
    parts = name.split(".")
    number = parts[1] if parts[0] == "layers" else ""
    for ours, theirs in modules.items():
        beginning = ours.replace("*", number)
        if name.startswith(beginning):
            return theirs.replace("*", number) + name.removeprefix(beginning)
    raise AssertionError(f"no beginning fits '{name}'")
