"""Small random supernets for the model's tests."""

import pytest
import torch

from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
    add_mixers,
)

WINDOW = 12


@pytest.fixture(scope="session")
def teacher() -> Decoder:
    config = DecoderConfig(
        vocab_size=97,
        hidden_size=32,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        intermediate_size=48,
        max_positions=256,
    )
    decoder = Decoder(config)
    decoder.reset_parameters(0)
    return decoder.eval()


@pytest.fixture(scope="session")
def supernet(teacher: Decoder) -> Decoder:
    """A supernet whose mixers are shaken, so that no weight is zero and no two mixers agree."""
    mixers = MixersConfig(
        S=SlidingWindowConfig(window_tokens=WINDOW),
        K=KdaConfig(gate_activation="sigmoid"),
        G=GdnConfig(),
    )
    decoder = add_mixers(teacher, mixers, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if "mixers." in name and "mixers.fa." not in name:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return decoder.eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 97, (3, 80), generator=torch.Generator().manual_seed(3))
