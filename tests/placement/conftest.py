"""A small supernet whose mixers differ, with its tokens, and an engine whose clock is a formula."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from derailleur.engine import DecodeSpeed, Engine
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
from derailleur.placement.placement import Placement
from derailleur.tokens import TokenizeConfig, tokenize

NUM_LAYERS = 3


@pytest.fixture(scope="session")
def tokens_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of made-up source files, a third of them held out."""
    folder = tmp_path_factory.mktemp("tokens")
    rng = random.Random(0)
    rows = []
    for index in range(12):
        lines = [f"def f{rng.randrange(40)}(x): return x * {rng.randrange(100)}" for _ in range(60)]
        split = "heldout" if index % 3 == 0 else "train"
        rows.append({"id": str(index), "path": f"{index}.py", "content": "\n".join(lines), "split": split})
    source = folder / "documents.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenize(TokenizeConfig(vocab_size=300), source, folder / "out")
    return folder / "out"


@pytest.fixture(scope="session")
def teacher() -> Decoder:
    config = DecoderConfig(
        vocab_size=300,
        hidden_size=16,
        num_layers=NUM_LAYERS,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        intermediate_size=24,
        max_positions=128,
    )
    decoder = Decoder(config)
    decoder.reset_parameters(0)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter *= 3  # so that mixers matter to the logits of an untrained model
    return decoder.eval()


@pytest.fixture(scope="session")
def teacher_folder(teacher: Decoder, tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    save_model(teacher, folder, tokenizer_from=tokens_folder)
    return folder


@pytest.fixture(scope="session")
def supernet(teacher: Decoder) -> Decoder:
    mixers = MixersConfig(S=SlidingWindowConfig(window_tokens=8), K=KdaConfig(), G=GdnConfig())
    return add_mixers(teacher, mixers, seed=1).eval()


@pytest.fixture(scope="session")
def supernet_folder(supernet: Decoder, tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet") / "model"
    save_model(supernet, folder, tokenizer_from=tokens_folder)
    return folder


Seconds = Callable[[Placement, int, int], float]


@pytest.fixture(scope="module")
def formula_seconds() -> Iterator[Seconds]:
    """Engines tell seconds of a step by a formula: full attention grows with the context alone."""

    def seconds_per_step(placement: Placement, batch: int, context: int) -> float:
        layer = {"F": context / 1000, "S": 0.5, "K": 0.25, "G": 0.2}
        return 0.1 + batch * sum(layer[letter] for letter in placement)

    def decode_speed(
        self: Engine, placement: Placement, batch: int, context_tokens: int, *, steps: int, warmup: int
    ) -> DecodeSpeed:
        seconds = seconds_per_step(placement, batch, context_tokens)
        return DecodeSpeed(placement, batch, context_tokens, seconds, batch / seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "decode_speed", decode_speed)
        yield seconds_per_step
