"""Small checkpoint folders with a tokenizer, and the decoders in them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
    save_model,
)
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, Presets
from derailleur.tokens import Tokenizer

SOURCE = "def read(path):\n    with open(path) as stream:\n        return stream.read()\n"


def shaken(decoder: Decoder, seed: int) -> Decoder:
    """No weight zero and no two mixers alike; large enough that greedy text has no ties."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return decoder.eval()


@pytest.fixture(scope="session")
def shake() -> Callable[[Decoder, int], Decoder]:
    """A function that shakes a decoder's weights by a seed."""
    return shaken


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([SOURCE * 3], vocab_size=300)


@pytest.fixture(scope="session")
def supernet(tokenizer: Tokenizer) -> Decoder:
    mixers = MixersConfig(
        S=SlidingWindowConfig(window_tokens=12), K=KdaConfig(gate_activation="sigmoid"), G=GdnConfig()
    )
    config = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        intermediate_size=48,
        max_positions=512,
        mixers=mixers,
    )
    decoder = Decoder(config)
    decoder.reset_parameters(0)
    return shaken(decoder, 1)


@pytest.fixture(scope="session")
def presets() -> Presets:
    placements = {"full": "FFFF", "mixed": "FSKG", "fast": "GGKG"}
    return Presets([Preset(name=name, placement=Placement(x)) for name, x in placements.items()])


@pytest.fixture(scope="session")
def folder(
    supernet: Decoder, presets: Presets, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A supernet's folder as `derailleur run` leaves it."""
    made = tmp_path_factory.mktemp("hf")
    tokenizer.save(made / "tokenizer")
    presets.save(made / "model")
    save_model(supernet, made / "model", tokenizer_from=made / "tokenizer")
    return made / "model"
