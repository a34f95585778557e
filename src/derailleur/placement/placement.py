"""A placement: one mixer per layer. This class alone parses and prints placements."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from derailleur.errors import PlacementError

MIXER_NAMES: Mapping[str, str] = {"F": "fa", "S": "swa", "K": "kda", "G": "gdn"}
"""The letter of each mixer, and its name: its key in a checkpoint, its module in `model.mixers`."""

MIXERS = tuple(MIXER_NAMES)
"""The letters in their canonical order: full attention, then those that stand in for it."""

_RUN = re.compile(rf"(\d*)([{''.join(MIXERS)}])")


@dataclass(frozen=True, order=True)
class Placement:
    """One mixer per layer, the first layer first.

    Attributes:
        letters: one per layer: `F` (full attention), `S` (sliding window), `K` (KDA), `G` (GDN).
    """

    letters: str

    def __post_init__(self) -> None:
        unknown = set(self.letters) - set(MIXERS)
        if unknown or not self.letters:
            raise PlacementError(
                f"placement '{self.letters}': expected one letter of {'/'.join(MIXERS)} per layer"
            )

    @classmethod
    def parse(
        cls, text: str, num_layers: int, *, presets: Mapping[str, "Placement"] | None = None
    ) -> "Placement":
        """Read any spelling: a preset's name, `all-gdn`, letters `FSSG`, or runs `2F 10S 4G`.

        Raises:
            PlacementError: if the text is none of these, or is not for `num_layers` layers.
        """
        name = text.strip()
        if presets and name in presets:
            placement = presets[name]
        elif name.lower().startswith("all-"):
            placement = cls.uniform(_letter(name[4:], text), num_layers)
        else:
            placement = cls(_expand(name, text, presets or {}))
        if len(placement) != num_layers:
            raise PlacementError(
                f"placement '{text}' has {len(placement)} layers, the model has {num_layers}"
            )
        return placement

    @classmethod
    def uniform(cls, letter: str, num_layers: int) -> "Placement":
        """The placement with the same mixer in every layer."""
        return cls(letter * num_layers)

    @classmethod
    def of(cls, letters: Iterable[str]) -> "Placement":
        """Join letters into a placement."""
        return cls("".join(letters))

    def __len__(self) -> int:
        return len(self.letters)

    def __iter__(self) -> Iterator[str]:
        return iter(self.letters)

    def __getitem__(self, layer: int) -> str:
        return self.letters[layer]

    def __str__(self) -> str:
        return self.letters

    def run_length(self) -> str:
        """The run-length spelling, e.g. `2F 10S 4G`."""
        return " ".join(f"{len(list(run))}{letter}" for letter, run in groupby(self.letters))

    def counts(self) -> dict[str, int]:
        """How many layers each mixer has (the allocation), for all letters."""
        return {letter: self.letters.count(letter) for letter in MIXERS}


def _letter(name: str, text: str) -> str:
    for letter, mixer in MIXER_NAMES.items():
        if name.lower() in (mixer, letter.lower()):
            return letter
    known = ", ".join(f"all-{mixer}" for mixer in MIXER_NAMES.values())
    raise PlacementError(f"placement '{text}': unknown mixer '{name}'; known: {known}")


def _expand(name: str, text: str, presets: Mapping[str, Placement]) -> str:
    compact = re.sub(r"[\s,]+", "", name)
    if compact and re.fullmatch(rf"({_RUN.pattern})+", compact):
        return "".join(letter * int(count or 1) for count, letter in _RUN.findall(compact))
    known = f"; presets: {', '.join(presets)}" if presets else ""
    raise PlacementError(
        f"placement '{text}': expected letters such as FSKG, runs such as '2F 4G', or all-gdn{known}"
    )
