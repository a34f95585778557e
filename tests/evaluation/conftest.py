"""A tiny random supernet with a tokenizer and presets, and a small corpus."""

import json
from pathlib import Path

import pytest
import torch

from derailleur.engine import Engine
from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
    add_mixers,
    save_model,
)
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, Presets
from derailleur.tokens import Tokenizer

CONTEXT = 48

TEXTS = {
    f"module_{number}.py": f'''"""Module {number}."""

import os


def function_{number}(path, depth):
    # how deep
    total = depth + {number}
    for name in os.listdir(path):
        total += len(name) * {number % 7}
    return total
'''
    + "x = 1\n" * number
    for number in range(12)
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS.values(), vocab_size=320)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet of random weights with two presets."""
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        intermediate_size=48,
        max_positions=CONTEXT,
    )
    teacher = Decoder(shape)
    teacher.reset_parameters(0)
    bank = MixersConfig(S=SlidingWindowConfig(window_tokens=8), K=KdaConfig(), G=GdnConfig())
    supernet = add_mixers(teacher, bank, seed=1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)  # else every token is as likely as any other
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save(folder)
    save_model(supernet, folder)
    Presets(
        [
            Preset(name="full", placement=Placement("FF")),
            Preset(name="fast", placement=Placement("GS")),
        ]
    ).save(folder)
    return folder


@pytest.fixture
def engine(model: Path, tokenizer: Tokenizer) -> Engine:
    return Engine(model, tokenizer)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve files, three of them for training."""
    path = tmp_path_factory.mktemp("corpus") / "files.jsonl"
    rows = [
        {"path": name, "split": "train" if number < 3 else "heldout", "content": content}
        for number, (name, content) in enumerate(TEXTS.items())
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
