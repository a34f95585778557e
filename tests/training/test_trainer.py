"""The loop itself: accumulation, held-out text, the log, and a loss that explodes."""

import json

import numpy as np
import pytest
import torch

from derailleur.errors import ConfigError, DataError, DerailleurError
from derailleur.io import silent
from derailleur.model import Decoder
from derailleur.tokens import DataConfig, TokenDataset
from derailleur.training import pretrain
from derailleur.training.data import Batch, ContextWarmup, TrainingData
from derailleur.training.precision import Precision, autocast, choose_device, deterministic
from derailleur.training.pretrain import NextTokenLoss
from derailleur.training.trainer import Phase, Trainer

CPU = torch.device("cpu")


@pytest.fixture
def data(tokens, pretrain_config):
    return TrainingData(tokens, pretrain_config.data, CPU)


def new_decoder(config, data) -> Decoder:
    decoder = Decoder(config.model.decoder_config(vocab_size=data.tokenizer.vocab_size, max_positions=48))
    decoder.reset_parameters(3)
    return decoder


def first_step_gradients(config, data, tmp_path, decoder) -> dict[str, torch.Tensor]:
    once = config.model_copy(update={"steps": 1, "clip_norm": 1e9})
    Trainer(decoder, [Phase("x", once, NextTokenLoss(decoder))], data, once, tmp_path, progress=silent).run()
    return {name: weight.grad.clone() for name, weight in decoder.named_parameters()}


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    pretrain_config, data, tmp_path, monkeypatch, micro_batch_size
):
    # Rows that count differently, where a mean of means would be another number.
    batch = data.batch(0)
    batch.mask[:] = torch.arange(48) < torch.tensor([[48], [20], [0], [5]])
    monkeypatch.setattr(data, "batch", lambda step: batch)
    config = pretrain_config.model_copy(update={"micro_batch_size": micro_batch_size})
    whole = first_step_gradients(pretrain_config, data, tmp_path / "whole", new_decoder(config, data))
    parts = first_step_gradients(config, data, tmp_path / "parts", new_decoder(config, data))
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_context_warmup_has_as_many_tokens_in_shorter_sequences(tokens, pretrain_config):
    warmup = ContextWarmup(steps=2, sequence_length=12)
    data = TrainingData(tokens, pretrain_config.data, CPU, warmup=warmup)
    plain = TrainingData(tokens, pretrain_config.data, CPU)
    shapes = [tuple(data.batch(step).tokens.shape) for step in range(4)]
    assert shapes == [(16, 12), (16, 12), (4, 48), (4, 48)]
    assert torch.equal(data.batch(2).tokens, plain.batch(2).tokens)
    assert torch.equal(data.heldout(2).tokens, plain.heldout(2).tokens)
    with pytest.raises(ConfigError, match=r"context_warmup\.sequence_length: 48 is not a multiple of 13"):
        TrainingData(tokens, pretrain_config.data, CPU, warmup=ContextWarmup(steps=2, sequence_length=13))


def test_shares_of_micro_batches_count_what_the_mask_keeps():
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    batch = Batch(torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, 2, dtype=torch.long), mask)
    assert [share for share, _ in batch.split(1)] == pytest.approx([2 / 3, 1 / 3, 0])
    assert [(share, len(part.tokens)) for share, part in batch.split(None)] == [(1.0, 3)]


def test_batches_pair_each_token_with_its_successor(data):
    batch = data.batch(7)
    assert batch.tokens.shape == batch.targets.shape == batch.mask.shape == (4, 48)
    assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])


def test_heldout_sequences_are_spread_over_the_text_and_do_not_overlap(data, tokens):
    held = data.heldout(5)
    stream = TokenDataset(tokens, "heldout")
    assert held.mask.all()
    assert np.array_equal(held.tokens[0].numpy(), stream.window(0, 48))
    assert np.array_equal(held.targets[-1].numpy(), stream.window(stream.num_tokens - 48, 48))
    assert len(data.heldout(10**6).tokens) == (stream.num_tokens - 1) // 48


def test_too_little_heldout_text_is_an_error(tokens):
    with pytest.raises(DataError, match="held-out tokens, at least 3001 are needed"):
        TrainingData(tokens, DataConfig(sequence_length=3000, batch_size=1), CPU).heldout(1)


def test_the_log_has_a_row_a_step_and_held_out_losses_at_intervals_and_at_the_end(
    pretrain_config, data, tmp_path
):
    heldout = pretrain_config.heldout.model_copy(update={"every_steps": 3})
    config = pretrain_config.model_copy(update={"steps": 7, "heldout": heldout})
    decoder, seen = new_decoder(config, data), []
    phase = Phase("pretrain", config, NextTokenLoss(decoder))

    def progress(label: str, done: float, total: float | None, note: str = "") -> None:
        seen.append((label, done, total, note))

    last = Trainer(decoder, [phase], data, config, tmp_path, progress=progress).run()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 8))
    assert [row["tokens"] for row in rows] == [192 * step for step in range(1, 8)]
    assert [row["step"] for row in rows if "heldout_loss" in row] == [3, 6, 7]
    assert rows[-1] == last
    assert [done for _, done, _, _ in seen] == list(range(1, 8))
    assert seen[-1][:3] == ("pretrain", 7, 7)
    assert f"loss {last['loss']:.3f}" in seen[-1][3] and "tok/s" in seen[-1][3]


def test_a_loss_that_is_not_finite_says_what_to_do_and_keeps_the_weights(pretrain_config, data, tmp_path):
    decoder = new_decoder(pretrain_config, data)
    with torch.no_grad():
        decoder.norm.weight.fill_(torch.inf)
    before = decoder.embed.weight.detach().clone()
    phase = Phase("pretrain", pretrain_config, NextTokenLoss(decoder))
    with pytest.raises(DerailleurError, match=r"step 1: the loss is nan .* lower optimizer.learning_rate"):
        Trainer(decoder, [phase], data, pretrain_config, tmp_path, progress=silent).run()
    assert torch.equal(decoder.embed.weight, before)


def test_pretraining_learns_and_its_model_folder_has_a_tokenizer(teacher, tokens):
    rows = [json.loads(line) for line in (teacher / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] > 5.3  # close to log 300
    assert rows[-1]["heldout_loss"] < 3
    names = {path.name for path in (teacher / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert (teacher / "model" / "tokenizer.json").read_bytes() == (tokens / "tokenizer.json").read_bytes()


def test_the_seed_decides_the_weights(pretrain_config, tokens, tmp_path):
    def final_loss(seed: int, name: str) -> float:
        config = pretrain_config.model_copy(update={"steps": 2, "seed": seed})
        return pretrain(config, tokens, tmp_path / name)["final_loss"]

    assert final_loss(1, "a") == final_loss(1, "b") != final_loss(2, "c")


def test_bfloat16_is_used_when_asked_for():
    with autocast(Precision.BFLOAT16, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(Precision.FLOAT32, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_determinism_is_asked_for_inside_and_not_left_behind():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(CPU):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("name", ["no_such_device", "cuda:99"])
def test_a_device_that_is_not_there_is_a_clear_error(name):
    with pytest.raises(ConfigError, match=f"device: '{name}' is not available"):
        choose_device(name)
