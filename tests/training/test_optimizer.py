"""Which rule and which decay each parameter gets, and what a step does with it."""

import pytest
import torch

from derailleur.model import Decoder, DecoderConfig, GdnConfig, KdaConfig, MixersConfig, SlidingWindowConfig
from derailleur.training.optimizer import OptimizerConfig, set_learning_rate, split_parameters

ALL_MIXERS = MixersConfig(S=SlidingWindowConfig(window_tokens=4), K=KdaConfig(), G=GdnConfig())


def decoder(*, tie: bool = True) -> Decoder:
    config = DecoderConfig(
        vocab_size=32, hidden_size=16, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=8,
        intermediate_size=24, max_positions=32, tie_embeddings=tie, attention_bias=True, mixers=ALL_MIXERS,
    )  # fmt: skip
    made = Decoder(config)
    made.reset_parameters(0)
    return made


@pytest.mark.parametrize("tie", [True, False])
def test_only_hidden_matrices_are_hidden(tie):
    model = decoder(tie=tie)
    names = {weight: name for name, weight in model.named_parameters()}
    hidden, others = split_parameters(model)
    assert len(hidden) + len(others) == len(names)
    assert all("proj" in names[weight] for weight in hidden)
    exempt = {names[weight] for weight in others}
    assert {"embed.weight", "norm.weight", "layers.0.mixers.gdn.A_log", "layers.1.mixers.kda.dt_bias",
            "layers.0.mixers.gdn.convolution.weight", "layers.0.mixers.fa.q_proj.bias"} <= exempt  # fmt: skip
    assert ("head.weight" in exempt) is not tie


def test_what_does_not_learn_is_in_no_optimiser():
    model = decoder()
    model.requires_grad_(False)
    chosen = model.layers[0].mixer("G").requires_grad_()
    held = [w for o in OptimizerConfig().build(model) for g in o.param_groups for w in g["params"]]
    assert {id(weight) for weight in held} == {id(weight) for weight in chosen.parameters()}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_only_hidden_matrices_decay(name):
    model = decoder()
    optimizers = OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5).build(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    for optimizer in optimizers:
        optimizer.step()
    hidden = {id(weight) for weight in split_parameters(model)[0]}
    for key, weight in model.named_parameters():
        expected = before[key] * (1 - 0.1 * 0.5) if id(weight) in hidden else before[key]
        torch.testing.assert_close(weight.detach(), expected, msg=key)


def test_muon_updates_have_the_size_of_adamw_updates_whatever_the_gradient_and_shape():
    model = decoder()
    optimizers = OptimizerConfig(name="muon", learning_rate=0.01, weight_decay=0).build(model)
    hidden, _ = split_parameters(model)
    before = [weight.detach().clone() for weight in hidden]
    generator = torch.Generator().manual_seed(0)
    for scale, weight in zip([1e-3, 1.0, 1e3] * len(hidden), hidden, strict=False):
        weight.grad = scale * torch.randn(weight.shape, generator=generator)
    for optimizer in optimizers:
        optimizer.step()
    for old, weight in zip(before, hidden, strict=True):
        root_mean_square = (weight.detach() - old).square().mean().sqrt() / 0.01
        # AdamW's updates have a root mean square of 0.2 to 0.4; orthogonal rows give 0.2.
        assert 0.12 < float(root_mean_square) < 0.3


def test_the_learning_rate_is_set_in_every_group():
    optimizers = OptimizerConfig(name="muon").build(decoder())
    set_learning_rate(optimizers, 0.25)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.25}
