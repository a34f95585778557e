"""What every stage took, and the configuration it ran with."""

import json
from collections.abc import Mapping
from typing import Any

from derailleur.report import units
from derailleur.report.markup import Html, element
from derailleur.report.run_folder import STAGES, RunFolder
from derailleur.report.section import Section, table


def section(run: RunFolder) -> Section:
    """The section about time, memory and configuration."""
    manifests = {stage: run.manifest(stage) for stage in STAGES}
    done = {stage: manifest for stage, manifest in manifests.items() if manifest}
    started = [stage for stage in run.stages() if stage not in done]
    total = sum(manifest["seconds"] for manifest in done.values())
    lead = f"{units.plural(len(done), 'stage')} done in {units.duration(total)}."
    if started:
        lead += f" Started but not finished: {', '.join(started)}."
    if not done:
        return Section("stages", "Stages", lead)
    rows = [
        [
            stage,
            element("td", units.duration(manifest["seconds"]), class_="number"),
            element("td", units.percent(manifest["seconds"] / total if total else None), class_="number"),
            element("td", units.data_size(manifest["peak_memory_bytes"]), class_="number"),
            element("td", element("code", manifest["fingerprint"][:12])),
        ]
        for stage, manifest in done.items()
    ]
    header = ["stage", "time", "share", "peak memory", "fingerprint"]
    note = "Peak memory is the process's so far, so that it never falls from stage to stage."
    configurations = [_configuration(stage, manifest["config"]) for stage, manifest in done.items()]
    folded = element("div", element("h3", "Configuration"), configurations, class_="wide card")
    return Section("stages", "Stages", lead, [table("Time and memory", header, rows, note), folded])


def how_it_was_made(manifest: Mapping[str, Any]) -> Section:
    """The section of a page about one stage alone: time, inputs, configuration."""
    lead = (
        f"By derailleur {manifest['derailleur']} in {units.duration(manifest['seconds'])}"
        f"{' on ' + manifest['machine'] if 'machine' in manifest else ''}."
    )
    inputs = [[role, element("td", element("code", path))] for role, path in manifest["inputs"].items()]
    configuration = element("div", _configuration("Configuration", manifest["config"]), class_="wide card")
    return Section(
        "made", "How it was made", lead, [table("Inputs", ["input", "path"], inputs), configuration]
    )


def _configuration(stage: str, config: Mapping[str, Any]) -> Html:
    text = json.dumps(_without_salts(config), indent=2, ensure_ascii=False)
    return element("details", element("summary", stage), element("pre", text))


def _without_salts(value: Any) -> Any:
    """The same without what must stay secret: with the salt, replacements could be guessed back."""
    if isinstance(value, Mapping):
        return {key: "(not shown)" if key == "salt" and v else _without_salts(v) for key, v in value.items()}
    return value
