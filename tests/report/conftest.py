"""A made-up run folder in the formats of the stages, with plausible numbers; nothing in it was measured."""

import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NUM_LAYERS = 8
LOSS = {"F": 0.0, "S": 0.006, "K": 0.011, "G": 0.017}
PRESETS = {"full": "FFFFFFFF", "strong": "FFFSSSSK", "swift": "SSSSSSKK", "light": "GKGGKGGG"}


def relative_cost(placement: str) -> float:
    costs = regime_cost(16, 8192)["relative_to_full_attention"]
    return sum(costs[letter] for letter in placement) / len(placement)


def layer_seconds(letter: str, batch: int, context: int) -> float:
    own = {"F": 0.10, "S": 0.16, "K": 0.27, "G": 0.21}[letter]
    reach = {"F": context / 1000, "S": 0.26, "K": 0.0, "G": 0.0}[letter]
    return (0.2 + 0.006 * batch + own + 0.020 * batch * reach + 0.02 * batch * own) / 1000


def regime_cost(batch: int, context: int) -> dict[str, Any]:
    seconds = {letter: layer_seconds(letter, batch, context) for letter in "FSKG"}
    return {
        "batch": batch,
        "context": context,
        "seconds_per_layer": seconds,
        "relative_to_full_attention": {letter: value / seconds["F"] for letter, value in seconds.items()},
        "fit_mape": 0.03,
        "heldout_mape": 0.05,
    }


def quality(placement: str) -> float:
    depth = np.linspace(1.4, 0.6, len(placement))
    return -1.42 - float(sum(LOSS[letter] * weight for letter, weight in zip(placement, depth, strict=True)))


LEFT_OUT = [
    ("sources", "dropped", "too_large", 3, 6_100_000),
    ("text", "dropped", "empty", 14, 0),
    ("text", "quarantined", "not_utf8", 8, 40_000),
    ("exact_dedup", "dropped", "exact_duplicate", 31, 300_000),
    ("near_dedup", "dropped", "near_duplicate", 58, 900_000),
    ("near_dedup", "dropped", "near_duplicate_of_heldout", 9, 110_000),
    ("filters", "dropped", "long_line", 22, 1_200_000),
    ("filters", "dropped", "alphanumeric_share", 17, 250_000),
]


def curate(_: np.random.Generator) -> dict[str, Any]:
    keys = ("step", "action", "reason", "files", "bytes")
    left_out = [dict(zip(keys, row, strict=True)) for row in LEFT_OUT]
    return {
        "files_seen": 1702,
        "bytes_seen": 37_300_000,
        "kept": 1540,
        "dropped": {row["reason"]: row["files"] for row in left_out if row["action"] == "dropped"},
        "quarantined": {"not_utf8": 8},
        "left_out": left_out,
        "bytes_kept": 28_400_000,
        "splits": {
            "train": {"files": 1464, "bytes": 27_000_000},
            "heldout": {"files": 76, "bytes": 1_400_000},
        },
        "languages": {"Python": 1540},
        "by_language": {
            "Python": {
                "files_seen": 1702,
                "bytes_seen": 37_300_000,
                "files_kept": 1540,
                "bytes_kept": 28_400_000,
            }
        },
        "by_licence": {
            "unknown": {"files_kept": 540, "bytes_kept": 8_400_000},
            "MIT": {"files_kept": 1000, "bytes_kept": 20_000_000},
        },
        "near_dedup": {"cluster_sizes": {"2": 40, "3": 4, "6": 1, "9": 1}},
        "filters": [
            {
                "filter": "basic",
                "reason": "long_line",
                "measure": "longest_line",
                "files_before": 1579,
                "bytes_before": 29_850_000,
                "files_removed": 22,
                "bytes_removed": 1_200_000,
                "percentiles": {"1": 43.0, "50": 87.0, "99": 1202.0},
            }
        ],
        "contamination": {},
        "repeats": {},
        "pii": {"EMAIL": 412, "IP_ADDRESS": 57, "KEY": 6, "PRIVATE_KEY": 2},
    }


def evaluate(rng: np.random.Generator) -> dict[str, Any]:
    rows = []
    for name, placement in PRESETS.items():
        lost = -1.42 - quality(placement)
        accuracy, exact = 0.612 - 0.4 * lost, round(200 * (0.145 - 0.5 * lost)) / 200
        rows.append(
            {
                "preset": name,
                "placement": placement,
                "bits_per_byte": 1.318 + 0.6 * lost,
                "next_token_accuracy": accuracy,
                "infilling_exact_match": exact,
                "infilling_interval": [exact - 0.045, exact + 0.052],
                "retention": {
                    "bits_per_byte": 1.318 / (1.318 + 0.6 * lost),
                    "next_token_accuracy": accuracy / 0.612,
                    "infilling_exact_match": exact / 0.145,
                    "identifier_recall": 1 - lost / 0.3,
                    "recall_gain_nats": 1 - 80 * lost / 6,
                },
                "identifier_recall": 0.3 - lost,
                "recall_gain_nats": 6 - 80 * lost,
                "languages": {},
                "infilling": [],
                "recall": [recall(lost, bounds) for bounds in ((100, 250), (250, 500), (500, 1000))],
                "speed": [
                    speed(placement, batch, context) for batch in (1, 16) for context in (1024, 2048, 8192)
                ],
            }
        )
    return {
        "presets": rows,
        "anchors": {"gzip": 2.105, "xz": 1.702},
        "heldout": {"documents": 76, "bytes": 1_400_000, "tokens": 402_000},
        "infilling_problems": 200,
        "recall_places": 150,
    }


def recall(lost: float, bounds: tuple[int, int]) -> dict[str, Any]:
    gain = 6 - 80 * lost * bounds[1] / 500
    exact = max(round(50 * (0.3 - lost)), 0) / 50
    return {
        "low_tokens": bounds[0],
        "high_tokens": bounds[1],
        "context_tokens": 1024,
        "beyond_context": False,
        "places": 50,
        "exact_match": exact,
        "interval": [max(exact - 0.1, 0), exact + 0.1],
        "control_exact_match": 0.06,
        "control_interval": [0.02, 0.16],
        "log_likelihood": -9.0,
        "control_log_likelihood": -9.0 - gain,
        "gain_nats": gain,
        "gain_interval": [gain - 1, gain + 1],
    }


def speed(placement: str, batch: int, context: int) -> dict[str, Any]:
    seconds = sum(layer_seconds(letter, batch, context) for letter in placement)
    return {
        "batch": batch,
        "context_tokens": context,
        "tokens_per_second": batch / seconds,
        "speed_only": context > 1024,
    }


RESULTS: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "curate": curate,
    "tokenize": lambda _: {
        "vocab_size": 8192,
        "dtype": "uint16",
        "tokens": {"train": 7_820_000, "heldout": 402_000},
        "bytes": {"train": 27_000_000, "heldout": 1_400_000},
        "bytes_per_token": 3.45,
    },
    "pretrain": lambda _: {
        "steps": 600,
        "tokens": 9_830_400,
        "parameters": 4_120_000,
        "final_loss": 1.63,
        "heldout_loss": 1.71,
    },
    "distill": lambda _: {
        "steps": 300,
        "tokens": 3_686_400,
        "parameters": 6_210_000,
        "final_loss": 0.21,
        "heldout_loss": 1.79,
    },
    "finetune": lambda _: {"steps": 80, "tokens": 983_040, "final_loss": 1.66, "heldout_loss": 1.75},
    "place": lambda _: {"regime": {"batch": 16, "context": 8192}},
    "evaluate": evaluate,
}
SECONDS = dict(zip(RESULTS, (11.2, 6.8, 402.0, 251.0, 88.0, 143.0, 121.0), strict=True))


def training_log(stage: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    steps, floor = {"pretrain": (600, 1.60), "distill": (300, 0.2), "finetune": (80, 1.66)}[stage]
    rows = []
    for step in range(1, steps + 1):
        phase = stage if stage != "distill" else "align" if step <= 120 else "stochastic"
        row: dict[str, Any] = {"step": step, "phase": phase, "tokens": step * 16384, "seconds": step * 0.6}
        row |= {"lr": 1e-3, "gradient_norm": 0.5, "loss": floor + 6.5 * (1 + step / 6) ** -0.9}
        row["loss"] += float(rng.normal(0, 0.04)) * floor
        if stage == "distill":
            row["mixer_loss"] = {
                name: scale * (0.1 + (1 + step / 9) ** -0.8) * float(rng.lognormal(0, 0.06))
                for name, scale in (("swa", 0.6), ("kda", 0.9), ("gdn", 1.2))
                if phase == "align" or rng.random() < 0.8
            }
        if step % 20 == 0:
            row["heldout_loss"] = row["loss"] * 1.03
        if step % 20 == 0 and phase not in ("pretrain", "align"):
            row["heldout"] = {
                f"all-{name}": {"loss": 1.70 + gap * (1 + 20 / (step + 1))}
                for name, gap in (("fa", 0.0), ("swa", 0.04), ("kda", 0.09), ("gdn", 0.14))
            }
        rows.append(row)
    return rows


@functools.cache
def placement_files() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    every = ["".join(letters) for letters in itertools.product("FSKG", repeat=NUM_LAYERS)]
    sampled = [every[index] for index in rng.choice(len(every), 72, replace=False)] + list(PRESETS.values())
    measured = {placement: quality(placement) + float(rng.normal(0, 0.002)) for placement in sampled}
    best: list[str] = []
    for placement in sorted(every, key=relative_cost):
        if not best or quality(placement) > quality(best[-1]):
            best.append(placement)
    return {
        "quality.jsonl": [
            {"placement": placement, "log_likelihood": value, "tokens": 65536}
            for placement, value in measured.items()
        ],
        "cost.json": {
            "regimes": [regime_cost(batch, context) for batch in (1, 16) for context in (1024, 2048, 8192)]
        },
        "surrogate.json": {
            "report": {"loo_r2": 0.993, "loo_spearman": 0.994, "loo_rmse": 0.0024},
            "layer_effects": [
                {letter: -loss * weight for letter, loss in LOSS.items()}
                for weight in np.linspace(1.4, 0.6, NUM_LAYERS)
            ],
            "observations": [
                {"placement": placement, "quality": value, "leave_one_out": quality(placement)}
                for placement, value in measured.items()
            ],
        },
        "frontier.json": [
            {
                "placement": placement,
                "cost": relative_cost(placement),
                "predicted_quality": quality(placement),
            }
            for placement in best
        ],
        "presets.json": {
            "num_layers": NUM_LAYERS,
            "default": "full",
            "presets": [
                {
                    "name": name,
                    "placement": placement,
                    "cost": relative_cost(placement),
                    "quality": {
                        "predicted": quality(placement),
                        "measured": measured[placement],
                        "unit": "mean log-likelihood, nats per token",
                    },
                    "speed": [],
                }
                for name, placement in PRESETS.items()
            ],
        },
    }


def write_run(folder: Path, *, until: str = "evaluate") -> Path:
    """Write the stages up to and with `until`."""
    rng = np.random.default_rng(7)
    for stage in list(RESULTS)[: list(RESULTS).index(until) + 1]:
        out = folder / stage
        out.mkdir(parents=True)
        manifest = {
            "stage": stage,
            "version": 1,
            "fingerprint": f"{stage:0<64}",
            "config": {"seed": 0, "note": "made up"},
            "inputs": {},
            "results": RESULTS[stage](rng),
            "derailleur": "0.1.0",
            "python": "3.11.2",
            "seconds": SECONDS[stage],
            "peak_memory_bytes": 1_900_000_000,
        }
        (out / "manifest.json").write_text(json.dumps(manifest))
        if stage in ("pretrain", "distill", "finetune"):
            write_lines(out / "metrics.jsonl", training_log(stage, rng))
        if stage == "place":
            for name, value in placement_files().items():
                if name.endswith(".jsonl"):
                    write_lines(out / name, value)
                else:
                    (out / name).write_text(json.dumps(value))
    if until == "evaluate":
        model = folder / "model"
        model.mkdir()
        shape = {"num_layers": NUM_LAYERS, "hidden_size": 192, "vocab_size": 8192, "max_positions": 1024}
        (model / "config.json").write_text(json.dumps({"model_type": "derailleur", "derailleur": shape}))
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return write_run(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture
def unfinished_run(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a run that stopped after a stage."""
    return lambda until: write_run(tmp_path / f"until-{until}", until=until)
