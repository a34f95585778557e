"""A teacher whose upper layers attend in a window: their slots are rings, and texts stay the same."""

import math
from collections.abc import Sequence

import pytest
import torch

from derailleur.engine import Engine, EngineConfig
from derailleur.engine.memory import Claim, StateMemory
from derailleur.model import Decoder, DecoderConfig, FullAttentionConfig, GdnConfig, MixersConfig
from derailleur.model.mixers import PAGE_TOKENS
from derailleur.placement import Placement

WINDOW, LAYERS, EOS = 12, 4, 96


class NoText:
    eos_id = EOS

    def decode_bytes(self, ids: object) -> bytes:
        return b""


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    """Layer 0 has full attention alone, layers 2 and 3 are windowed, layer 3 has GDN too."""
    config = DecoderConfig(
        vocab_size=EOS + 1,
        hidden_size=32,
        num_layers=LAYERS,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        intermediate_size=48,
        max_positions=256,
        mixers=MixersConfig(F=FullAttentionConfig(window_tokens=WINDOW, first_window_layer=2), G=GdnConfig()),
        banks=("F", "F", "F", "FG"),
    )
    torch.manual_seed(0)
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.25)
    return decoder.eval()


def test_upper_layers_have_rings(decoder: Decoder) -> None:
    memory = StateMemory(decoder, 1 << 30, torch.float32, torch.device("cpu"))
    states = memory.allocate([Claim(Placement("FFFG"), 1_000)])
    assert states is not None
    whole = math.ceil(1_000 / PAGE_TOKENS)
    assert [len(table.entries) for table in states[0].tables][:2] == [whole, whole]
    assert len(states[0].tables[2].entries) < whole / 4


@pytest.mark.parametrize("draft", [None, "FFFG"])
def test_texts_equal_whole_passes(decoder: Decoder, draft: str | None) -> None:
    def continued(prompt: Sequence[int], max_tokens: int) -> list[int]:
        tokens = list(prompt)
        with torch.inference_mode():
            while len(tokens) < len(prompt) + max_tokens and tokens[-1] != EOS:
                tokens.append(int(decoder(torch.tensor([tokens])).logits[0, -1].argmax()))
        return tokens[len(prompt) :]

    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(EOS, (n,), generator=generator).tolist() for n in (3, 70)]
    engine = Engine(decoder, NoText(), EngineConfig(prefill_tokens=40))
    answers = engine.generate(
        prompts,
        placement=Placement("FFFF"),
        max_tokens=40,
        draft=None if draft is None else Placement(draft),
    )
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.tokens == continued(prompt, 40)
