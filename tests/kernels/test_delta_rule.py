"""The delta rules against the float64 recurrence and finite differences: outputs, states, gradients."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels import chunk_gdn, chunk_kda, recurrent_delta_rule

CHUNKED = {"gdn": chunk_gdn, "kda": chunk_kda}
CUTS = [0, 1, 1, 70, 134, 150]
"""Documents of 1, 0, 69, 64 and 16 tokens."""


def make_inputs(
    rule: str,
    *,
    seq: int,
    decay: float,
    repeated: bool = False,
    batch: int = 2,
    heads: int = 3,
    head_dim: int = 8,
    value_dim: int = 5,
    seed: int = 0,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k = (F.normalize(normal(batch, seq, heads, head_dim), dim=-1) for _ in range(2))
    if repeated:
        k = k[:, :1].expand_as(k).clone()
    channels = (head_dim,) if rule == "kda" else ()
    uniform = torch.rand(batch, seq, heads, *channels, generator=generator, dtype=torch.float64)
    return {
        "q": q,
        "k": k,
        "v": normal(batch, seq, heads, value_dim),
        "beta": torch.rand(batch, seq, heads, generator=generator, dtype=torch.float64),
        "log_decay": -decay * uniform,
        "state": normal(batch, heads, head_dim, value_dim),
    }


@pytest.mark.parametrize("rule", CHUNKED)
@pytest.mark.parametrize("seq", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("decay", [0.0, 0.05, 1.0, 30.0])
@pytest.mark.parametrize("repeated", [False, True], ids=["distinct", "repeated"])
def test_chunks_equal_recurrence(rule: str, seq: int, decay: float, repeated: bool) -> None:
    exact = {
        name: x.requires_grad_()
        for name, x in make_inputs(rule, seq=seq, decay=decay, repeated=repeated).items()
    }
    fast = {name: x.detach().float().requires_grad_() for name, x in exact.items()}
    expected = recurrent_delta_rule(**exact)
    got = CHUNKED[rule](**fast)
    torch.testing.assert_close(got.output.double(), expected.output, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.state.double(), expected.state, atol=1e-5, rtol=1e-5)
    for result in (expected, got):
        (result.output.square().sum() + result.state.square().sum()).backward()
    for name, x in exact.items():
        assert x.grad is not None and fast[name].grad is not None
        scale = float(x.grad.abs().max()) + 1e-3
        error = float((fast[name].grad.double() - x.grad).abs().max())
        assert error < 1e-4 * scale, f"gradient of {name}: {error} of {scale}"


@pytest.mark.parametrize("rule", CHUNKED)
def test_all_writes_on_one_key_stay_finite(rule: str) -> None:
    """A blank run of 512 tokens: one key, full write strength, no decay."""
    inputs = make_inputs(rule, seq=512, decay=0.0, repeated=True)
    inputs["beta"] = torch.ones_like(inputs["beta"])
    got = CHUNKED[rule](**{name: x.float() for name, x in inputs.items()})
    torch.testing.assert_close(
        got.output.double(), recurrent_delta_rule(**inputs).output, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("rule", CHUNKED)
def test_pieces_continue_from_the_state(rule: str) -> None:
    inputs = {k: v.float() for k, v in make_inputs(rule, seq=150, decay=0.1).items()}
    whole = CHUNKED[rule](**inputs)
    state, outputs = inputs.pop("state"), []
    for start, end in ((0, 70), (70, 71), (71, 150)):
        piece = CHUNKED[rule](**{k: v[:, start:end] for k, v in inputs.items()}, state=state)
        state = piece.state
        outputs.append(piece.output)
    torch.testing.assert_close(torch.cat(outputs, 1), whole.output, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, whole.state, atol=1e-5, rtol=1e-5)


def test_recurrence_equals_the_formula() -> None:
    """The update written out for one head and one token at a time, in plain matrices."""
    x = {name: v[0, :, 0] for name, v in make_inputs("kda", seq=5, decay=0.7).items() if name != "state"}
    S = torch.zeros(8, 5, dtype=torch.float64)
    for t in range(5):
        decayed = torch.diag(x["log_decay"][t].exp()) @ S
        k, v = x["k"][t].unsqueeze(1), x["v"][t].unsqueeze(1)
        S = decayed + k @ (x["beta"][t] * (v - decayed.T @ k)).T
        expected = S.T @ x["q"][t] / 8**0.5
        got = recurrent_delta_rule(**{name: v[None, : t + 1, None] for name, v in x.items()})
        torch.testing.assert_close(got.output[0, t, 0], expected)


@pytest.mark.parametrize("rule", CHUNKED)
@pytest.mark.parametrize("decay", [0.05, 20.0])
@pytest.mark.parametrize("given_states", [False, True], ids=["zeros", "states"])
def test_packed_equals_separate(rule: str, decay: float, given_states: bool) -> None:
    """Outputs, a final state for each document, and gradients, of the chunks and of the recurrence."""
    inputs = make_inputs(rule, seq=CUTS[-1], decay=decay, batch=1)
    state = inputs.pop("state")
    states = torch.cat([(n + 1) * state for n in range(len(CUTS) - 1)]) if given_states else None
    apart = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    outputs = []
    for n, (start, end) in enumerate(pairwise(CUTS)):
        document = {name: x[:, start:end] for name, x in apart.items()}
        initial = None if states is None else states[n : n + 1]
        if start < end:
            outputs.append(recurrent_delta_rule(**document, state=initial))
            outputs[-1].state.square().sum().backward(retain_graph=True)
    expected = torch.cat([o.output for o in outputs], 1)
    expected.square().sum().backward()
    for form in (CHUNKED[rule], recurrent_delta_rule):
        packed = {name: x.clone().requires_grad_() for name, x in inputs.items()}
        got = form(**packed, state=states, cu_seqlens=torch.tensor(CUTS))
        assert got.state.shape[0] == len(CUTS) - 1
        torch.testing.assert_close(got.output, expected, atol=1e-10, rtol=1e-8)
        kept = torch.cat([got.state[:1], got.state[2:]])  # the second document is empty
        torch.testing.assert_close(kept, torch.cat([o.state for o in outputs]), atol=1e-10, rtol=1e-8)
        untouched = torch.zeros_like(got.state[1]) if states is None else states[1]
        torch.testing.assert_close(got.state[1], untouched)
        (got.output.square().sum() + kept.square().sum()).backward()
        for name, x in packed.items():
            torch.testing.assert_close(x.grad, apart[name].grad, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("rule", CHUNKED)
@pytest.mark.parametrize("cuts", [None, [0, 2, 6]], ids=["whole", "packed"])
@pytest.mark.parametrize("decay", [0.5, 20.0])
@pytest.mark.parametrize("form", ["chunked", "recurrent"])
def test_gradients_equal_finite_differences(
    rule: str, cuts: list[int] | None, decay: float, form: str
) -> None:
    sizes = {"batch": 1, "heads": 1, "head_dim": 2, "value_dim": 2}
    inputs = make_inputs(rule, seq=6, decay=decay, **sizes)
    cu_seqlens = None if cuts is None else torch.tensor(cuts)
    if cuts is not None:
        inputs["state"] = inputs["state"].repeat(len(cuts) - 1, 1, 1, 1)
    compute = CHUNKED[rule] if form == "chunked" else recurrent_delta_rule

    def outputs(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        got = compute(**dict(zip(inputs, tensors, strict=True)), cu_seqlens=cu_seqlens)
        return got.output, got.state

    assert torch.autograd.gradcheck(outputs, [x.requires_grad_() for x in inputs.values()])


@pytest.mark.parametrize("rule", CHUNKED)
@pytest.mark.parametrize("repeated", [False, True], ids=["distinct", "repeated"])
def test_strong_decay_stays_finite(rule: str, repeated: bool) -> None:
    """A log decay of -20 a token on every other token, none on the rest."""
    inputs = {k: v.float() for k, v in make_inputs(rule, seq=200, decay=20.0, repeated=repeated).items()}
    inputs["log_decay"] = torch.full_like(inputs["log_decay"], -20.0)
    inputs["log_decay"][:, ::2] = 0
    leaves = {name: x.requires_grad_() for name, x in inputs.items()}
    got = CHUNKED[rule](**leaves)
    (got.output.square().sum() + got.state.square().sum()).backward()
    assert got.output.isfinite().all() and got.state.isfinite().all()
    for name, x in leaves.items():
        assert x.grad is not None and x.grad.isfinite().all(), name


@pytest.mark.parametrize("rule", CHUNKED)
def test_states_are_checked(rule: str) -> None:
    inputs = make_inputs(rule, seq=4, decay=0.1, batch=1)
    with pytest.raises(ShapeError, match=r"expected a state \(2, 3, 8, 5\), got \(1, 3, 8, 5\)"):
        CHUNKED[rule](**inputs, cu_seqlens=torch.tensor([0, 2, 4]))


@pytest.mark.parametrize("rule", CHUNKED)
def test_shapes_are_checked(rule: str) -> None:
    inputs = make_inputs(rule, seq=4, decay=0.1)
    inputs["v"] = inputs["v"][:, :3]
    with pytest.raises(ShapeError, match="do not fit together"):
        CHUNKED[rule](**inputs)
