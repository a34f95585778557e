"""Surgery: what the new mixers take over from attention, for every kind of teacher and mixer."""

import functools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from derailleur.errors import CheckpointError, ConfigError
from derailleur.model import (
    Decoder,
    DecoderConfig,
    FullAttentionConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
    add_mixers,
)
from derailleur.model.mixers.linearise import _overlaps
from derailleur.model.surgery import _constant

WINDOW = 12
MIXERS = MixersConfig(S=SlidingWindowConfig(window_tokens=WINDOW), K=KdaConfig(), G=GdnConfig())
DIM = 8

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": DIM,
    "intermediate_size": 40,
    "max_positions": 48,
}
TEACHERS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "multi_head": {"num_kv_heads": 4},
    "multi_query": {"num_kv_heads": 1},
    "six_heads": {"num_heads": 6, "num_kv_heads": 3},
    "qwen2": {"attention_bias": True},
    "qwen3": {"qk_norm": True, "tie_embeddings": False},
    "windowed": {"mixers": MixersConfig(F=FullAttentionConfig(window_tokens=20, first_window_layer=1))},
    "starcoder2": {
        "norm": "layer",
        "mlp": "plain",
        "activation": "gelu_tanh",
        "mlp_bias": True,
        "attention_bias": True,
        "attention_output_bias": True,
    },
    "gpt_bigcode": {
        "num_kv_heads": 1,
        "positions": "learned",
        "norm": "layer",
        "mlp": "plain",
        "activation": "gelu_tanh",
        "mlp_bias": True,
        "attention_bias": True,
        "attention_output_bias": True,
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sigmoid": {"gate_activation": "sigmoid"},
    "no_gate_bias": {"gate_bias": False},
    "no_gate_bias_sigmoid": {"gate_bias": False, "gate_activation": "sigmoid"},
    "one_key_head": {"num_key_heads": 1},
    "two_key_heads": {"num_key_heads": 2, "gate_bias": False},
    "more_value_heads": {"num_value_heads": 8},
    "fewer_value_heads": {"num_value_heads": 2, "num_key_heads": 1},
    "uneven_value_heads": {"num_value_heads": 3},
    "negative_eigenvalues": {"negative_eigenvalues": True},
    "long_convolution": {"convolution_tokens": 6},
}


@functools.cache
def make_teacher(kind: str) -> Decoder:
    """A random teacher with random norms and biases, and inputs with a common mean, as trained ones have."""
    decoder = Decoder(DecoderConfig(**{**SIZES, **TEACHERS[kind]}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if name.endswith("norm.weight") else 0.2 * noise)
        decoder.embed.weight += 0.1 * torch.randn(32, generator=generator)
    return decoder.eval()


def recurrent(**settings: Any) -> MixersConfig:
    return MixersConfig(K=KdaConfig(**settings), G=GdnConfig(**settings))


def seen_by(decoder: Decoder, length: int = 40) -> tuple[list[Tensor], list[Tensor], Any]:
    tokens = torch.randint(0, 61, (3, length), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        out = decoder(tokens, collect=True)
    return out.mixer_inputs, out.mixer_outputs, decoder.rotary.sequence(length)


@pytest.fixture(scope="module")
def teacher() -> Decoder:
    return make_teacher("grouped")


@pytest.fixture(scope="module")
def fresh(teacher: Decoder) -> Decoder:
    return add_mixers(teacher, MIXERS, seed=1).eval()


@torch.no_grad()
def assert_none_is_silent(decoder: Decoder) -> None:
    """In no layer and at no token."""
    inputs, outputs, rotary = seen_by(decoder)
    for layer, x, full in zip(decoder.layers, inputs, outputs, strict=True):
        for letter in "KG":
            mixer = layer.mixer(letter)
            ours = mixer(x, rotary)
            assert 0.1 < ours.norm() / full.norm() < 10, letter
            assert ours.norm(dim=-1).min() > 1e-4 * full.norm(dim=-1).mean(), letter
            gate = mixer.project(x).gate
            gate = gate if mixer.gate_bias is None else gate + mixer.gate_bias
            opened = F.silu(gate) if mixer.settings.gate_activation == "silu" else gate.sigmoid()
            assert 0.2 < opened.mean() < 2, letter


@pytest.mark.parametrize("kind", TEACHERS)
def test_no_mixer_starts_silent_whatever_the_teacher(kind: str) -> None:
    teacher = make_teacher(kind)
    assert_none_is_silent(add_mixers(teacher, recurrent(), seed=1).eval())
    assert_none_is_silent(add_mixers(teacher, recurrent(gate_bias=False), seed=1).eval())


@pytest.mark.parametrize("settings", SETTINGS)
def test_no_mixer_starts_silent_whatever_its_settings(teacher: Decoder, settings: str) -> None:
    assert_none_is_silent(add_mixers(teacher, recurrent(**SETTINGS[settings]), seed=1).eval())


@pytest.mark.parametrize("kind", TEACHERS)
@torch.no_grad()
def test_full_attention_everywhere_is_the_teacher_bit_for_bit(kind: str) -> None:
    teacher = make_teacher(kind)
    supernet = add_mixers(teacher, MIXERS, seed=1).eval()
    tokens = torch.randint(0, 61, (2, 40), generator=torch.Generator().manual_seed(4))
    assert torch.equal(supernet(tokens).logits, teacher(tokens).logits)
    assert supernet.config.mixers.F == teacher.config.mixers.F


@pytest.mark.parametrize("kind", TEACHERS)
@torch.no_grad()
def test_sliding_window_equals_attention_within_the_window(kind: str) -> None:
    decoder = add_mixers(make_teacher(kind), MIXERS, seed=1).eval()
    inputs, outputs, rotary = seen_by(decoder, WINDOW)
    for layer, x, full in zip(decoder.layers, inputs, outputs, strict=True):
        torch.testing.assert_close(layer.mixer("S")(x, rotary), full, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("letter", ["K", "G"])
@torch.no_grad()
def test_heads_are_paired_as_grouped_attention_pairs_them(fresh: Decoder, letter: str) -> None:
    """With 4 heads over 2 key-value heads, heads 0 and 1 share the first, 2 and 3 the second."""
    attention, mixer = fresh.layers[0].mixer("F"), fresh.layers[0].mixer(letter)
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    q, k, v = mixer.project(x).qkv.unflatten(-1, (3, 4, DIM)).unbind(-3)
    queries = attention.q_proj(x).unflatten(-1, (4, DIM))
    keys, values = (
        projection(x).unflatten(-1, (2, DIM)) for projection in (attention.k_proj, attention.v_proj)
    )
    for head in range(4):
        torch.testing.assert_close(q[:, :, head], queries[:, :, head])
        torch.testing.assert_close(k[:, :, head], keys[:, :, head // 2])
        torch.testing.assert_close(v[:, :, head], values[:, :, head // 2])
    assert torch.equal(mixer.out_proj.weight, attention.o_proj.weight)


@pytest.mark.parametrize(
    ("key_heads", "value_heads"), [(1, 4), (2, 4), (4, 4), (1, 2), (2, 2), (4, 8), (3, 3)]
)
@pytest.mark.parametrize("kind", ["grouped", "multi_query", "multi_head"])
@torch.no_grad()
def test_any_number_of_heads_stands_for_those_in_its_place(
    kind: str, key_heads: int, value_heads: int
) -> None:
    """Each of 24 equal pieces belongs to one head of every kind; a new head is the mean over its pieces."""
    settings = {"num_key_heads": key_heads, "num_value_heads": value_heads}
    layer = add_mixers(make_teacher(kind), recurrent(**settings), seed=1).layers[1]
    attention, pieces = layer.mixer("F"), 24

    def head_at(piece: int, num_heads: int) -> int:
        return piece * num_heads // pieces

    def mean_of(weight: Tensor, new: int, num_new: int, num_old: int) -> Tensor:
        old = weight.view(num_old, DIM, 32)
        mine = [old[head_at(p, num_old)] for p in range(pieces) if head_at(p, num_new) == new]
        return sum(mine) / len(mine)

    for letter in "KG":
        mixer = layer.mixer(letter)
        projection = mixer.in_proj_qkvz if letter == "G" else mixer.in_proj_qkv
        found = projection.weight[: mixer.qkv_size].view(-1, DIM, 32)
        kv_heads = attention.num_kv_heads
        expected = [mean_of(attention.q_proj.weight, h, key_heads, 4) for h in range(key_heads)]
        expected += [mean_of(attention.k_proj.weight, h, key_heads, kv_heads) for h in range(key_heads)]
        expected += [mean_of(attention.v_proj.weight, h, value_heads, kv_heads) for h in range(value_heads)]
        torch.testing.assert_close(found, torch.stack(expected))
        out = torch.zeros(32, value_heads, DIM)
        old = attention.o_proj.weight.view(32, 4, DIM)
        for p in range(pieces):
            out[:, head_at(p, value_heads)] += old[:, head_at(p, 4)] / (pieces / 4)
        torch.testing.assert_close(mixer.out_proj.weight, out.flatten(1))


@given(st.integers(1, 12), st.integers(1, 12))
def test_overlaps_cut_one_line_twice(count: int, others: int) -> None:
    overlaps = _overlaps(count, others)
    assert (overlaps.sum(1) == others).all()
    assert (overlaps.sum(0) == count).all()
    assert torch.equal(overlaps.T, _overlaps(others, count))


def linear_attention(mixer: Any, x: Tensor, beta: float) -> Tensor:
    """sum over s <= t of beta decay^(t - s) (q_t . k_s) v_s, normed, gated and projected, all in loops.

    What the delta rule tends to as the write strength goes to zero.
    """
    q, k, v = F.silu(mixer.project(x).qkv * mixer.convolution.weight[:, 0, -1]).split(
        [mixer.key_size, mixer.key_size, mixer.value_size], -1
    )
    heads, group = mixer.num_value_heads, mixer.num_value_heads // mixer.num_key_heads
    decay = (-F.softplus(mixer.dt_bias)).exp().view(heads, -1)
    rows = []
    for t in range(x.shape[1]):
        parts = []
        for h in range(heads):
            keys, values = slice(h // group * DIM, (h // group + 1) * DIM), slice(h * DIM, (h + 1) * DIM)
            total = torch.zeros(DIM)
            for s in range(t + 1):
                score = F.normalize(q[0, t, keys], dim=0) * decay[h] ** (t - s)
                total += beta * (score @ F.normalize(k[0, s, keys], dim=0)) * v[0, s, values] / DIM**0.5
            parts.append(total * (total.square().mean() + mixer.norm.eps).rsqrt() * mixer.norm.weight)
        rows.append(torch.cat(parts))
    gate = mixer.project(x).gate + mixer.gate_bias
    return mixer.out_proj(torch.stack(rows).unsqueeze(0) * F.silu(gate))


@pytest.mark.parametrize("letter", ["K", "G"])
@pytest.mark.parametrize("key_heads", [2, 4])
@torch.no_grad()
def test_with_little_writing_it_is_the_linear_attention_of_the_weights(
    teacher: Decoder, letter: str, key_heads: int
) -> None:
    decoder = add_mixers(teacher, recurrent(num_key_heads=key_heads), seed=1).eval()
    mixer, (inputs, _, rotary) = decoder.layers[1].mixer(letter), seen_by(decoder, 20)
    x = inputs[1][:1]
    # A channel that is always 1 makes the write strength exactly what is wanted, the decay a constant.
    x[..., 0] = 1
    for linear in (mixer.in_proj_ba,) if letter == "G" else (mixer.f_proj, mixer.in_proj_fgb):
        linear.weight.zero_()
    beta = 1e-2
    write = mixer.in_proj_ba if letter == "G" else mixer.in_proj_fgb
    rows = slice(0, 4) if letter == "G" else slice(2 * DIM, None)
    write.weight[rows, 0] = math.log(beta / (1 - beta))
    mixer.norm.eps = 1e-12  # or the tiny outputs would drown in it
    expected = linear_attention(mixer, x, beta)
    similarity = F.cosine_similarity(mixer(x, rotary), expected, dim=-1)
    assert similarity.min() > 0.99


@torch.no_grad()
def test_rates_start_where_they_are_said_to(teacher: Decoder) -> None:
    decoder = add_mixers(teacher, recurrent(), seed=1)
    for letter in "KG":
        mixer = decoder.layers[0].mixer(letter)
        decay = (mixer.A_log.exp().view(-1, 1) * F.softplus(mixer.dt_bias).view(4, -1)).flatten()
        assert decay.max().item() == pytest.approx(1 / 8, rel=1e-4)
        assert decay.min().item() == pytest.approx(1 / 256, rel=1e-4)


@torch.no_grad()
def test_negative_eigenvalues_and_a_decay_bound_start_as_the_plain_mixer_does(teacher: Decoder) -> None:
    bounded = MixersConfig(
        K=KdaConfig(negative_eigenvalues=True, decay_lower_bound=-5.0), G=GdnConfig(negative_eigenvalues=True)
    )
    plain, other = (add_mixers(teacher, mixers, seed=1) for mixers in (recurrent(), bounded))
    inputs, _, _ = seen_by(plain)
    for x, ours, theirs in zip(inputs, plain.layers, other.layers, strict=True):
        for letter in "KG":
            a, b = (layer.mixer(letter) for layer in (ours, theirs))
            (write, decay), (other_write, other_decay) = (m._rates(m.project(x)) for m in (a, b))
            assert write.mean().item() == pytest.approx(0.5, abs=0.02)
            assert other_write.mean().item() == pytest.approx(0.5, abs=0.1)
            torch.testing.assert_close(other_decay.mean((0, 1)), decay.mean((0, 1)), rtol=0.05, atol=1e-3)


@torch.no_grad()
def test_a_window_bounds_the_memory_of_its_layers() -> None:
    decoder = add_mixers(make_teacher("windowed"), recurrent(), seed=1)
    slowest = [F.softplus(layer.mixer("G").dt_bias).min().item() for layer in decoder.layers]
    assert slowest == pytest.approx([1 / 256, 1 / 20], rel=1e-4)


@torch.no_grad()
def test_the_constant_reads_one_off_inputs_of_a_common_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(16, generator=generator)
    x = mean + 0.5 * torch.randn(500, 16, generator=generator)
    projected = x @ _constant(x)
    assert projected.mean().item() == pytest.approx(1, abs=1e-3)
    assert projected.std() < 0.2


@torch.no_grad()
def test_biases_and_norms_of_queries_and_values_are_taken_along() -> None:
    """Of the projections' biases what is constant, of the norms' weights each channel's."""
    decoder = add_mixers(make_teacher("qwen2"), recurrent(), seed=1)
    attention, mixer = (decoder.layers[0].mixer(letter) for letter in "FG")
    inputs, _, _ = seen_by(decoder)
    mean = inputs[0].mean((0, 1))
    q, k, _ = mixer.in_proj_qkvz.weight[: mixer.qkv_size].chunk(3)
    with_bias = attention.q_proj(mean)
    assert F.cosine_similarity(q @ mean, with_bias, dim=0) > 0.95
    assert torch.equal(k.view(4, DIM, 32)[::2].flatten(0, 1), attention.k_proj.weight)

    decoder = add_mixers(make_teacher("qwen3"), recurrent(), seed=1)
    attention, mixer = (decoder.layers[0].mixer(letter) for letter in "FG")
    normed = attention.q_norm(attention.q_proj(inputs[0]).unflatten(-1, (4, DIM)))
    q = mixer.project(inputs[0]).qkv[..., : mixer.key_size].unflatten(-1, (4, DIM))
    torch.testing.assert_close(F.normalize(q, dim=-1), F.normalize(normed, dim=-1), atol=1e-4, rtol=1e-4)


def test_the_same_seed_gives_the_same_supernet(teacher: Decoder) -> None:
    one, two, three = (add_mixers(teacher, recurrent(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)


def test_a_supernet_is_no_teacher(fresh: Decoder) -> None:
    with pytest.raises(CheckpointError, match="mixer F alone"):
        add_mixers(fresh, MIXERS, seed=0)


def test_heads_of_another_width_are_refused_by_name(teacher: Decoder) -> None:
    with pytest.raises(ConfigError, match=r"mixers\.G\.head_dim.* 8 wide, got 16"):
        add_mixers(teacher, MixersConfig(G=GdnConfig(head_dim=16)), seed=0)
    same = add_mixers(teacher, MixersConfig(G=GdnConfig(head_dim=DIM)), seed=0)
    assert same.layers[0].mixer("G").head_dim == DIM
