"""The top of a page about a corpus alone: one sentence that says the result, and the key numbers."""

from collections.abc import Mapping
from typing import Any

from derailleur.report import units
from derailleur.report.headline import Tile
from derailleur.report.markup import Html, element, join


def headline(name: str, manifest: Mapping[str, Any]) -> Html:
    """The header of the page.

    Args:
        name: of the folder.
        manifest: of stage curate.
    """
    results = manifest["results"]
    sentence = join(
        element("em", units.data_size(results["bytes_kept"])),
        f" of code in {units.plural(results['kept'], 'file')}, of {units.data_size(results['bytes_seen'])} "
        f"in {units.plural(results['files_seen'], 'file')} seen",
    )
    return element(
        "header",
        element("p", "derailleur · corpus ", element("code", name), class_="kicker"),
        element("h1", sentence),
        element("div", [tile.render() for tile in _tiles(results)], class_="tiles"),
    )


def _tiles(results: Mapping[str, Any]) -> list[Tile]:
    left_out = results["files_seen"] - results["kept"]
    quarantined = sum(results["quarantined"].values())
    copies = sum(number for reason, number in results["dropped"].items() if "duplicate" in reason)
    languages = results["languages"]
    return [
        Tile(f"{results['kept']:,}", "files kept", units.data_size(results["bytes_kept"])),
        Tile(f"{left_out:,}", "left out", f"{quarantined:,} of them quarantined"),
        Tile(f"{copies:,}", "duplicates", "exact and near"),
        Tile(f"{len(languages):,}", "languages", ", ".join(list(languages)[:3])),
        Tile(f"{len(results['by_licence']):,}", "licences", ", ".join(list(results["by_licence"])[:3])),
        Tile(f"{sum(results['pii'].values()):,}", "values redacted", "personal data and secrets"),
    ]
