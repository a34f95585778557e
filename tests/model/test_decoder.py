"""The decoder: placements, gradients, weight initialisation."""

import pytest
import torch

from derailleur.config import validate
from derailleur.errors import ConfigError, PlacementError
from derailleur.model import Decoder, DecoderConfig
from derailleur.placement import Placement


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
    with pytest.raises(PlacementError, match="mixer 'G' is not in this model"):
        teacher(tokens, Placement("FFFG"))


def test_seeds_decide_the_weights(teacher: Decoder) -> None:
    again, other = Decoder(teacher.config), Decoder(teacher.config)
    again.reset_parameters(0)
    other.reset_parameters(1)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), again.parameters(), strict=True))
    assert not torch.equal(teacher.embed.weight, other.embed.weight)


def test_heads_must_fit(teacher: Decoder) -> None:
    values = teacher.config.model_dump()
    with pytest.raises(ConfigError, match="num_heads 4 is not a multiple of num_kv_heads 3"):
        validate(DecoderConfig, values | {"num_kv_heads": 3})
