"""The top of the page: one sentence that says the result, and the key numbers as tiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from derailleur.report import units
from derailleur.report.markup import Content, Html, element, join
from derailleur.report.presets import read_presets, strip
from derailleur.report.run_folder import STAGES, RunFolder
from derailleur.report.speed import full_attention, read_speeds, regimes


@dataclass(frozen=True)
class Reach:
    """Speed at the largest batch and context that were measured.

    Attributes:
        ratios: decode speed over that of all-FA, by preset.
        regime: which batch and context, in words.
    """

    ratios: Mapping[str, float]
    regime: str

    @property
    def fastest(self) -> str:
        """The preset that decodes fastest."""
        return max(self.ratios, key=lambda preset: self.ratios[preset])


@dataclass(frozen=True)
class Tile:
    """One key number, what it is, and more about it."""

    value: str
    label: str
    detail: str

    def render(self) -> Html:
        """The tile as an element of the page."""
        parts = element("b", self.value), element("span", self.label), element("small", self.detail)
        return element("div", parts, class_="tile")


def headline(run: RunFolder) -> Html:
    """The header of the page."""
    reach = _reach(run)
    title = element(
        "div",
        element("p", "derailleur · run ", element("code", run.path.resolve().name), class_="kicker"),
        element("h1", _sentence(run, reach)),
        element("p", _model(run), class_="lead"),
    )
    tiles = element("div", [tile.render() for tile in _tiles(run, reach)], class_="tiles")
    return element("header", element("div", title, _gears(run, reach), class_="title"), tiles)


def _reach(run: RunFolder) -> Reach | None:
    full = full_attention(read_presets(run))
    measured = {regime: row for regime, row in regimes(read_speeds(run)).items() if full in row}
    if not measured:
        return None
    batch, context_tokens = max(measured)
    row = measured[batch, context_tokens]
    ratios = {preset: speed / row[full] for preset, speed in row.items()}
    return Reach(ratios, units.regime(batch, context_tokens))


def _sentence(run: RunFolder, reach: Reach | None) -> Content:
    if reach is None:
        done = [stage for stage in STAGES if run.manifest(stage)]
        return f"A run on its way: {units.plural(len(done), 'stage')} done"
    slowest, fastest = min(reach.ratios.values()), max(reach.ratios.values())
    speeds = f"{len(reach.ratios)} speeds, {slowest:.1f}× to {fastest:.1f}×"
    return join("One checkpoint, ", element("em", speeds))


def _model(run: RunFolder) -> str:
    config = run.json("model/config.json", {}).get("derailleur", {})
    sizes = [
        run.results(stage)["parameters"]
        for stage in ("pretrain", "import", "distill")
        if "parameters" in run.results(stage)
    ]
    parts = [
        f"{units.count(sizes[0])} parameters" if sizes else None,
        f"{units.count(sizes[-1])} with all mixers" if len(sizes) > 1 else None,
        f"{config['num_layers']} layers" if "num_layers" in config else None,
        f"width {config['hidden_size']:,}" if "hidden_size" in config else None,
        f"vocabulary {config['vocab_size']:,}" if "vocab_size" in config else None,
        f"trained context {config['max_positions']:,} tokens" if "max_positions" in config else None,
    ]
    return " · ".join(part for part in parts if part)


def _gears(run: RunFolder, reach: Reach | None) -> Html | None:
    """Every preset's strip, its speed and its retention: the picture of what a derailleur is."""
    presets, evaluated = read_presets(run), run.results("evaluate").get("presets", [])
    if not presets:
        return None
    speeds = reach.ratios if reach else {p.name: 1 / p.cost for p in presets if p.cost}
    kept = {row["preset"]: row["retention"]["bits_per_byte"] for row in evaluated}
    rows = [
        element(
            "tr",
            element("th", preset.name, scope="row"),
            element("td", strip(preset.letters)),
            element("td", units.decimals(speeds.get(preset.name), 2), "×"),
            element("td", units.percent(kept.get(preset.name))) if kept else None,
        )
        for preset in presets
    ]
    where = reach.regime if reach else "predicted"
    caption = element("caption", f"speed ({where})", " · retention of bits per byte" if kept else None)
    return element("table", caption, rows, class_="gears")


def _tiles(run: RunFolder, reach: Reach | None) -> list[Tile]:
    """The key numbers of what is there."""
    tiles = []
    if reach:
        ratio = f"{reach.ratios[reach.fastest]:.1f}×"
        tiles.append(Tile(ratio, "fastest preset over all-FA", f"{reach.fastest}, {reach.regime}"))
    if evaluated := run.results("evaluate"):
        tiles += _quality_tiles(evaluated, reach.fastest if reach else None)
    if curated := run.results("curate"):
        share = units.percent(curated["kept"] / max(curated["files_seen"], 1))
        seen = f"{share} of {curated['files_seen']:,} seen"
        tiles.append(Tile(units.count(curated["kept"]), "files kept", seen))
    if tokenized := run.results("tokenize"):
        per_token = f"{tokenized['bytes_per_token']:.2f} bytes a token"
        tiles.append(Tile(units.count(tokenized["tokens"]["train"]), "training tokens", per_token))
    if manifests := [run.manifest(stage) for stage in STAGES if run.manifest(stage)]:
        memory = units.data_size(max(manifest["peak_memory_bytes"] for manifest in manifests))
        seconds = units.duration(sum(manifest["seconds"] for manifest in manifests))
        tiles.append(
            Tile(seconds, f"for {units.plural(len(manifests), 'stage')}", f"{memory} of memory at most")
        )
    return tiles


def _quality_tiles(results: dict[str, Any], fastest: str | None) -> list[Tile]:
    rows, tiles = results["presets"], []
    likelihoods = [row["bits_per_byte"] for row in rows if row["bits_per_byte"] is not None]
    if likelihoods:
        anchor = f"xz on the same bytes: {results['anchors']['xz']:.2f}"
        tiles.append(Tile(f"{min(likelihoods):.2f}", "bits per byte, held out", anchor))
    for row in rows:
        if row["preset"] == fastest and row["retention"]["bits_per_byte"] is not None:
            kept = units.percent(row["retention"]["bits_per_byte"])
            tiles.append(Tile(kept, f"retention of {fastest}", "bits per byte, against all-FA"))
    matches = [row["infilling_exact_match"] for row in rows if row["infilling_exact_match"] is not None]
    if matches:
        lines = f"of {results['infilling_problems']} lines, best preset"
        tiles.append(Tile(units.percent(max(matches)), "infilled exactly", lines))
    return tiles
