"""The fused decode step against the same step in float64 torch, over every option of the mixers."""

from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.kernels import recurrent_delta_rule
from derailleur.model import DecoderConfig, GdnConfig, KdaConfig, MixersConfig, Rows
from derailleur.model.mixers import build_mixer
from derailleur.model.mixers.recurrent import RecurrentMixer

SLOTS, TAPS, DIM, VALUE_HEADS = 5, 4, 16, 4
L2_EPS = 1e-6


def make_inputs(rule: str, *, key_heads: int, gate_bias: bool, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    rows, channels, width = 3, (2 * key_heads + VALUE_HEADS) * DIM, VALUE_HEADS * DIM
    rates = width if rule == "kda" else VALUE_HEADS
    return {
        "qkv": normal(rows, channels + 7)[:, :channels],  # a view into a wider projection
        "rate": normal(rows, rates),
        "write": normal(rows, VALUE_HEADS),
        "gate": normal(rows, width),
        "slots": torch.tensor([4, 0, 2]),
        "tail": normal(SLOTS, TAPS - 1, channels),
        "state": normal(SLOTS, VALUE_HEADS, DIM, DIM),
        "taps": normal(channels, TAPS),
        "A_log": normal(VALUE_HEADS),
        "dt_bias": normal(rates) + torch.linspace(-20, 30, rates),
        "gate_bias": normal(width) if gate_bias else None,
        "norm_weight": normal(DIM),
    }


def twin(
    *,
    qkv: Tensor,
    rate: Tensor,
    write: Tensor,
    gate: Tensor,
    slots: Tensor,
    tail: Tensor,
    state: Tensor,
    taps: Tensor,
    A_log: Tensor,
    dt_bias: Tensor,
    gate_bias: Tensor | None,
    norm_weight: Tensor,
    norm_eps: float,
    silu_gate: bool,
    max_write: float,
    decay_lower_bound: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, tail and state after the step, in the inputs' dtype."""
    window = torch.cat([tail[slots], qkv.unsqueeze(1)], 1)
    mixed = F.silu((window * taps.T).sum(1)).unflatten(-1, (-1, DIM))
    qk, v = mixed[:, :-VALUE_HEADS], mixed[:, -VALUE_HEADS:]
    qk = qk / (qk.square().sum(-1, keepdim=True) + L2_EPS).sqrt()
    q, k = (x.repeat_interleave(2 * VALUE_HEADS // qk.shape[1], 1) for x in qk.chunk(2, 1))
    x = (rate + dt_bias).unflatten(-1, (VALUE_HEADS, -1))
    speed = A_log.exp().unsqueeze(-1)
    if decay_lower_bound is None:
        log_decay = -speed * F.softplus(x)
    else:
        log_decay = decay_lower_bound * (speed * x).sigmoid()
    beta = max_write * write.sigmoid()
    now = (y.unsqueeze(1) for y in (q, k, v, beta, log_decay.squeeze(-1)))
    step = recurrent_delta_rule(*now, state=state[slots])
    read = F.rms_norm(step.output.squeeze(1), (DIM,), norm_weight, norm_eps).flatten(1)
    opened = gate if gate_bias is None else gate + gate_bias
    new_tail, new_state = tail.clone(), state.clone()
    new_tail[slots], new_state[slots] = window[:, 1:], step.state
    return read * (F.silu(opened) if silu_gate else opened.sigmoid()), new_tail, new_state


def double(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: x.cpu().double() if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in inputs.items()
    }


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("rule", ["gdn", "kda", "bounded"])
@pytest.mark.parametrize("silu_gate", [True, False])
def test_one_token(
    kernels: ModuleType, device: torch.device, rule: str, key_heads: int, silu_gate: bool
) -> None:
    inputs = make_inputs("gdn" if rule == "gdn" else "kda", key_heads=key_heads, gate_bias=silu_gate)
    options: dict[str, Any] = {
        "norm_eps": 1e-5,
        "silu_gate": silu_gate,
        "max_write": 2.0 if key_heads == 2 else 1.0,
        "decay_lower_bound": -5.0 if rule == "bounded" else None,
    }
    expected, tail, state = twin(**double(inputs), **options)
    inputs = {name: None if x is None else x.to(device) for name, x in inputs.items()}
    got = kernels.decode_step(**inputs, **options, l2_eps=L2_EPS)
    for name, x, y in (
        ("out", got, expected),
        ("tail", inputs["tail"], tail),
        ("state", inputs["state"], state),
    ):
        torch.testing.assert_close(
            x.double().cpu(), y, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_bfloat16_activations(kernels: ModuleType, device: torch.device) -> None:
    """Activations and the convolution's tail in bfloat16, weights and state in float32."""
    inputs = make_inputs("gdn", key_heads=2, gate_bias=False)
    for name in ("qkv", "rate", "write", "gate", "tail"):
        inputs[name] = inputs[name].bfloat16()
    options: dict[str, Any] = {
        "norm_eps": 1e-5, "silu_gate": True, "max_write": 1.0, "decay_lower_bound": None,
    }  # fmt: skip
    expected, tail, state = twin(**double(inputs), **options)
    inputs = {name: None if x is None else x.to(device) for name, x in inputs.items()}
    got = kernels.decode_step(**inputs, **options, l2_eps=L2_EPS)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double().cpu(), expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(inputs["tail"].double().cpu(), tail, atol=0, rtol=0)
    torch.testing.assert_close(inputs["state"].double().cpu(), state, atol=1e-5, rtol=1e-5)


# A far negative argument: 1 / (1 + inf) is the 0 that the sigmoid means.
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("letter", ["G", "K"])
@torch.no_grad()
def test_mixers_hand_over_what_their_eager_path_uses(
    kernels: ModuleType, device: torch.device, letter: str
) -> None:
    config = DecoderConfig(
        vocab_size=8, hidden_size=32, num_layers=1, num_heads=4, num_kv_heads=2, head_dim=16,
        intermediate_size=8, max_positions=8,
        mixers=MixersConfig(
            G=GdnConfig(num_key_heads=2, negative_eigenvalues=True),
            K=KdaConfig(gate_activation="sigmoid", gate_bias=False, decay_lower_bound=-5.0),
        ),
    )  # fmt: skip
    mixer = build_mixer(letter, config, 0).to(device)
    assert isinstance(mixer, RecurrentMixer)
    rows = Rows.of([2, 0], [1, 1], 1, device)
    x = torch.randn(2, 1, 32, device=device)
    pools = [mixer.new_pool(3, 8, dtype=torch.float32, device=device) for _ in range(2)]
    for pool in pools:
        torch.manual_seed(0)
        pool.tail.normal_()
        pool.state.normal_()
    expected, trace = mixer.extend(x, pools[0], rows, None, trace=True)  # type: ignore[arg-type]
    mixer.commit(pools[0], rows, trace, torch.tensor([1, 1], device=device))
    got = mixer.out_proj(mixer._triton_step(mixer.project(x), pools[1], rows))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for name, pooled in pools[1].tensors().items():
        torch.testing.assert_close(pooled, pools[0].tensors()[name], atol=1e-5, rtol=1e-5)
