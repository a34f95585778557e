"""README.md of a checkpoint folder: what it is, how it was made, what it can do, what it may be used for.

Everything is read from manifests, configurations and headers, so that a card can be written again at any
time, and is the same again.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from derailleur.card import sections
from derailleur.card.facts import Facts
from derailleur.config import Config
from derailleur.io import write_text
from derailleur.model import model_folder

CARD = "README.md"
UNSPECIFIED = "unspecified"

_OPENRAIL = "bigcode-openrail-m"
_OPENRAIL_TERMS = (
    "[BigCode OpenRAIL-M](https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement): free to "
    "use, also commercially, but not for the uses that its Attachment A restricts; whoever passes on the "
    "weights, or a model made from them, must pass on these restrictions as well."
)
_SECTIONS = {
    "Presets": sections.presets,
    "Use": sections.use,
    "Sizes": sections.sizes,
    "How it was made": sections.stages,
    "Limits": sections.limits,
}


class CardConfig(Config):
    """What a model card says that no stage knows."""

    name: str | None = Field(None, description="title; the name of the run's folder if absent")
    license: str = Field(
        UNSPECIFIED,
        description=f"of the weights, as the Hub spells it: apache-2.0, {_OPENRAIL} (restricts uses), ...",
    )
    data_license: str = Field(UNSPECIFIED, description="of the training data")
    data_card: str | None = Field(None, description="address of a description of the training data")
    base_model: str | None = Field(
        None, description="Hub name of the checkpoint that was imported; its folder's name if absent"
    )


def write_card(path: Path, settings: CardConfig | None = None) -> None:
    """Write README.md of a checkpoint folder, or of the stage folder that holds one.

    Nothing is touched if it says the same already.

    Raises:
        CheckpointError: if there is no checkpoint.
    """
    folder = model_folder(path)
    text = render_card(Facts.of(folder), settings or CardConfig())
    card = folder / CARD
    for left_over in folder.glob(f".{CARD}.tmp-*"):  # of a killed call
        left_over.unlink()
    if not card.is_file() or card.read_text(encoding="utf-8") != text:
        write_text(card, text)


def render_card(facts: Facts, settings: CardConfig) -> str:
    """The card."""
    header = yaml.safe_dump(_header(facts, settings), sort_keys=False, allow_unicode=True)
    body = [
        f"---\n{header}---",
        f"# {settings.name or _name(facts.folder)}",
        sections.introduction(facts),
        *(f"## {heading}\n\n{text}" for heading, write in _SECTIONS.items() if (text := write(facts))),
        f"## Licences\n\n{_licences(facts, settings)}",
    ]
    return "\n\n".join(body) + "\n"


def _name(folder: Path) -> str:
    """The run's name and, but for its final model, the stage's."""
    *_, run, stage, own = ("", "", *folder.resolve().parts)
    if own != "model":
        return own
    return stage if (folder / "manifest.json").is_file() else f"{run}: {stage}"


def _header(facts: Facts, settings: CardConfig) -> dict[str, Any]:
    """What the Hub reads."""
    languages = facts.history.results("curate").get("languages", {})
    kind = [] if facts.is_plain else ["fixed-placement" if facts.is_fixed else "supernet"]
    tags = ["code", "derailleur", *kind, *(name.lower() for name in languages)]
    header: dict[str, Any] = {
        "license": "unknown" if settings.license == UNSPECIFIED else settings.license,
        "language": ["code"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": tags,
    }
    if base := settings.base_model or facts.history.imported:
        header["base_model"] = base
    return header


def _licences(facts: Facts, settings: CardConfig) -> str:
    weights = _OPENRAIL_TERMS if settings.license == _OPENRAIL else settings.license
    lines = [f"- Weights: {weights}"]
    if base := settings.base_model or facts.history.imported:
        lines.append(f"- Made from `{base}`, whose licence holds for what is made from it.")
    lines.append(f"- Training data: {settings.data_license}")
    if settings.data_card:
        lines.append(f"- Data card: {settings.data_card}")
    if UNSPECIFIED in (settings.license, settings.data_license):
        lines.append("- What is unspecified was not configured: do not take it for permission.")
    return "\n".join(lines)
