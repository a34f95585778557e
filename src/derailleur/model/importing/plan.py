"""What importing a folder would do, found from its config.json and the headers of its weights alone."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derailleur.errors import CheckpointError, UserError
from derailleur.io import read_json_object
from derailleur.model.checkpoint import generation_settings, special_ids
from derailleur.model.config import DecoderConfig
from derailleur.model.decoder import Decoder
from derailleur.model.importing.family import Foreign, Made, understand
from derailleur.model.weights import WEIGHTS, TensorSpec, read_header, shard_of_tensor, weight_files

HEAD, EMBED = "head.weight", "embed.weight"


@dataclass(frozen=True)
class ImportPlan:
    """A checkpoint of ours that is yet to be written.

    Attributes:
        description: the content of the folder's config.json.
        config: the same decoder in our terms.
        tensors: how each tensor that is written is made.
        written: shape and dtype of each.
        sources: the folder's tensors, as far as its files are there.
        tied_head: the folder's copy of an embedding that serves as the head too, if it has one.
        unknown_fields: of config.json, taken to change nothing.
        refusals: why the folder cannot be imported; nothing if it can.
    """

    source: Path
    description: Mapping[str, Any]
    config: DecoderConfig
    tensors: Mapping[str, Made]
    written: Mapping[str, TensorSpec]
    sources: Mapping[str, TensorSpec]
    tied_head: str | None
    unknown_fields: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def family(self) -> str:
        """The folder's `model_type`."""
        return str(self.description["model_type"])

    @property
    def num_parameters(self) -> int:
        """Of the decoder; a tied head counts once."""
        return sum(spec.num_elements for spec in self.written.values())

    @property
    def num_bytes(self) -> int:
        """Of the weights that are written."""
        return sum(spec.num_bytes for spec in self.written.values())


def plan_import(folder: Path) -> ImportPlan:
    """Plan to import a folder. Its weights need not be there: the plan then says what is missing.

    Raises:
        CheckpointError: for a configuration that is not supported, naming the field, and pickled weights.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no config.json; expected a Hugging Face model folder")
    description = read_json_object(folder / "config.json")
    foreign = understand(description, folder / "config.json")
    config, tensors = foreign.config, dict(foreign.tensors)
    files = weight_files(folder)
    sources = {name: spec for file in files if file.is_file() for name, spec in read_header(file).items()}
    whole = bool(files) and all(file.is_file() for file in files)
    names = set(sources) if whole else set(sources) | set(shard_of_tensor(folder))
    head = tensors.pop(HEAD).sources[0] if config.tie_embeddings else None
    check = _Check(folder, foreign, tensors, sources, names if names or whole else None)
    written = dict(check.written(_default_dtype(description)))
    return ImportPlan(
        source=folder,
        description=description,
        config=config,
        tensors=tensors,
        written=written,
        sources=sources,
        tied_head=head if head in names else None,
        unknown_fields=foreign.unknown_fields,
        refusals=(*_missing_files(folder, files), *_broken_files(folder), *check.refusals(written, head)),
    )


@dataclass(frozen=True)
class _Check:
    """The folder's tensors against those that a decoder of the configuration has.

    Attributes:
        names: of all tensors in the folder, by headers and, of shards that are yet to come, by the index;
            None if there is neither.
    """

    folder: Path
    foreign: Foreign
    tensors: Mapping[str, Made]
    sources: Mapping[str, TensorSpec]
    names: set[str] | None

    def written(self, default: torch.dtype) -> Iterator[tuple[str, TensorSpec]]:
        """Shapes by the configuration, dtypes by the folder or, where it has none yet, the default."""
        with torch.device("meta"):
            shapes = {name: tuple(x.shape) for name, x in Decoder(self.foreign.config).state_dict().items()}
        for name, made in self.tensors.items():
            known = [self.sources[source].dtype for source in made.sources if source in self.sources]
            yield name, TensorSpec(shapes[name], _joined(known) if known else default)

    def refusals(self, written: Mapping[str, TensorSpec], head: str | None) -> Iterator[str]:
        """Tensors that are missing, of another shape or kind, or not part of the model."""
        used = {source for made in self.tensors.values() for source in made.sources}
        if self.names is None:
            return
        for source in sorted(used - self.names):
            untied = HEAD in self.tensors and source in self.tensors[HEAD].sources
            hint = " and tie_word_embeddings is false" if untied else ""
            yield f"{self.folder}: tensor '{source}' is missing{hint}"
        for name, made in self.tensors.items():
            if all(source in self.sources for source in made.sources):
                yield from self._misfit(made, written[name])
        for source in sorted(self.names - used - {head}):
            if not re.fullmatch(self.foreign.ignored_tensors, source):
                yield f"{self.folder}: tensor '{source}' is not part of this model"

    def _misfit(self, made: Made, expected: TensorSpec) -> Iterator[str]:
        for source in made.sources:
            dtype = self.sources[source].dtype
            if not dtype.is_floating_point:
                yield f"{self.folder}: tensor '{source}' is {_name(dtype)}; expected floating point"
        try:
            shape = tuple(made(self._empty).shape)
        except RuntimeError:  # too few rows to be parted
            shape = ()
        if shape != expected.shape:
            have = ", ".join(f"'{source}' of shape {self.sources[source].shape}" for source in made.sources)
            yield f"{self.folder}: tensor {have} does not fit the configuration, which wants {expected.shape}"

    def _empty(self, source: str) -> Tensor:
        return torch.empty(self.sources[source].shape, device="meta")


def _missing_files(folder: Path, files: Iterable[Path]) -> Iterator[str]:
    if not (folder / "tokenizer.json").is_file():
        yield f"{folder}: no tokenizer.json; save the tokenizer in the fast format beside it"
    files = list(files)
    if not files:
        yield f"{folder}: no {WEIGHTS}"
    for file in files:
        if not file.is_file():
            yield f"{file}: no such file"


def _broken_files(folder: Path) -> Iterator[str]:
    """What tokenizer and generation files have wrong, before anything is written."""
    for read in (special_ids, generation_settings):
        try:
            read(folder)
        except UserError as error:
            yield str(error)


def _default_dtype(description: Mapping[str, Any]) -> torch.dtype:
    """What config.json says of the weights, if that is a floating point type."""
    dtype = getattr(torch, str(description.get("dtype") or description.get("torch_dtype")), None)
    return dtype if isinstance(dtype, torch.dtype) and dtype.is_floating_point else torch.float32


def _joined(dtypes: list[torch.dtype]) -> torch.dtype:
    joined = dtypes[0]
    for dtype in dtypes[1:]:
        joined = torch.promote_types(joined, dtype)
    return joined


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
