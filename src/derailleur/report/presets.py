"""The presets of a run, each with the marker and the colour that it keeps in every plot."""

from dataclasses import dataclass
from typing import Any

from derailleur.report import look
from derailleur.report.markup import Html, element
from derailleur.report.run_folder import RunFolder

_MAX_LETTERS = 16  # layers up to which a strip shows letters


@dataclass(frozen=True)
class Preset:
    """A named placement.

    Attributes:
        letters: one mixer per layer.
        cost: of a decode step, relative to all-FA; None where nothing was measured.
        measured_quality, predicted_quality: mean log-likelihood, nats per token.
        colour, marker: its look.
    """

    name: str
    letters: str
    cost: float | None
    measured_quality: float | None
    predicted_quality: float | None
    colour: str
    marker: str


def read_presets(run: RunFolder) -> list[Preset]:
    """The presets in file order, from the slowest to the fastest; [] before stage place."""
    rows = run.json("place/presets.json", {}).get("presets", [])
    return [_preset(row, index, len(rows)) for index, row in enumerate(rows)]


def _preset(row: dict[str, Any], index: int, count: int) -> Preset:
    quality = row.get("quality") or {}
    return Preset(
        name=row["name"],
        letters=row["placement"],
        cost=row.get("cost"),
        measured_quality=quality.get("measured"),
        predicted_quality=quality.get("predicted"),
        colour=look.ramp(index, count),
        marker=look.MARKERS[index % len(look.MARKERS)],
    )


def strip(letters: str) -> Html:
    """A placement as a strip of coloured cells, which reads aloud as its letters."""
    cells = [element("i", letter, class_=f"cell {letter}") for letter in letters]
    return element(
        "span", cells, class_="strip" if len(letters) <= _MAX_LETTERS else "fine strip", title=letters
    )


def legend() -> Html:
    """Which colour is which mixer."""
    keys = [
        element("span", element("i", letter, class_=f"cell {letter}"), " ", words)
        for letter, words in look.MIXERS.items()
    ]
    return element("p", keys, class_="legend")
