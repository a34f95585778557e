"""Checkpoints of ours in other layouts, whole or with just the mixers that some placements use.

`LAYOUTS` says which there are: each is a function from a decoder's configuration to a plan, whose tensors
are made from those that a checkpoint of ours has for that configuration.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from derailleur.errors import PlacementError
from derailleur.model.apriel2 import released_plan
from derailleur.model.checkpoint import (
    TOKENIZER_FILES,
    copy_tokenizer,
    describe,
    load_config,
    tensor_names,
    write_generation_settings,
)
from derailleur.model.config import DecoderConfig
from derailleur.model.plain import plain_plan
from derailleur.model.plan import CheckpointPlan, StoredTensors, stored
from derailleur.model.weights import INDEX, files_of
from derailleur.placement.placement import MIXERS, Placement


def own_plan(config: DecoderConfig) -> CheckpointPlan:
    """Our own layout, which `derailleur serve` reads, and transformers after `import derailleur.hf`."""
    return CheckpointPlan(describe(config), {name: stored(name) for name in tensor_names(config)})


def hf_plan(config: DecoderConfig) -> CheckpointPlan:
    """The layout of a family that transformers knows, if full attention alone is left; else our own."""
    return plain_plan(config) or own_plan(config)


LAYOUTS: Mapping[str, Callable[[DecoderConfig], CheckpointPlan]] = {
    "hf": hf_plan,
    "thin": own_plan,
    "apriel2": released_plan,
}


def plan_export(folder: Path, layout: str, placements: Collection[Placement]) -> CheckpointPlan:
    """Plan a checkpoint with the mixers of some placements; with all that there are if none is named.

    Raises:
        PlacementError: if the checkpoint lacks a mixer of a placement.
        CheckpointError: if it is not ours, or the layout has no place for what it computes with.
    """
    config = load_config(folder)
    return LAYOUTS[layout](restrict(config, placements) if placements else config)


def restrict(config: DecoderConfig, placements: Collection[Placement]) -> DecoderConfig:
    """The decoder with just the mixers that the placements use in each layer."""
    for placement in placements:
        _check(placement, config)
    layers = range(config.num_layers)
    chosen = [{placement[layer] for placement in placements} for layer in layers]
    banks = tuple("".join(letter for letter in MIXERS if letter in letters) for letters in chosen)
    unused = set(config.mixers.letters) - set().union(*chosen) - {"F"}
    mixers = config.mixers.model_copy(update=dict.fromkeys(unused))
    whole = all(bank == mixers.letters for bank in banks)
    return config.model_copy(update={"mixers": mixers, "banks": None if whole else banks})


def describe_export(plan: CheckpointPlan, folder: Path) -> dict[str, Any]:
    """What following a plan writes; reads configurations and the headers of weights alone.

    Raises:
        CheckpointError: if the folder lacks a tensor that the plan needs.
    """
    specs = plan.outline(StoredTensors(folder))
    weights = files_of(specs)
    index = {INDEX} if len(weights) > 1 else set()
    copied = {name for name in TOKENIZER_FILES if (folder / name).is_file()}
    return {
        "model_type": plan.config["model_type"],
        "files": sorted({"config.json", "generation_config.json", *weights} | index | copied),
        "tensors": len(specs),
        "parameters": sum(spec.num_elements for spec in specs.values()),
        "bytes": sum(spec.num_bytes for spec in specs.values()),
    }


def map_export(plan: CheckpointPlan, folder: Path) -> list[dict[str, Any]]:
    """Each tensor of the folder, and those that it goes into."""
    source = StoredTensors(folder)
    return [
        {
            "source": name,
            "shape": tuple(source.outline(name).shape),
            "dtype": str(source.outline(name).dtype).removeprefix("torch."),
            "targets": targets,
        }
        for name, targets in plan.targets(source).items()
    ]


def write_export(plan: CheckpointPlan, folder: Path, out: Path, *, resume: bool = False) -> None:
    """Follow a plan: tokenizer and generation settings, weights tensor by tensor, config.json last.

    Args:
        resume: keep the weights' files that an earlier, killed call of the same export finished.

    Raises:
        CheckpointError: if the folder lacks a tensor that the plan needs.
    """
    source = StoredTensors(folder)
    source.check_target(out)
    copy_tokenizer(folder, out)
    write_generation_settings(out)
    plan.write(source, out, resume=resume)


def _check(placement: Placement, config: DecoderConfig) -> None:
    if len(placement) != config.num_layers:
        raise PlacementError(
            f"placement '{placement}' has {len(placement)} layers, the model has {config.num_layers}"
        )
    for layer, letter in enumerate(placement):
        if letter not in config.bank(layer):
            raise PlacementError(
                f"placement '{placement}': layer {layer} has no mixer '{letter}'; it has {config.bank(layer)}"
            )
