"""One look for every plot: colours that follow light and dark, the figure's frame, and the way into the page.

A figure is drawn in the light colours, so that it is right when saved alone; inside the page each of these
colours becomes a CSS variable, which the reader's light, dark or print setting decides.
"""

import html
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from derailleur.report.markup import Html

PIXELS_PER_INCH = 72  # of matplotlib's SVG: one unit of its picture is then one CSS pixel
RAMP_STEPS = 9


@dataclass(frozen=True)
class Colour:
    """One colour on a light and on a dark page, as #rrggbb."""

    light: str
    dark: str


def _blend(start: Colour, end: Colour, share: float) -> Colour:
    def mix(low: str, high: str) -> str:
        pairs = ((int(low[i : i + 2], 16), int(high[i : i + 2], 16)) for i in (1, 3, 5))
        return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)

    return Colour(mix(start.light, end.light), mix(start.dark, end.dark))


_INK = Colour("#1d232b", "#e4e8ee")
_ACCENT = Colour("#7b3fe4", "#b699ff")

COLOURS: Mapping[str, Colour] = {
    "paper": Colour("#f5f6f8", "#0f1217"),
    "card": Colour("#fffffe", "#181c23"),  # not #ffffff, which matplotlib may draw with by itself
    "ink": _INK,
    "muted": Colour("#5e6875", "#98a3b0"),
    "faint": Colour("#aeb6c0", "#56606c"),
    "grid": Colour("#e4e7eb", "#2a3039"),
    "accent": _ACCENT,
    # Okabe and Ito's colours, which the colour-blind tell apart; lighter on a dark page.
    "F": Colour("#0072b2", "#4ba6dd"),
    "S": Colour("#e69f00", "#f2b33d"),
    "K": Colour("#009e73", "#2fbf97"),
    "G": Colour("#cc79a7", "#e293c0"),
    "on-deep": Colour("#fefefe", "#0e1216"),
    "on-pale": Colour("#11151a", "#0e1216"),
} | {f"ramp-{step}": _blend(_INK, _ACCENT, step / (RAMP_STEPS - 1)) for step in range(1, RAMP_STEPS - 1)}

MIXERS: Mapping[str, str] = {"F": "full attention", "S": "sliding window", "K": "KDA", "G": "GDN"}
"""The letter of each mixer, which is also the name of its colour, and the words for it."""

LETTER_COLOURS: Mapping[str, str] = {"F": "on-deep", "S": "on-pale", "K": "on-deep", "G": "on-pale"}
"""The name of the colour of a mixer's letter on its own colour."""

MIXER_NAMES: Mapping[str, str] = {"fa": "F", "swa": "S", "kda": "K", "gdn": "G"}
"""The letter behind each mixer's name in files."""

MARKERS = "osD^vPX*"
"""The marker of each preset, from the slowest on: not by colour alone."""


def colour(name: str) -> str:
    """The colour to draw with; a mixer that has none of its own is grey."""
    return COLOURS.get(name, COLOURS["muted"]).light


def ramp(index: int, count: int) -> str:
    """The colour of preset `index` of `count`: ink for the slowest, the accent for the fastest."""
    step = round(index / max(count - 1, 1) * (RAMP_STEPS - 1))
    return colour({0: "ink", RAMP_STEPS - 1: "accent"}.get(step, f"ramp-{step}"))


def css_variables(page: Literal["light", "dark"]) -> Html:
    """The declarations of every colour as a CSS variable."""
    return Html("".join(f"--{name}:{getattr(pair, page)};" for name, pair in COLOURS.items()))


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_SETTINGS: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "text.color": colour("ink"),
    "axes.edgecolor": colour("faint"),
    "axes.labelcolor": colour("muted"),
    "axes.titlecolor": colour("ink"),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": colour("muted"),
    "ytick.color": colour("muted"),
    "grid.color": colour("grid"),
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "lines.linewidth": 2,
    "hatch.color": colour("faint"),
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar in a preset's name is a dollar
}


def styled(plot: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Draw with the look of this report, whatever matplotlib is set to elsewhere."""
    decorated: Callable[_Arguments, _Result] = matplotlib.rc_context(_SETTINGS)(plot)
    return decorated


def new_figure(width_px: int, height_px: int) -> Figure:
    """An empty figure of a size in CSS pixels."""
    return Figure(figsize=(width_px / PIXELS_PER_INCH, height_px / PIXELS_PER_INCH), layout="constrained")


def bare(axes: Axes) -> None:
    """Take away the frame and the ticks' marks; their labels stay."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def tooltip(artist: Artist, text: str) -> None:
    """Text that the page shows when the pointer rests on an artist."""
    artist.set_gid(f"tooltip:{text}")


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG file, the same bytes for the same figure."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def inline_svg(svg: str, name: str, label: str) -> Html:
    """An SVG file of ours as an element of the page: its colours and its font are the page's.

    Args:
        svg: made by `to_svg`.
        name: unique in the page; keeps the identifiers of two figures apart.
        label: what a screen reader says.
    """
    svg = svg[svg.index("<svg") :]
    # matplotlib's own style sheet would apply to the whole page.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="tooltip:([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\1{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"(font: [^;\"]*?\d+px) [^;\"]*", r"\1 var(--font)", svg)
    for key, pair in COLOURS.items():
        svg = svg.replace(pair.light, f"var(--{key})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    opening = f'<svg role="img" aria-label="{html.escape(label)}" {size[0]}>'
    return Html(re.sub(r"<svg.*?>", lambda _: opening, svg, count=1, flags=re.DOTALL))
