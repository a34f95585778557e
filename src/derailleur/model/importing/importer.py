"""A plan carried out: weights tensor by tensor, then the tokenizer and settings, config.json last."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.io import write_json
from derailleur.model.checkpoint import (
    copy_tokenizer,
    describe,
    generation_settings,
    write_generation_settings,
)
from derailleur.model.importing.plan import EMBED, ImportPlan, plan_import
from derailleur.model.plan import StoredTensors
from derailleur.model.weights import write_weights

_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Where generation_config.json is silent, config.json's values count."""


def import_checkpoint(source: Path, out: Path, *, resume: bool = False) -> dict[str, Any]:
    """Write a Hugging Face folder as a teacher of ours, with its own tokenizer and generation settings.

    Weights keep their numbers and their dtype. One tensor is in memory at a time.

    Args:
        resume: keep the weights' files that an earlier, killed call with the same source finished.

    Returns:
        The results for a manifest: family, parameters, context.

    Raises:
        CheckpointError: for an unsupported configuration, missing or pickled weights, foreign tensors.
    """
    plan = plan_import(source)
    if plan.refusals:
        raise CheckpointError(plan.refusals[0])
    out.mkdir(parents=True, exist_ok=True)
    stored = StoredTensors(source)
    stored.check_target(out)
    _check_tied_head(plan, stored)

    def make(name: str) -> Tensor:
        return plan.tensors[name](stored.read).to(plan.written[name].dtype)

    write_weights(out, plan.written, make, resume=resume)
    copy_tokenizer(source, out)
    given = {name: plan.description.get(name) for name in _SPECIAL_IDS}
    special = {name: ids for name, ids in given.items() if ids is not None}
    write_json(out / "generation_config.json", special | generation_settings(out))
    write_generation_settings(out)
    write_json(out / "config.json", describe(plan.config) | {"dtype": _dtype(plan)})
    return {
        "family": plan.family,
        "parameters": plan.num_parameters,
        "max_positions": plan.config.max_positions,
        "vocab_size": plan.config.vocab_size,
    }


def _check_tied_head(plan: ImportPlan, stored: StoredTensors) -> None:
    """A folder may hold a tied head's weights again; they must be the embedding's."""
    if plan.tied_head is None:
        return
    embed = plan.tensors[EMBED](stored.read)
    if not torch.equal(stored.read(plan.tied_head), embed):
        raise CheckpointError(
            f"{plan.source}: tie_word_embeddings is true, but tensor '{plan.tied_head}' is not the embedding"
        )


def _dtype(plan: ImportPlan) -> str:
    """The dtype of most of the weights."""
    return str(plan.written[EMBED].dtype).removeprefix("torch.")
