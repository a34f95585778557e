"""Chunked GDN and KDA against the float64 recurrence: outputs, states and gradients."""

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.kernels import DeltaRuleOutput, recurrent_delta_rule

RULES = ["gdn", "kda"]


def make_inputs(
    rule: str,
    *,
    seq: int,
    decay: float = 0.5,
    repeated: bool = False,
    batch: int = 1,
    heads: int = 1,
    dims: tuple[int, int] = (16, 16),
    states: int | None = None,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seq)
    head_dim, value_dim = dims

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k = (F.normalize(normal(batch, seq, heads, head_dim), dim=-1) for _ in range(2))
    channels = (head_dim,) if rule == "kda" else ()
    uniform = torch.rand(batch, seq, heads, *channels, generator=generator, dtype=torch.float64)
    return {
        "q": q,
        "k": k[:, :1].expand_as(k).clone() if repeated else k,
        "v": normal(batch, seq, heads, value_dim),
        "beta": torch.rand(batch, seq, heads, generator=generator, dtype=torch.float64),
        "log_decay": -decay * uniform,
        "state": normal(batch if states is None else states, heads, head_dim, value_dim),
    }


def gradients(result: DeltaRuleOutput, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    (result.output.square().sum() + result.state.square().sum()).backward()
    found = {}
    for name, x in inputs.items():
        assert x.grad is not None
        found[name] = x.grad.double().cpu()
    return found


def hold_to_recurrence(
    kernels: ModuleType,
    device: torch.device,
    inputs: dict[str, Tensor],
    cu_seqlens: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    tolerance: float = 1e-5,
) -> None:
    rounded = {
        name: x.to(device, dtype if name in "qkv" else torch.float32).requires_grad_()
        for name, x in inputs.items()
    }
    exact = {name: x.detach().cpu().double().requires_grad_() for name, x in rounded.items()}
    expected = recurrent_delta_rule(**exact, cu_seqlens=cu_seqlens)
    where = None if cu_seqlens is None else cu_seqlens.to(device)
    got = kernels.chunk_delta_rule(**rounded, cu_seqlens=where)
    assert got.output.dtype == got.state.dtype == torch.float32
    pairs = [("output", got.output, expected.output), ("state", got.state, expected.state)]
    exact_gradients = gradients(expected, exact)
    pairs += [(name, x, exact_gradients[name]) for name, x in gradients(got, rounded).items()]
    for name, x, y in pairs:
        scale = float(y.detach().abs().max()) + 1e-3
        error = float((x.detach().double().cpu() - y.detach()).abs().max())
        assert error < tolerance * scale, f"{name}: {error} of {scale}"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("seq", "dims"), [(1, (16, 16)), (64, (16, 16)), (130, (24, 48))])
def test_lengths_and_widths(
    kernels: ModuleType, device: torch.device, rule: str, seq: int, dims: tuple[int, int]
) -> None:
    hold_to_recurrence(kernels, device, make_inputs(rule, seq=seq, dims=dims))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decay", [0.0, 20.0])
def test_repeated_keys(kernels: ModuleType, device: torch.device, rule: str, decay: float) -> None:
    """A blank run in code: one key throughout; with a whole Neumann series this overflows."""
    inputs = make_inputs(rule, seq=70, decay=decay, repeated=True)
    inputs["beta"] = torch.ones_like(inputs["beta"])
    hold_to_recurrence(kernels, device, inputs)


@pytest.mark.parametrize("rule", RULES)
def test_strong_decay(kernels: ModuleType, device: torch.device, rule: str) -> None:
    """exp(20) a token would leave float32 within five tokens: no exponent may be positive."""
    inputs = make_inputs(rule, seq=70)
    inputs["log_decay"] = torch.full_like(inputs["log_decay"], -20.0)
    hold_to_recurrence(kernels, device, inputs)


@pytest.mark.parametrize("rule", RULES)
def test_decays_of_every_strength(kernels: ModuleType, device: torch.device, rule: str) -> None:
    inputs = make_inputs(rule, seq=70)
    inputs["log_decay"] = inputs["log_decay"] * torch.tensor([0.0, 0.1, 60.0]).repeat(24)[:70].view(
        1, 70, 1, *[1] * (rule == "kda")
    )
    hold_to_recurrence(kernels, device, inputs, tolerance=5e-5)


@pytest.mark.parametrize("rule", RULES)
def test_write_strengths_up_to_two(kernels: ModuleType, device: torch.device, rule: str) -> None:
    inputs = make_inputs(rule, seq=70, decay=0.05)
    inputs["beta"] = 2 * inputs["beta"]
    hold_to_recurrence(kernels, device, inputs, tolerance=5e-5)


@pytest.mark.parametrize("rule", RULES)
def test_bfloat16(kernels: ModuleType, device: torch.device, rule: str) -> None:
    inputs = make_inputs(rule, seq=70)
    hold_to_recurrence(kernels, device, inputs, dtype=torch.bfloat16, tolerance=0.03)


@pytest.mark.parametrize("rule", RULES)
def test_packed_documents(kernels: ModuleType, device: torch.device, rule: str) -> None:
    """Documents of odd lengths, one of them empty, each with a state of its own."""
    inputs = make_inputs(rule, seq=85, heads=2, dims=(8, 5), states=4)
    hold_to_recurrence(kernels, device, inputs, torch.tensor([0, 3, 3, 70, 85]))


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_of_strided_inputs_without_state(
    kernels: ModuleType, device: torch.device, rule: str
) -> None:
    inputs = {k: x.float().to(device) for k, x in make_inputs(rule, seq=20, batch=2).items() if k != "state"}
    strided = {k: x.transpose(1, 2).contiguous().transpose(1, 2) for k, x in inputs.items()}
    got, expected = kernels.chunk_delta_rule(**strided), recurrent_delta_rule(**inputs)
    torch.testing.assert_close(got.output, expected.output, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.state, expected.state, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)], ids=["float32", "bfloat16"]
)
def test_real_sizes(
    kernels: ModuleType, rule: str, head_dim: int, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = make_inputs(rule, seq=1000, heads=4, dims=(head_dim, head_dim), states=3, decay=0.1)
    cu_seqlens = torch.tensor([0, 1, 500, 1000])
    hold_to_recurrence(kernels, torch.device("cuda"), inputs, cu_seqlens, dtype=dtype, tolerance=tolerance)
