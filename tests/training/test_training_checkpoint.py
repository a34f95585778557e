"""Checkpoints restore a run exactly, are complete or not there, and refuse another model's weights."""

import pytest
import torch
from torch import nn

from derailleur.errors import CheckpointError
from derailleur.training.checkpoint import CheckpointFolder, TrainingState


def network(width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))


def optimisers(model: nn.Module) -> list[torch.optim.Optimizer]:
    matrices = [weight for weight in model.parameters() if weight.ndim == 2 and weight.requires_grad]
    vectors = [weight for weight in model.parameters() if weight.ndim == 1 and weight.requires_grad]
    return [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(vectors, lr=0.02, fused=True)]


def train(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: range) -> None:
    for step in steps:
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        model.zero_grad()
        model(inputs).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()


def test_training_goes_on_exactly_as_if_it_had_not_stopped(tmp_path):
    straight, resumed = network(), network()
    train(straight, optimisers(straight), range(7))
    first = optimisers(resumed)
    train(resumed, first, range(4))
    CheckpointFolder(tmp_path / "checkpoint").save(TrainingState(4, 1.5), resumed, first)

    again, folder = network(), CheckpointFolder(tmp_path / "checkpoint")
    assert folder.state() == TrainingState(4, 1.5)
    folder.load_model(again)
    second = optimisers(again)
    folder.load_optimizers(again, second)
    train(again, second, range(4, 7))
    for a, b in zip(again.parameters(), straight.parameters(), strict=True):
        assert torch.equal(a, b)


def test_only_what_learns_is_kept(tmp_path):
    model, folder = network(), CheckpointFolder(tmp_path)
    model[0].requires_grad_(False)
    folder.save(TrainingState(1), model, [])
    other = network()
    other[0].requires_grad_(False)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    folder.load_model(other)
    assert torch.equal(other[2].weight, model[2].weight)
    assert not other[0].weight.any()


def test_the_newest_complete_checkpoint_counts_and_older_ones_go(tmp_path):
    model, folder = network(), CheckpointFolder(tmp_path)
    folder.save(TrainingState(9), model, [])
    folder.save(TrainingState(10), model, [])
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
    (tmp_path / ".step-00000011.partial").mkdir()
    assert folder.state().step == 10
    folder.save(TrainingState(11), model, [])
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000011"]


def test_a_crash_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    model, folder = network(), CheckpointFolder(tmp_path)
    folder.save(TrainingState(1), model, [])
    monkeypatch.setattr("derailleur.training.checkpoint.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        folder.save(TrainingState(2), model, [])
    assert CheckpointFolder(tmp_path).state().step == 1


def test_nothing_there_is_a_fresh_start(tmp_path):
    model, folder = network(), CheckpointFolder(tmp_path / "none")
    before = [weight.clone() for weight in model.parameters()]
    folder.load_model(model)
    assert folder.state() == TrainingState(0, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_weights_of_another_model_are_refused(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(TrainingState(1), network(6), [])
    with pytest.raises(CheckpointError, match="not a checkpoint of this model"):
        folder.load_model(network(7))
