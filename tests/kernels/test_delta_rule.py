"""The chunked delta rules against the float64 recurrence, outputs, states and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels import chunk_gdn, chunk_kda, recurrent_delta_rule

CHUNKED = {"gdn": chunk_gdn, "kda": chunk_kda}


def make_inputs(rule: str, *, seq: int, decay: float, repeated: bool, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch, heads, head_dim, value_dim = 2, 3, 8, 5

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
    inputs = {k: v.float() for k, v in make_inputs(rule, seq=150, decay=0.1, repeated=False).items()}
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
    x = {
        name: v[0, :, 0]
        for name, v in make_inputs("kda", seq=5, decay=0.7, repeated=False).items()
        if name != "state"
    }
    S = torch.zeros(8, 5, dtype=torch.float64)
    for t in range(5):
        decayed = torch.diag(x["log_decay"][t].exp()) @ S
        k, v = x["k"][t].unsqueeze(1), x["v"][t].unsqueeze(1)
        S = decayed + k @ (x["beta"][t] * (v - decayed.T @ k)).T
        expected = S.T @ x["q"][t] / 8**0.5
        got = recurrent_delta_rule(**{name: v[None, : t + 1, None] for name, v in x.items()})
        torch.testing.assert_close(got.output[0, t, 0], expected)


@pytest.mark.parametrize("rule", CHUNKED)
def test_shapes_are_checked(rule: str) -> None:
    inputs = make_inputs(rule, seq=4, decay=0.1, repeated=False)
    inputs["v"] = inputs["v"][:, :3]
    with pytest.raises(ShapeError, match="do not fit together"):
        CHUNKED[rule](**inputs)
