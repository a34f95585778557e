"""Quality by kind of hole and by language, where there are several."""

from collections.abc import Iterator
from typing import Any

from derailleur.report import units
from derailleur.report.markup import Html, element
from derailleur.report.section import table


def tables(results: dict[str, Any]) -> Iterator[Html]:
    """A table for each way in which stage evaluate told its scores apart."""
    first = results["presets"][0]
    if len(first.get("infilling", ())) > 1:
        yield _infilling(results)
    if len(first.get("languages", ())) > 1:
        yield _languages(results)


def _infilling(results: dict[str, Any]) -> Html:
    cuts = results["presets"][0]["infilling"]
    header = ["preset", *(own["cut"] for own in cuts)]
    rows = [[row["preset"], *map(_hole, row["infilling"])] for row in results["presets"]]
    note = (
        "Exact match, greedy, with the 95 % Wilson interval; below, retention and edit similarity. "
        + "; ".join(units.plural(own["problems"], "hole") for own in cuts)
        + "."
    )
    return table("Infilling by kind of hole", header, rows, note)


def _hole(own: dict[str, Any]) -> Html:
    low, high = own["interval"]
    interval = element("span", f"[{100 * low:.0f}, {100 * high:.0f}]", class_="muted")
    below = f"{units.percent(own['retention'])} · similar {units.percent(own['edit_similarity'])}"
    exact = units.percent(own["exact_match"])
    return element("td", exact, " ", interval, element("small", below), class_="number")


def _languages(results: dict[str, Any]) -> Html:
    header = ["preset", *results["presets"][0]["languages"]]
    rows = [[row["preset"], *map(_language, row["languages"].values())] for row in results["presets"]]
    return table("By language", header, rows, "Bits per byte; below, next-token accuracy.")


def _language(own: dict[str, Any]) -> Html:
    accuracy = element("small", units.percent(own["next_token_accuracy"]))
    return element("td", units.decimals(own["bits_per_byte"], 3), accuracy, class_="number")
