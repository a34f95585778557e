"""The released Super Apriel layout, text only: a vision encoder's weights are left where they are."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derailleur.model.apriel2 import Released, parts, read
from derailleur.model.importing.family import Foreign, Made, Settings, register

log = logging.getLogger(__name__)

_VISION_FIELDS = {"vision_encoder", "image_token_index"}


@register("apriel2")
@register("apriel2_text")
def understand_apriel2(description: Mapping[str, Any], path: Path) -> Foreign:
    """With vision or without.

    Raises:
        CheckpointError: naming the key that is not supported.
    """
    config, released = read(description, path)
    if description.get("vision_encoder"):
        log.warning("%s: the vision encoder is left out; the text model is taken alone", path)
    sources: dict[str, list[str]] = defaultdict(list)
    for part in parts(released):
        sources[part.ours].append(part.released)
    if config.tie_embeddings:
        sources["head.weight"] = ["lm_head.weight"]
    known = Settings.irrelevant | _VISION_FIELDS | set(Released.model_fields)
    return Foreign(
        config,
        {ours: Made(tuple(theirs), _stack) for ours, theirs in sources.items()},
        ignored_tensors=r"model\.vision_encoder\..*",
        unknown_fields=tuple(sorted(set(description) - known)),
    )


def _stack(*rows: Tensor) -> Tensor:
    """Released tensors one above the other, which are one of ours."""
    return torch.cat(rows) if len(rows) > 1 else rows[0]
