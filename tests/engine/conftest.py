"""A small random supernet with a tokenizer of bytes, and the plain way to continue a prompt."""

from collections.abc import Callable, Iterable, Sequence

import pytest
import torch

from derailleur.engine import Engine, EngineConfig
from derailleur.model import (
    Decoder,
)
from derailleur.placement import Placement

EOS = 256


class ByteTokenizer:
    """Every byte is a token; the last id ends a text."""

    eos_id = EOS

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return bytes(i for i in ids if i < EOS)


@pytest.fixture(scope="session")
def supernet(make_supernet: Callable[..., Decoder]) -> Decoder:
    return make_supernet(EOS + 1)


@pytest.fixture
def make_engine(supernet: Decoder) -> Callable[..., Engine]:
    """An engine over the supernet or another model, with settings by name; it drafts whatever that costs."""
    return lambda model=supernet, **settings: Engine(
        model, ByteTokenizer(), EngineConfig(**{"drafting": "always", **settings})
    )


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine(prefill_tokens=48)


@pytest.fixture(scope="session")
def prompts() -> list[list[int]]:
    """Of 1, 5, 40 and 150 tokens."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(EOS, (n,), generator=generator).tolist() for n in (1, 5, 40, 150)]


@pytest.fixture(scope="session")
def continue_plainly(supernet: Decoder) -> Callable[[Sequence[int], Placement, int], list[int]]:
    """The oracle: a whole forward pass for every token, no state."""

    @torch.inference_mode()
    def continued(prompt: Sequence[int], placement: Placement, max_tokens: int) -> list[int]:
        tokens = list(prompt)
        while len(tokens) < len(prompt) + max_tokens and tokens[-1] != EOS:
            tokens.append(int(supernet(torch.tensor([tokens]), placement).logits[0, -1].argmax()))
        return tokens[len(prompt) :]

    return continued


@pytest.fixture(scope="session")
def assert_same_text(supernet: Decoder) -> Callable[[Sequence[int], Placement, list[int], list[int]], None]:
    """Greedy texts are equal, but where the likeliest two tokens were closer than 1e-3."""

    @torch.inference_mode()
    def check(prompt: Sequence[int], placement: Placement, text: list[int], expected: list[int]) -> None:
        if text == expected:
            return
        parted = next(i for i, pair in enumerate(zip(text, expected, strict=False)) if pair[0] != pair[1])
        logits = supernet(torch.tensor([[*prompt, *expected[:parted]]]), placement).logits[0, -1]
        best = logits.topk(2).values
        assert best[0] - best[1] < 1e-3, f"{text} != {expected} from place {parted} on"

    return check
