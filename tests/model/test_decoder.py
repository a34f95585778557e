"""The decoder: placements, gradients, weight initialisation."""

import pytest
import torch

from derailleur.config import validate
from derailleur.errors import CapacityError, ConfigError, PlacementError
from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
    add_mixers,
)
from derailleur.placement import Placement


@pytest.fixture(scope="module")
def learned(teacher: Decoder) -> Decoder:
    """A supernet of the other family: LayerNorm, learned positions, a plain MLP, biases, multi-query."""
    changes = {
        "positions": "learned",
        "max_positions": 100,
        "norm": "layer",
        "mlp": "plain",
        "activation": "gelu_tanh",
        "mlp_bias": True,
        "attention_bias": True,
        "attention_output_bias": True,
        "num_kv_heads": 1,
        "head_dim": 7,
    }
    decoder = Decoder(validate(DecoderConfig, teacher.config.model_dump() | changes))
    decoder.reset_parameters(0)
    assert all((p == 0).all() for name, p in decoder.named_parameters() if name.endswith(".bias"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    mixers = MixersConfig(S=SlidingWindowConfig(window_tokens=12), K=KdaConfig(), G=GdnConfig())
    return add_mixers(decoder, mixers, seed=2).eval()


@torch.no_grad()
def test_default_placement_is_the_teacher(teacher: Decoder, supernet: Decoder, tokens: torch.Tensor) -> None:
    """All-FA of a supernet equals its teacher bit for bit."""
    expected = teacher(tokens).logits
    assert torch.equal(supernet(tokens).logits, expected)
    assert torch.equal(supernet(tokens, Placement("FFFF")).logits, expected)


@torch.no_grad()
def test_every_layer_uses_its_own_mixer(supernet: Decoder, tokens: torch.Tensor) -> None:
    seen = [supernet(tokens, Placement(p)).logits for p in ("FFFF", "SFFF", "FFFS", "KFFF", "GFFF", "FGFF")]
    for i, a in enumerate(seen):
        for b in seen[i + 1 :]:
            assert not torch.allclose(a, b)


def test_only_the_placement_gets_gradients(supernet: Decoder, tokens: torch.Tensor) -> None:
    supernet.zero_grad(set_to_none=True)
    supernet(tokens, Placement("FSKG")).logits.square().mean().backward()
    used = {
        n.split(".")[1] + n.split(".")[3]
        for n, p in supernet.named_parameters()
        if "mixers" in n and p.grad is not None
    }
    assert used == {"0fa", "1swa", "2kda", "3gdn"}
    for name, parameter in supernet.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0, name
    supernet.zero_grad(set_to_none=True)


@torch.no_grad()
def test_collect_gives_what_the_mixers_saw(supernet: Decoder, tokens: torch.Tensor) -> None:
    out = supernet(tokens, Placement("FSKG"), collect=True)
    table = supernet.rotary.sequence(tokens.shape[1])
    for layer, letter, seen, mixed in zip(
        supernet.layers, "FSKG", out.mixer_inputs, out.mixer_outputs, strict=True
    ):
        assert torch.equal(layer.mixer(letter)(seen, table), mixed)


def test_wrong_placements_are_refused(teacher: Decoder, tokens: torch.Tensor) -> None:
    with pytest.raises(PlacementError, match="3 layers, not 4"):
        teacher(tokens, Placement("FFF"))
    with pytest.raises(PlacementError, match="mixer 'G' is not in this layer; it has fa"):
        teacher(tokens, Placement("FFFG"))


def test_seeds_alone_decide_the_weights(supernet: Decoder) -> None:
    """And not how many numbers were drawn before, by another test for example."""
    first, again, other = (Decoder(supernet.config) for _ in range(3))
    for decoder, seed in ((first, 0), (again, 0), (other, 1)):
        decoder.reset_parameters(seed)
    weights = dict(first.named_parameters())
    for name, weight in again.named_parameters():
        assert torch.equal(weight, weights[name]), name
    for name, weight in other.named_parameters():
        constant = "norm" in name or (name.endswith("bias") and "dt_bias" not in name)
        assert constant or not torch.equal(weight, weights[name]), name


def test_heads_must_fit(teacher: Decoder) -> None:
    values = teacher.config.model_dump()
    with pytest.raises(ConfigError, match="num_heads 4 is not a multiple of num_kv_heads 3"):
        validate(DecoderConfig, values | {"num_kv_heads": 3})


def test_odd_heads_cannot_be_rotated(teacher: Decoder) -> None:
    values = teacher.config.model_dump() | {"head_dim": 7}
    with pytest.raises(ConfigError, match="head_dim 7 is odd"):
        validate(DecoderConfig, values)
    assert validate(DecoderConfig, values | {"positions": "learned"}).head_dim == 7


@torch.no_grad()
@pytest.mark.parametrize("letters", ["FFFF", "SSSS", "KKKK", "GGGG", "FSKG"])
@pytest.mark.parametrize("family", ["supernet", "learned"])
def test_packed_documents_are_apart(
    family: str, letters: str, tokens: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    """Each document's logits are those it has alone: nothing leaks, and its positions start at 0."""
    decoder, placement = request.getfixturevalue(family), Placement(letters)
    lengths = [1, 33, 2, 44]
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    packed = decoder(tokens[:1], placement, cu_seqlens=bounds, collect=True)
    apart = [decoder(document, placement).logits for document in tokens[:1].split(lengths, 1)]
    torch.testing.assert_close(packed.logits, torch.cat(apart, 1), atol=1e-4, rtol=1e-4)
    assert len(packed.mixer_outputs) == 4
    assert not torch.allclose(packed.logits, decoder(tokens[:1], placement).logits, atol=1e-3)


@torch.no_grad()
def test_learned_positions_matter_and_end(learned: Decoder, tokens: torch.Tensor) -> None:
    same = tokens[:1, :1].expand(1, 9)
    logits = learned(same, Placement("FFFF")).logits
    assert not torch.allclose(logits[:, 0], logits[:, 1], atol=1e-3)
    long = tokens[:1].repeat(1, 2)[:, :101]
    with pytest.raises(
        CapacityError, match="101 tokens are too many: the model's learned positions end at 100"
    ):
        learned(long)
    assert learned(long[:, :100]).logits.shape == (1, 100, 97)
    assert learned(long, cu_seqlens=torch.tensor([0, 50, 101])).logits.shape == (1, 101, 97)


def test_the_other_family_learns(learned: Decoder, tokens: torch.Tensor) -> None:
    learned.zero_grad(set_to_none=True)
    learned(tokens, Placement("FSKG")).logits.square().mean().backward()
    silent = {name for name, p in learned.named_parameters() if p.grad is None}
    assert all("mixers." in name for name in silent)
    assert learned.position_embed is not None and learned.position_embed.weight.grad is not None
    assert learned.position_embed.weight.grad[:80].abs().sum(-1).gt(0).all()
    learned.zero_grad(set_to_none=True)
