"""What all tests share."""

from collections.abc import Callable, Iterator

import pytest
import torch

from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Operations as small as those of tests lose by being shared; results do not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_supernet() -> Callable[..., Decoder]:
    """A random supernet for a vocabulary; further settings are the configuration's.

    Its weights are so large that texts vary and mixers disagree, its window is well under most prompts.
    """

    def make(vocab_size: int, **settings) -> Decoder:
        sizes = {
            "hidden_size": 64,
            "num_layers": 4,
            "num_heads": 4,
            "num_kv_heads": 2,
            "head_dim": 16,
            "intermediate_size": 96,
            "max_positions": 512,
        }
        mixers = MixersConfig(S=SlidingWindowConfig(window_tokens=12), K=KdaConfig(), G=GdnConfig())
        config = DecoderConfig(vocab_size=vocab_size, mixers=mixers, **(sizes | settings))
        torch.manual_seed(0)
        decoder = Decoder(config)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in decoder.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(std=0.15, generator=generator)
        return decoder.eval()

    return make
