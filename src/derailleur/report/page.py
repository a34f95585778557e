"""Puts the sections of a run or of a corpus into one self-contained page, and its plots' data beside it."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from derailleur import __version__
from derailleur.io import Progress, read_json, silent, write_json, write_text
from derailleur.report import corpus, corpus_headline, evaluation, placement, recall, speed, stages, training
from derailleur.report.headline import headline
from derailleur.report.look import css_variables
from derailleur.report.markup import Html, element, join
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section

VERSION = 3

PAGE = "report.html"

_SECTIONS = (
    placement.section,
    evaluation.section,
    recall.section,
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
    result = _write(out, run.resolve().name, headline(folder), sections)
    progress("report", len(_SECTIONS), len(_SECTIONS))
    return result


def report_corpus(folder: Path, out: Path | None = None) -> dict[str, Any]:
    """Write `report.html` about one corpus, with its plots as `report` does.

    Args:
        folder: of a finished stage curate.
        out: where to write; None for the folder itself.

    Raises:
        DataError: if a file of it is broken.
    """
    manifest, name = read_json(folder / "manifest.json"), folder.resolve().name
    sections = [*corpus.sections(manifest), stages.how_it_was_made(manifest)]
    return _write(out or folder, name, corpus_headline.headline(name, manifest), sections)


def _write(out: Path, name: str, header: Html, sections: Sequence[Section]) -> dict[str, Any]:
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    for plot in plots:
        write_json(out / "plots" / f"{plot.name}.json", plot.data)
        write_text(out / "plots" / f"{plot.name}.svg", plot.svg)
    write_text(out / PAGE, _page(name, header, sections))
    return {"page": PAGE, "plots": [plot.name for plot in plots]}


def _page(name: str, header: Html, sections: Sequence[Section]) -> Html:
    links = [element("a", section.title, href=f"#{section.name}") for section in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{name} · derailleur"),
        element("style", _style_sheet()),
    )
    body = element(
        "body",
        header,
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
