"""GDN and KDA against transformers' own modules of Qwen3-Next and Kimi Linear, with the same weights."""

import pytest
import torch
from torch import Tensor, nn
from transformers.models.kimi_linear.configuration_kimi_linear import KimiLinearConfig
from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention
from transformers.models.qwen3_next.configuration_qwen3_next import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from derailleur.model import DecoderConfig, GdnConfig, KdaConfig, MixersConfig
from derailleur.model.mixers import Gdn, Kda
from derailleur.model.rotary import RotaryTable

HIDDEN, DIM, KEY_HEADS, VALUE_HEADS, TAPS = 48, 16, 2, 6, 4
LENGTHS = [1, 5, 64, 130]
NO_ROTARY = RotaryTable(0, 1.0).sequence(1)


def configure(mixers: MixersConfig) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=8,
        hidden_size=HIDDEN,
        num_layers=1,
        num_heads=VALUE_HEADS,
        num_kv_heads=1,
        head_dim=DIM,
        intermediate_size=8,
        max_positions=8,
        mixers=mixers,
    )


def shake(module: nn.Module) -> None:
    """Weights of some size everywhere; decays that remember a few tokens to a few hundred."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if name.endswith("dt_bias"):
                parameter.sub_(3)
            elif "norm" in name:
                parameter.add_(1)


def by_key_head(flat: Tensor, sizes: list[int]) -> Tensor:
    """Rows in flat order, all of each kind together, to Qwen3-Next's: each key head's rows together."""
    parts = [part.unflatten(0, (KEY_HEADS, -1)) for part in flat.split(sizes)]
    return torch.cat(parts, 1).flatten(0, 1)


@pytest.fixture(scope="module")
def gdn() -> tuple[Gdn, nn.Module]:
    settings = GdnConfig(num_key_heads=KEY_HEADS, gate_bias=False, convolution_tokens=TAPS)
    ours = Gdn(configure(MixersConfig(G=settings)), 0)
    shake(ours)
    config = Qwen3NextConfig(
        hidden_size=HIDDEN,
        linear_num_key_heads=KEY_HEADS,
        linear_num_value_heads=VALUE_HEADS,
        linear_key_head_dim=DIM,
        linear_value_head_dim=DIM,
        linear_conv_kernel_dim=TAPS,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )
    theirs = Qwen3NextGatedDeltaNet(config, 0)
    weights = ours.state_dict()
    key, value = KEY_HEADS * DIM, VALUE_HEADS * DIM
    weights["conv1d.weight"] = weights.pop("convolution.weight")
    weights["in_proj_qkvz.weight"] = by_key_head(weights["in_proj_qkvz.weight"], [key, key, value, value])
    weights["in_proj_ba.weight"] = by_key_head(weights["in_proj_ba.weight"], [VALUE_HEADS, VALUE_HEADS])
    theirs.load_state_dict(weights)
    return ours, theirs


@pytest.fixture(scope="module")
def kda() -> tuple[Kda, nn.Module]:
    settings = KdaConfig(gate_bias=False, gate_activation="sigmoid", convolution_tokens=TAPS)
    ours = Kda(configure(MixersConfig(K=settings)), 0)
    shake(ours)
    config = KimiLinearConfig(
        hidden_size=HIDDEN,
        linear_head_dim=DIM,
        linear_num_heads=VALUE_HEADS,
        linear_conv_kernel_dim=TAPS,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        mlp_layer_types=["dense"],
    )
    theirs = KimiLinearDeltaAttention(config, 0)
    w = ours.state_dict()
    q, k, v = w["in_proj_qkv.weight"].chunk(3)
    f_a, g_a, beta = w["in_proj_fgb.weight"].split([DIM, DIM, VALUE_HEADS])
    theirs.load_state_dict(
        {
            "q_proj.weight": q,
            "k_proj.weight": k,
            "v_proj.weight": v,
            "conv1d.weight": w["convolution.weight"],
            "forget_gate.f_a_proj.weight": f_a,
            "forget_gate.f_b_proj.weight": w["f_proj.weight"],
            "forget_gate.dt_bias": w["dt_bias"],
            "forget_gate.A_log": w["A_log"].view(1, 1, -1, 1),
            "b_proj.weight": beta,
            "g_a_proj.weight": g_a,
            "g_b_proj.weight": w["g_proj.weight"],
            "o_norm.weight": w["norm.weight"],
            "o_proj.weight": w["out_proj.weight"],
        }
    )
    return ours, theirs


def compare(ours: nn.Module, theirs: nn.Module, seq: int) -> None:
    """Outputs, and gradients of the input."""
    x = torch.randn(2, seq, HIDDEN, generator=torch.Generator().manual_seed(seq))
    mine, other = (x.clone().requires_grad_() for _ in range(2))
    got, expected = ours(mine, NO_ROTARY), theirs(other)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for out in (got, expected):
        out.square().sum().backward()
    assert mine.grad is not None and other.grad is not None
    torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seq", LENGTHS)
def test_gdn_is_qwen3_nexts(gdn: tuple[Gdn, nn.Module], seq: int) -> None:
    compare(*gdn, seq)


@pytest.mark.parametrize("seq", LENGTHS)
def test_kda_is_kimi_linears(kda: tuple[Kda, nn.Module], seq: int) -> None:
    compare(*kda, seq)
