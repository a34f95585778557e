"""Presets: named placements of one model, kept in its `presets.json`, and how they are chosen."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from derailleur.config import Config, validate
from derailleur.errors import DataError, PlacementError
from derailleur.io import read_json, write_json
from derailleur.placement.placement import MIXERS, Placement
from derailleur.placement.search import FrontierPoint

PRESETS_FILE = "presets.json"
FULL = "full"
"""The name of the all-FA preset, which every supernet has."""

_Letters = Annotated[
    Placement,
    BeforeValidator(lambda value: Placement(value) if isinstance(value, str) else value),
    PlainSerializer(str),
]


class PresetQuality(Config):
    """What a preset is worth: predicted by the surrogate, then measured on the real model."""

    predicted: float | None = Field(None, description="the surrogate's mean, nats per token")
    measured: float | None = Field(None, description="on the windows that the surrogate was fitted to")
    confirmed: float | None = Field(None, description="on held-out windows that no choice was made by")
    unit: str = Field("mean log-likelihood, nats per token", description="of all three")


class PresetSpeed(Config):
    """How fast a preset decodes in one regime."""

    batch: int = Field(description="rows decoded together", ge=1)
    context: int = Field(description="tokens before the decoded one, per row", ge=1)
    predicted: float | None = Field(None, description="by the cost model, tokens per second over all rows")
    measured: float | None = Field(None, description="by decoding, tokens per second over all rows")


class Preset(Config):
    """A named placement and what is known about it."""

    name: str = Field(description="what a request asks for", min_length=1)
    placement: _Letters = Field(description="one letter per layer")
    quality: PresetQuality | None = Field(None, description="mean log-likelihood of held-out text")
    speed: tuple[PresetSpeed, ...] = Field((), description="one row a regime")
    cost: float | None = Field(None, description="predicted seconds per step over those of all-FA")


class _PresetsFile(Config):
    num_layers: int
    default: str
    presets: tuple[Preset, ...]


class Presets(Mapping[str, Placement]):
    """The presets of one model: a mapping from name to placement, in file order.

    Attributes:
        details: every preset with its quality and speed.
        default: the name used where a request names none.
        num_layers: of the model.
    """

    def __init__(self, details: Sequence[Preset], *, default: str = FULL) -> None:
        self.details = tuple(details)
        self.default = default
        self._placements = {preset.name: preset.placement for preset in details}
        if default not in self._placements:
            raise PlacementError(f"default preset '{default}' is not among {', '.join(self) or 'no presets'}")
        if len(self._placements) < len(self.details):
            raise PlacementError(f"two presets have one name: {', '.join(p.name for p in self.details)}")
        self.num_layers = len(self[default])
        for name, placement in self.items():
            if len(placement) != self.num_layers:
                raise PlacementError(
                    f"preset '{name}' has {len(placement)} layers, '{default}' has {self.num_layers}"
                )

    @classmethod
    def full_only(cls, full: Placement) -> "Presets":
        """The presets of a model that no placements were searched for: the one closest to all-FA."""
        return cls([Preset(name=FULL, placement=full)])

    def __getitem__(self, name: str) -> Placement:
        return self._placements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._placements)

    def __len__(self) -> int:
        return len(self._placements)

    def resolve(self, text: str | None) -> Placement:
        """The placement that a request asks for: a preset's name, any spelling, or None for the default.

        Raises:
            PlacementError: naming the nearest preset, or what is wrong with the placement.
        """
        if text is None:
            return self[self.default]
        known = text.strip() in self or text.strip().lower().startswith("all-")
        if not known and not set(text.upper()) <= set("".join(MIXERS) + "0123456789 ,\t"):
            raise self._unknown(text)
        return Placement.parse(text, self.num_layers, presets=self)

    def subset(self, names: Sequence[str]) -> "Presets":
        """Some of the presets, in the order in which they are named; the default stays if it is among them.

        Raises:
            PlacementError: naming a preset that is not there, and the nearest that is.
        """
        by_name = {preset.name: preset for preset in self.details}
        for name in names:
            if name not in by_name:
                raise self._unknown(name)
        default = self.default if self.default in names else names[0]
        return Presets([by_name[name] for name in names], default=default)

    def only(self, placement: Placement) -> "Presets":
        """A placement alone, with what is known about it if it is one of the presets."""
        known = next((preset for preset in self.details if preset.placement == placement), None)
        name = FULL if set(placement) == {"F"} else "fixed"
        preset = known or Preset(name=name, placement=placement)
        return Presets([preset], default=preset.name)

    def _unknown(self, text: str) -> PlacementError:
        near = difflib.get_close_matches(text, self, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return PlacementError(f"unknown preset '{text}'{hint} (known: {', '.join(self)})")

    def save(self, folder: Path) -> None:
        """Write `presets.json` into a folder."""
        content = _PresetsFile(num_layers=self.num_layers, default=self.default, presets=self.details)
        write_json(folder / PRESETS_FILE, content.model_dump(mode="json"))


def load_presets(folder: Path, *, full: Placement | None = None) -> Presets:
    """Read a model folder's `presets.json`.

    Args:
        full: the model's full placement, where it is known: a folder without presets then has it alone.

    Raises:
        DataError: if the file is missing (and `full` is None), or is of another model.
        ConfigError: if a key or a value in the file is wrong.
        PlacementError: if the presets contradict each other.
    """
    path = Path(folder) / PRESETS_FILE
    if full is not None and not path.exists():
        return Presets.full_only(full)
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with num_layers, default and presets")
    file = validate(_PresetsFile, content, source=path)
    try:
        presets = Presets(file.presets, default=file.default)
    except PlacementError as error:
        raise PlacementError(f"{path}: {error}") from None
    expected = file.num_layers if full is None else len(full)
    if not presets.num_layers == file.num_layers == expected:
        raise DataError(
            f"{path}: num_layers is {file.num_layers}, its placements have {presets.num_layers} layers"
            + (f", the model has {expected}" if full is not None else "")
        )
    return presets


def choose_presets(frontier: Sequence[FrontierPoint], names: Sequence[str]) -> dict[str, Placement]:
    """Name placements from all-FA to the fastest, those between evenly spaced in log speed.

    The first name is all-FA, the last the cheapest point of the frontier. No placement is named twice:
    where the frontier has too few points that are cheaper than all-FA, the middle names go unused, and
    where it has none, only the first name is used.
    """
    full = Placement.uniform("F", len(frontier[0].placement))
    faster = sorted((p for p in frontier if p.cost < 1 and p.placement != full), key=lambda p: -p.cost)
    chosen = {names[0]: full}
    if not faster or len(names) == 1:
        return chosen
    *free, fastest = faster
    num_between = min(len(names) - 2, len(free))
    between: list[FrontierPoint] = []
    for step in range(1, num_between + 1):
        log_cost = math.log(fastest.cost) * step / (num_between + 1)
        nearest = min(free, key=lambda p: abs(math.log(p.cost) - log_cost))
        free.remove(nearest)
        between.append(nearest)
    between.sort(key=lambda p: -p.cost)
    chosen |= {name: point.placement for name, point in zip(names[1:-1], between, strict=False)}
    return chosen | {names[-1]: fastest.placement}
