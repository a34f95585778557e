"""What a page is made of: sections, which hold plots, tables and words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib.figure import Figure

from derailleur.report.look import inline_svg, to_svg
from derailleur.report.markup import Content, Html, element, join


@dataclass(frozen=True)
class Plot:
    """One figure and what it shows.

    Attributes:
        name: unique in the page; the name of the files saved beside it.
        title: what is plotted, with units.
        caption: how to read it, and what to see.
        data: the plotted numbers, as JSON.
        wide: takes the whole width of the page.
    """

    name: str
    title: str
    caption: Content
    figure: Figure
    data: Any
    wide: bool = False

    @cached_property
    def svg(self) -> str:
        """The figure as a file of its own."""
        return to_svg(self.figure, self.name)

    def render(self) -> Html:
        """The figure as a card of the page."""
        picture = element("div", inline_svg(self.svg, self.name, self.title), class_="plot")
        caption = element("figcaption", element("strong", self.title), " ", self.caption)
        return element("figure", caption, picture, class_="wide card" if self.wide else "card")


@dataclass(frozen=True)
class Section:
    """One heading and what stands under it.

    Attributes:
        name: the anchor.
        lead: the first sentence or two, which say the result.
        blocks: plots, tables and other markup, in order.
    """

    name: str
    title: str
    lead: Content
    blocks: Sequence[Plot | Html] = ()

    def render(self) -> Html:
        """The section as an element of the page."""
        blocks = [block.render() if isinstance(block, Plot) else block for block in self.blocks]
        return element(
            "section",
            element("h2", self.title),
            element("p", self.lead, class_="lead"),
            element("div", blocks, class_="cards") if blocks else None,
            id=self.name,
        )


def missing(name: str, title: str, stage: str) -> Section:
    """A section whose stage has no result yet."""
    lead = join(
        "Stage ", element("code", stage), " has not finished in this run, so there is nothing to show."
    )
    return Section(name, title, element("span", lead, class_="missing"))


def table(
    title: str,
    header: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    note: Content = None,
    *,
    wide: bool = True,
) -> Html:
    """A table in a card; the first column names the row, cells that are `td` already are left alone.

    Args:
        wide: takes the whole width of the page.
    """
    head = element("tr", [element("th", cell, scope="col") for cell in header])
    body = [
        element("tr", element("th", first, scope="row"), [_cell(value) for value in rest])
        for first, *rest in rows
    ]
    grid = element("table", element("thead", head), element("tbody", body))
    return element(
        "figure",
        element("figcaption", element("strong", title), " ", note),
        element("div", grid, class_="scroll"),
        class_="wide card" if wide else "card",
    )


def _cell(value: Content) -> Html:
    if isinstance(value, Html) and value.startswith("<td"):
        return value
    return element("td", value)
