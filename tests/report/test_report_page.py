"""The page: whole, self-contained, the same twice, safe, and honest about what is missing."""

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from derailleur.errors import DataError
from derailleur.report import report
from derailleur.report.look import COLOURS

VOID = {"meta", "br", "hr"}
HOSTILE = "<img src=x onerror=alert(1)>\"'&$x$"


class Page(HTMLParser):
    """Checks that every element is closed, and remembers what is on the page."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def reported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert report(run_folder, out)["page"] == "report.html"
    return out


@pytest.fixture(scope="module")
def page(reported: Path) -> Page:
    return Page((reported / "report.html").read_text())


def test_the_page_needs_nothing_from_outside(reported: Path, page: Page) -> None:
    assert all(link.startswith("#") for link in page.links)
    assert not page.tags & {"script", "img", "link", "iframe", "object", "embed"}
    style = (reported / "report.html").read_text()
    assert "@import" not in style and "url(http" not in style


def test_every_anchor_leads_somewhere_and_no_two_figures_share_an_id(page: Page) -> None:
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_figures_take_their_colours_and_font_from_the_page(reported: Path) -> None:
    text = (reported / "report.html").read_text()
    figures = text[text.index("<body") :]
    assert not [pair.light for pair in COLOURS.values() if pair.light in figures]
    assert "DejaVu" not in figures
    assert "<text" in figures


def test_the_headline_and_the_table_say_the_numbers(page: Page) -> None:
    for said in (
        "4 speeds",
        "1.318",
        "1.702",
        "2.105",
        "94.7\N{NO-BREAK SPACE}%",
        "1,702 files seen",
        "4.12 M parameters",
    ):
        assert said in page.text


def test_every_plot_is_saved_with_its_data(reported: Path, run_folder: Path) -> None:
    saved = {path.stem for path in (reported / "plots").glob("*.json")}
    assert saved == {path.stem for path in (reported / "plots").glob("*.svg")}
    assert saved >= {
        "frontier",
        "preset-map",
        "frontier-map",
        "surrogate",
        "flow-files",
        "pii",
        "speed-batch-16",
    }
    drawn = json.loads((reported / "plots/frontier.json").read_text())["frontier"]
    source = json.loads((run_folder / "place/frontier.json").read_text())
    assert sorted(row["placement"] for row in drawn) == sorted(row["placement"] for row in source)
    assert all(
        row["speed"] * other["cost"] == pytest.approx(1)
        for row, other in zip(drawn, sorted(source, key=lambda row: -row["cost"]), strict=True)
    )
    steps = json.loads((reported / "plots/flow-files.json").read_text())
    assert steps[0]["before"] == 1702
    assert steps[-1]["before"] - steps[-1]["left_out"] == 1540


def test_the_same_run_gives_the_same_bytes(reported: Path, run_folder: Path, tmp_path: Path) -> None:
    report(run_folder, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (reported / "report.html").read_bytes()
    assert (tmp_path / "plots/frontier.svg").read_bytes() == (reported / "plots/frontier.svg").read_bytes()


@pytest.mark.parametrize("until", ["curate", "pretrain", "place"])
def test_a_run_that_stopped_is_reported_as_far_as_it_went(
    unfinished_run: Callable[[str], Path], tmp_path: Path, until: str
) -> None:
    report(unfinished_run(until), tmp_path / "out")
    text = Page((tmp_path / "out/report.html").read_text()).text
    assert "Stage evaluate has not finished" in text
    assert ("Stage place has not finished" in text) == (until != "place")
    assert ("Stage pretrain has not finished" in text) == (until == "curate")
    assert "Stage curate has not finished" not in text


def test_names_and_reasons_cannot_become_markup(run_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "<b onclick=x>&'run"
    shutil.copytree(run_folder, run)
    for name in (
        "place/presets.json",
        "evaluate/manifest.json",
        "curate/manifest.json",
        "distill/manifest.json",
    ):
        text = (run / name).read_text().replace('"swift"', json.dumps(HOSTILE))
        text = text.replace('"long_line"', json.dumps(HOSTILE)).replace('"made up"', json.dumps(HOSTILE))
        (run / name).write_text(text)
    report(run, tmp_path / "out")
    page = Page((tmp_path / "out/report.html").read_text())
    assert not page.handlers
    assert not page.tags & {"img", "b onclick=x"}
    assert page.text.count(HOSTILE) >= 5
    assert run.name in page.text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run is here"):
        report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
