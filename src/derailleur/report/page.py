"""Puts the sections of a run into one self-contained page, and the data of every plot beside it."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from derailleur import __version__
from derailleur.io import Progress, silent, write_json, write_text
from derailleur.report import corpus, evaluation, placement, speed, stages, training
from derailleur.report.headline import headline
from derailleur.report.look import css_variables
from derailleur.report.markup import Html, element, join
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section

VERSION = 1

_SECTIONS = (
    placement.section,
    evaluation.section,
    speed.section,
    training.section,
    corpus.section,
    stages.section,
)


def report(run: Path, out: Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Write `out/report.html` about a run, finished or not.

    Each plot is also saved alone, as out/plots/NAME.svg with its numbers in out/plots/NAME.json.

    Args:
        run: the run's folder, with one sub-folder a stage.

    Returns:
        {"page": file name, "plots": names}.

    Raises:
        DataError: if `run` holds no stage, or a file of it is broken.
    """
    folder = RunFolder(run)
    sections = []
    for done, make in enumerate(_SECTIONS):
        progress("report", done, len(_SECTIONS))
        sections.append(make(folder))
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    for plot in plots:
        write_json(out / "plots" / f"{plot.name}.json", plot.data)
        write_text(out / "plots" / f"{plot.name}.svg", plot.svg)
    write_text(out / "report.html", _page(folder, sections))
    progress("report", len(_SECTIONS), len(_SECTIONS))
    return {"page": "report.html", "plots": [plot.name for plot in plots]}


def _page(run: RunFolder, sections: list[Section]) -> Html:
    links = [element("a", section.title, href=f"#{section.name}") for section in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{run.path.resolve().name} · derailleur"),
        element("style", _style_sheet()),
    )
    body = element(
        "body",
        headline(run),
        element("nav", links),
        element("main", [section.render() for section in sections]),
        element(
            "footer", f"derailleur {__version__}; the numbers of every plot are beside this page, in plots/."
        ),
    )
    return join(Html("<!doctype html>\n"), element("html", head, body, lang="en"), Html("\n"))


def _style_sheet() -> Html:
    rules = files("derailleur.report").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = css_variables("light"), css_variables("dark")
    return Html(
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}"
    )
