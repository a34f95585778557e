"""A small corpus, its tokens, configurations of a few steps, a tiny teacher and its supernet."""

import json
from pathlib import Path
from typing import Any

import pytest

from derailleur.tokens import TokenizeConfig, tokenize
from derailleur.training import (
    DistillConfig,
    FinetuneConfig,
    PretrainConfig,
    distill,
    pretrain,
)

COMMON: dict[str, Any] = {
    "data": {"sequence_length": 48, "batch_size": 4},
    "heldout": {"every_steps": 1000, "num_sequences": 4},
    "precision": "float32",
    "device": "cpu",
}
MODEL = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "num_kv_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
}


@pytest.fixture(scope="session")
def pretrain_config() -> PretrainConfig:
    return PretrainConfig.model_validate({**COMMON, "model": MODEL, "steps": 60})


@pytest.fixture(scope="session")
def distill_config() -> DistillConfig:
    phases = {"alignment": {"steps": 30}, "stochastic": {"steps": 30}}
    return DistillConfig.model_validate({**COMMON, **phases, "mixers": {"S": {"window_tokens": 8}}})


@pytest.fixture(scope="session")
def finetune_config() -> FinetuneConfig:
    targets = {"placements": ["all-gdn", "FK"], "probabilities": [0.75, 0.25]}
    return FinetuneConfig.model_validate({**COMMON, **targets, "steps": 20})


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenize folder: 60 small documents, some of them held out."""
    folder = tmp_path_factory.mktemp("tokens")
    corpus = folder / "corpus.jsonl"
    documents = [{"id": f"{i}", "path": f"{i}.py", "content": _source(i)} for i in range(60)]
    corpus.write_text("".join(json.dumps(document) + "\n" for document in documents))
    tokenize(TokenizeConfig(vocab_size=300, heldout_fraction=0.2), corpus, folder / "tokens")
    return folder / "tokens"


def _source(i: int) -> str:
    """A document with names that recur within it, so that context helps."""
    name = "abcdefghij"[i % 10] * (1 + i % 3)
    lines = [f"def {name}_{k}(x):\n    return {name}_{k - 1}(x) + {i * k % 7}\n" for k in range(8)]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def teacher(pretrain_config: PretrainConfig, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrain folder."""
    out = tmp_path_factory.mktemp("teacher")
    pretrain(pretrain_config, tokens, out)
    return out


@pytest.fixture(scope="session")
def supernet(
    distill_config: DistillConfig, teacher: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A distill folder."""
    out = tmp_path_factory.mktemp("supernet")
    distill(distill_config, teacher, tokens, out)
    return out
