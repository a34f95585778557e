"""One line about each stage on the road to a checkpoint, from its manifest."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from derailleur.report import units

_Manifest: TypeAlias = Mapping[str, Any]


def describe_stage(manifest: _Manifest) -> str | None:
    """What a stage did, with its settings in short; None for those that change nothing."""
    describe = _STAGES.get(manifest["stage"])
    return describe(manifest) if describe else None


def _curate(manifest: _Manifest) -> str:
    results = manifest["results"]
    sources = ", ".join(sorted({Path(path).name for path in manifest["inputs"].values()}))
    languages = ", ".join(f"{name} {number:,}" for name, number in results["languages"].items())
    dropped = ", ".join(
        f"{number:,} {reason.replace('_', ' ')}" for reason, number in results["dropped"].items() if number
    )
    redacted = sum(results["pii"].values())
    return (
        f"{results['kept']:,} of {units.plural(results['files_seen'], 'file')} of `{sources}` kept "
        f"({units.data_size(results['bytes_kept'])}; {languages}). "
        f"Dropped: {dropped or 'nothing'}. Personal data and secrets replaced: {redacted:,}. "
        f"Held out: {units.plural(results['splits']['heldout']['files'], 'file')}."
    )


def _tokenize(manifest: _Manifest) -> str:
    results = manifest["results"]
    origin = (
        "the imported tokenizer" if manifest["config"].get("tokenizer") else "byte-level BPE, trained here"
    )
    return (
        f"{origin}, vocabulary {results['vocab_size']:,}: {units.count(results['tokens']['train'])} tokens "
        f"to train on, {results['bytes_per_token']:.2f} bytes a token."
    )


def _import(manifest: _Manifest) -> str:
    results = manifest["results"]
    source = Path(next(iter(manifest["inputs"].values()))).name
    return f"`{source}`, a {results['family']} of {units.count(results['parameters'])} parameters, unchanged."


def _pretrain(manifest: _Manifest) -> str:
    return f"full attention, from nothing. {_steps(manifest, manifest['config'])}"


def _distill(manifest: _Manifest) -> str:
    config = manifest["config"]
    strategy = config["stochastic"]["sampling"]["strategy"].replace("_", " ")
    frozen = "learns too" if config["train_full_attention"] else "stays the teacher's, bit for bit"
    return (
        f"mixers initialised from the teacher's attention, aligned with it layer by layer "
        f"({config['alignment']['steps']:,} steps), then distilled at {strategy} random placements "
        f"({config['stochastic']['steps']:,} steps). Full attention {frozen}. "
        f"{_steps(manifest, config['stochastic'])}"
    )


def _finetune(manifest: _Manifest) -> str:
    placements = ", ".join(f"`{name}`" for name in manifest["config"]["placements"])
    return f"next-token loss at {placements}. {_steps(manifest, manifest['config'])}"


def _steps(manifest: _Manifest, phase: Mapping[str, Any]) -> str:
    data, results = manifest["config"]["data"], manifest["results"]
    rate = phase["optimizer"]
    return (
        f"{results['steps']:,} steps of {data['batch_size']} x {data['sequence_length']:,} tokens "
        f"({units.count(results['tokens'])} in all), {rate['name']} at {rate['learning_rate']:g}, "
        f"{data['fim_rate']:.0%} fill-in-the-middle, in {units.duration(results['seconds'])}."
    )


def _place(manifest: _Manifest) -> str:
    results = manifest["results"]
    regime = results["regime"]
    return (
        f"{results['placements_measured']} placements measured for quality, {results['placements_timed']} "
        f"for speed; presets chosen for {units.regime(regime['batch'], regime['context'])}."
    )


def _export(manifest: _Manifest) -> str:
    config = manifest["config"]
    kept = config["placements"]
    names = "everything" if kept is None else ", ".join(f"{name} `{x}`" for name, x in kept.items())
    return f"in layout `{config['format']}`, keeping {names}."


_STAGES: Mapping[str, Callable[[_Manifest], str]] = {
    "curate": _curate,
    "tokenize": _tokenize,
    "import": _import,
    "pretrain": _pretrain,
    "distill": _distill,
    "finetune": _finetune,
    "place": _place,
    "export": _export,
}
