"""The released Super Apriel layout, text only: a vision encoder's weights are left where they are."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derailleur.model.apriel2 import parts, read
from derailleur.model.apriel2.sections import Released
from derailleur.model.importing.family import Foreign, Made, Settings, register

_VISION_FIELDS = {"vision_encoder", "image_token_index"}


@register("apriel2")
@register("apriel2_text")
def understand_apriel2(description: Mapping[str, Any], path: Path) -> Foreign:
    """With vision or without.

    Raises:
        ConfigError, CheckpointError: naming the key that is not supported.
    """
    config, released = read(description, path)
    sources: dict[str, list[str]] = defaultdict(list)
    for part in parts(released):
        sources[part.ours].append(part.released)
    sources.setdefault("head.weight", sources["embed.weight"])
    return Foreign(
        config,
        {ours: Made(tuple(theirs), _stack) for ours, theirs in sources.items()},
        ignored_tensors=r"model\.vision_encoder\..*",
        unknown_fields=tuple(
            sorted(set(description) - Settings.irrelevant - _VISION_FIELDS - set(Released.model_fields))
        ),
    )


def _stack(*rows: Tensor) -> Tensor:
    """One above the other, as they are in ours."""
    return torch.cat(rows) if len(rows) > 1 else rows[0]
