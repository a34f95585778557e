"""The top of the page: one sentence that says the result, and the key numbers as tiles."""

from typing import Any

from derailleur.report import units
from derailleur.report.markup import Content, Html, element, join
from derailleur.report.presets import read_presets, strip
from derailleur.report.run_folder import STAGES, RunFolder
from derailleur.report.speed import full_attention, read_speeds, regimes


def headline(run: RunFolder) -> Html:
    """The header of the page."""
    title = element(
        "div",
        element("p", "derailleur · run ", element("code", run.path.resolve().name), class_="kicker"),
        element("h1", _sentence(run)),
        element("p", _model(run), class_="lead"),
    )
    tiles = element("div", [_tile(*tile) for tile in _tiles(run)], class_="tiles")
    return element("header", element("div", title, _gears(run), class_="title"), tiles)


def _sentence(run: RunFolder) -> Content:
    reach = _speed_reach(run)
    if reach is None:
        done = [stage for stage in STAGES if run.manifest(stage)]
        return f"A run on its way: {units.plural(len(done), 'stage')} done"
    ratios = reach["ratios"].values()
    reach_text = f"{len(ratios)} speeds, {min(ratios):.1f}× to {max(ratios):.1f}×"
    return join("One checkpoint, ", element("em", reach_text))


def _speed_reach(run: RunFolder) -> dict[str, Any] | None:
    """The fastest preset against all-FA at the largest batch and context that were measured."""
    full = full_attention(read_presets(run))
    measured = {regime: row for regime, row in regimes(read_speeds(run)).items() if full in row}
    if not measured:
        return None
    batch, context_tokens = max(measured)
    row = measured[batch, context_tokens]
    fastest = max(row, key=lambda name: row[name])
    return {
        "fastest": fastest,
        "ratio": row[fastest] / row[full],
        "ratios": {name: speed / row[full] for name, speed in row.items()},
        "regime": units.regime(batch, context_tokens),
    }


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


def _gears(run: RunFolder) -> Html | None:
    """Every preset's strip, its speed and its retention: the picture of what a derailleur is."""
    presets, reach = read_presets(run), _speed_reach(run)
    if not presets:
        return None
    kept = {
        row["preset"]: row["retention"]["bits_per_byte"] for row in run.results("evaluate").get("presets", [])
    }
    rows = [
        element(
            "tr",
            element("th", preset.name, scope="row"),
            element("td", strip(preset.letters)),
            element(
                "td", _times(reach["ratios"].get(preset.name) if reach else preset.cost and 1 / preset.cost)
            ),
            element("td", units.percent(kept.get(preset.name)) if kept else None),
        )
        for preset in presets
    ]
    where = reach["regime"] if reach else "predicted"
    caption = element("caption", f"speed ({where})", " · retention of bits per byte" if kept else None)
    return element("table", caption, rows, class_="gears")


def _times(ratio: float | None) -> str:
    return units.NOT_MEASURED if ratio is None else f"{ratio:.2f}×"


def _tiles(run: RunFolder) -> list[tuple[str, str, str]]:
    """(value, what it is, more about it), only of what is there."""
    tiles = []
    reach = _speed_reach(run)
    if reach:
        tiles.append(
            (f"{reach['ratio']:.1f}×", "fastest preset over all-FA", f"{reach['fastest']}, {reach['regime']}")
        )
    evaluated = run.results("evaluate")
    if evaluated:
        tiles += _quality_tiles(evaluated, reach["fastest"] if reach else None)
    curated = run.results("curate")
    if curated:
        share = units.percent(curated["kept"] / max(curated["files_seen"], 1))
        tiles.append(
            (units.count(curated["kept"]), "files kept", f"{share} of {curated['files_seen']:,} seen")
        )
    tokenized = run.results("tokenize")
    if tokenized:
        per_token = f"{tokenized['bytes_per_token']:.2f} bytes a token"
        tiles.append((units.count(tokenized["tokens"]["train"]), "training tokens", per_token))
    manifests = [run.manifest(stage) for stage in STAGES if run.manifest(stage)]
    if manifests:
        memory = max(manifest["peak_memory_bytes"] for manifest in manifests)
        seconds = sum(manifest["seconds"] for manifest in manifests)
        tiles.append(
            (units.duration(seconds), "for the whole run", f"{units.data_size(memory)} of memory at most")
        )
    return tiles


def _quality_tiles(results: dict[str, Any], fastest: str | None) -> list[tuple[str, str, str]]:
    rows, tiles = results["presets"], []
    likelihoods = [row["bits_per_byte"] for row in rows if row["bits_per_byte"] is not None]
    if likelihoods:
        anchor = f"xz on the same bytes: {results['anchors']['xz']:.2f}"
        tiles.append((f"{min(likelihoods):.2f}", "bits per byte, held out", anchor))
    for row in rows:
        if row["preset"] == fastest and row["retention"]["bits_per_byte"] is not None:
            kept = units.percent(row["retention"]["bits_per_byte"])
            tiles.append((kept, f"retention of {fastest}", "bits per byte, against all-FA"))
    matches = [row["infilling_exact_match"] for row in rows if row["infilling_exact_match"] is not None]
    if matches:
        lines = f"of {results['infilling_problems']} lines, best preset"
        tiles.append((units.percent(max(matches)), "infilled exactly", lines))
    return tiles


def _tile(value: str, label: str, detail: str) -> Html:
    return element(
        "div",
        element("b", value),
        element("span", label),
        element("small", detail),
        class_="tile",
    )
