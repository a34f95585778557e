"""Chunked losses against their naive twins, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from derailleur.training import losses

VOCABULARY, WIDTH = 37, 16


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    head = nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(random(VOCABULARY, WIDTH))
    return {
        "head": head,
        "hidden": random(3, 11, WIDTH).requires_grad_(),
        "teacher_hidden": random(3, 11, WIDTH),
        "targets": torch.randint(VOCABULARY, (3, 11), generator=generator),
        "mask": torch.rand(3, 11, generator=generator) < 0.7,
    }


@pytest.fixture(params=[4, 33, 100], ids="chunk{}".format)
def chunk_tokens(request, monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_TOKENS", request.param)


def value_and_gradients(loss: torch.Tensor, *sources: torch.Tensor) -> list[torch.Tensor]:
    return [loss.detach(), *torch.autograd.grad(3 * loss, sources)]


def assert_same(actual: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    # The losses work in float32 at the logits; the twins stay in float64.
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("chunk_tokens")
def test_cross_entropy_equals_its_naive_twin(case):
    head, hidden, mask = case["head"], case["hidden"], case["mask"]
    actual = losses.cross_entropy(head, hidden, case["targets"], mask)
    log_probabilities = F.log_softmax(head(hidden), -1)
    picked = log_probabilities.gather(-1, case["targets"].unsqueeze(-1)).squeeze(-1)
    expected = -picked[mask].mean()
    assert_same(
        value_and_gradients(actual, hidden, head.weight), value_and_gradients(expected, hidden, head.weight)
    )


@pytest.mark.usefixtures("chunk_tokens")
@pytest.mark.parametrize(("reverse", "forward"), [(1.0, 0.0), (0.0, 1.0), (0.7, 0.4)])
def test_kl_divergence_equals_its_naive_twin(case, reverse, forward):
    head, hidden, teacher, mask = case["head"], case["hidden"], case["teacher_hidden"], case["mask"]
    teacher_head = nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=torch.float64)
    actual = losses.kl_divergence(
        head, hidden, teacher_head, teacher, mask, reverse_weight=reverse, forward_weight=forward
    )
    q, p = F.softmax(head(hidden), -1), F.softmax(teacher_head(teacher).detach(), -1)
    reverse_kl = (q * (q / p).log()).sum(-1)[mask].mean()
    forward_kl = (p * (p / q).log()).sum(-1)[mask].mean()
    assert_same(
        value_and_gradients(actual.loss, hidden, head.weight),
        value_and_gradients(reverse * reverse_kl + forward * forward_kl, hidden, head.weight),
    )
    assert_same(
        [actual.reverse.detach(), actual.forward.detach()], [reverse_kl.detach(), forward_kl.detach()]
    )


def test_kl_divergence_is_zero_with_zero_gradient_where_student_is_teacher(case):
    head, hidden = case["head"], case["hidden"]
    kl = losses.kl_divergence(head, hidden, head, hidden, case["mask"], reverse_weight=1, forward_weight=1)
    value, gradient = value_and_gradients(kl.loss, hidden)
    assert value.abs() < 1e-6
    assert gradient.abs().max() < 1e-6


def test_a_frozen_head_gets_no_gradient_and_the_hidden_states_theirs(case):
    head, hidden = case["head"], case["hidden"]
    expected = value_and_gradients(losses.cross_entropy(head, hidden, case["targets"], case["mask"]), hidden)
    head.requires_grad_(False)
    losses.cross_entropy(head, hidden, case["targets"], case["mask"]).backward()
    assert head.weight.grad is None
    torch.testing.assert_close(3 * hidden.grad, expected[1])


def test_under_autocast_the_gradients_are_those_of_the_naive_twin_in_bfloat16(case):
    head, hidden = case["head"].float(), case["hidden"].detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        actual = losses.cross_entropy(head, hidden, case["targets"], case["mask"])
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(hidden).float()
        twin = F.cross_entropy(logits[case["mask"]], case["targets"][case["mask"]])
    for a, b in zip(
        value_and_gradients(actual, hidden, head.weight),
        value_and_gradients(twin, hidden, head.weight),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-3)


def test_without_gradients_the_value_is_the_same(case):
    with_gradients = losses.cross_entropy(case["head"], case["hidden"], case["targets"], case["mask"])
    with torch.no_grad():
        without = losses.cross_entropy(case["head"], case["hidden"], case["targets"], case["mask"])
    assert not without.requires_grad
    assert float(without) == float(with_gradients.detach())


def test_activation_distance_is_the_mean_norm_of_the_tokens_that_count():
    student = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [9.0, 9.0]]], requires_grad=True)
    teacher = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    assert float(losses.activation_distance(student, teacher, mask).detach()) == pytest.approx(3.0)
    assert float(losses.relative_distance(student, teacher, mask).detach()) == pytest.approx(6.0)


def test_activation_distance_of_equal_outputs_has_a_finite_gradient():
    student = torch.ones(1, 2, 3, requires_grad=True)
    loss = losses.activation_distance(student, torch.ones(1, 2, 3), torch.ones(1, 2, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_an_output_of_zero_has_relative_distance_one():
    teacher = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 5, dtype=torch.bool)
    assert float(losses.relative_distance(torch.zeros_like(teacher), teacher, mask)) == pytest.approx(1.0)


def test_nothing_to_count_gives_zero(case):
    nothing = torch.zeros_like(case["mask"])
    loss = losses.cross_entropy(case["head"], case["hidden"], case["targets"], nothing)
    assert float(loss.detach()) == 0.0
