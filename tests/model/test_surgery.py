"""Surgery: what the new mixers take over from attention."""

import pytest
import torch
import torch.nn.functional as F

from derailleur.errors import CheckpointError
from derailleur.model import Decoder, GdnConfig, KdaConfig, MixersConfig, SlidingWindowConfig, add_mixers

MIXERS = MixersConfig(S=SlidingWindowConfig(window_tokens=12), K=KdaConfig(), G=GdnConfig())


@pytest.fixture(scope="module")
def fresh(teacher: Decoder) -> Decoder:
    return add_mixers(teacher, MIXERS, seed=1).eval()


@torch.no_grad()
def test_no_mixer_starts_silent(fresh: Decoder, tokens: torch.Tensor) -> None:
    out = fresh(tokens, collect=True)
    table = fresh.rotary.sequence(tokens.shape[1])
    for layer, seen, full in zip(fresh.layers, out.mixer_inputs, out.mixer_outputs, strict=True):
        for letter in "SKG":
            ratio = layer.mixer(letter)(seen, table).norm() / full.norm()
            assert 0.2 < ratio < 10, letter


@torch.no_grad()
def test_sliding_window_equals_attention_within_the_window(fresh: Decoder, tokens: torch.Tensor) -> None:
    out = fresh(tokens[:, :12], collect=True)
    table = fresh.rotary.sequence(12)
    for layer, seen, full in zip(fresh.layers, out.mixer_inputs, out.mixer_outputs, strict=True):
        torch.testing.assert_close(layer.mixer("S")(seen, table), full, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("letter", ["K", "G"])
def test_heads_are_paired_as_grouped_attention_pairs_them(fresh: Decoder, letter: str) -> None:
    """With 4 heads over 2 key-value heads, heads 0 and 1 share the first, 2 and 3 the second."""
    layer = fresh.layers[0]
    attention, mixer = layer.mixer("F"), layer.mixer(letter)
    x = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(0))
    qkv = F.silu(mixer.project(x).qkv)
    q, k, v = mixer._heads(qkv)
    kv = F.silu(attention.v_proj(x)).view(2, 8)
    for head in range(4):
        torch.testing.assert_close(v[0, 0, head], kv[head // 2])
        key = F.silu(attention.k_proj(x)).view(2, 8)[head // 2]
        torch.testing.assert_close(k[0, 0, head], F.normalize(key, dim=-1))
        query = F.silu(attention.q_proj(x)).view(4, 8)[head]
        torch.testing.assert_close(q[0, 0, head], F.normalize(query, dim=-1))


def test_a_supernet_is_no_teacher(fresh: Decoder) -> None:
    with pytest.raises(CheckpointError, match="mixer F alone"):
        add_mixers(fresh, MIXERS, seed=0)
