"""Learned positions in the engine: they come from the request, and end where the table ends."""

import pytest
import torch

from derailleur.engine import Engine, EngineConfig, Request
from derailleur.errors import CapacityError
from derailleur.model import Decoder, DecoderConfig, GdnConfig, KdaConfig, MixersConfig, SlidingWindowConfig
from derailleur.placement import Placement

LIMIT = 160


class NoText:
    """Tokens without text; none ends it."""

    eos_id = -1

    def decode_bytes(self, ids: object) -> bytes:
        return b""


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    config = DecoderConfig(
        vocab_size=97,
        hidden_size=32,
        num_layers=4,
        num_heads=4,
        num_kv_heads=1,
        head_dim=8,
        intermediate_size=64,
        max_positions=LIMIT,
        positions="learned",
        norm="layer",
        mlp="plain",
        activation="gelu_tanh",
        attention_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        mixers=MixersConfig(S=SlidingWindowConfig(window_tokens=12), K=KdaConfig(), G=GdnConfig()),
    )
    torch.manual_seed(0)
    made = Decoder(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.2, generator=generator)
    return made.eval()


@torch.inference_mode()
def continued(decoder: Decoder, prompt: list[int], placement: Placement, count: int) -> list[int]:
    """The oracle: a whole forward pass for every token."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(decoder(torch.tensor([tokens]), placement).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("draft", [None, "GGGG"])
def test_greedy_texts_up_to_the_last_position(decoder: Decoder, draft: str | None) -> None:
    """Prompts of several lengths in one batch, read in pieces, some rows finished before others."""
    generator = torch.Generator().manual_seed(2)
    prompts = [torch.randint(97, (n,), generator=generator).tolist() for n in (1, 40, 130)]
    placements = [Placement(letters) for letters in ("FFFF", "FSKG", "SKGF")]
    engine = Engine(decoder, NoText(), EngineConfig(prefill_tokens=48))
    ids = [
        engine.submit(
            Request(
                prompt=prompt,
                placement=placement,
                max_tokens=30,
                ignore_eos=True,
                draft=None if draft is None else Placement(draft),
            )
        )
        for prompt, placement in zip(prompts, placements, strict=True)
    ]
    texts: dict[int, list[int]] = {request: [] for request in ids}
    while engine.busy:
        for delta in engine.step():
            texts[delta.request_id] += delta.tokens
    for request, prompt, placement in zip(ids, prompts, placements, strict=True):
        assert texts[request] == continued(decoder, prompt, placement, 30)


def test_what_reaches_beyond_the_table_is_refused(decoder: Decoder) -> None:
    with pytest.raises(
        CapacityError, match="161 tokens are too many: the model's learned positions end at 160"
    ):
        Engine(decoder, NoText(), EngineConfig(max_context=LIMIT + 1))
    engine = Engine(decoder, NoText(), EngineConfig())
    with pytest.raises(CapacityError, match="together 161; the context is 160"):
        engine.submit(Request(prompt=[1] * 100, placement=Placement("FFFF"), max_tokens=61))
    with pytest.raises(CapacityError, match="learned positions end at 160"):
        engine.decode_speed(Placement("FFFF"), 2, LIMIT)
    assert engine.decode_speed(Placement("FFFF"), 2, 64, steps=2, warmup=1).tokens_per_second > 0
