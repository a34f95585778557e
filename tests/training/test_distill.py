"""Distillation: what learns, what must not, and that the mixers come closer to the teacher."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from derailleur.errors import CheckpointError, ConfigError
from derailleur.io import read_json, write_json
from derailleur.model import add_mixers, load_model
from derailleur.placement import MIXER_NAMES, Placement
from derailleur.training import DistillConfig, distill
from derailleur.training.alignment import LocalAlignment
from derailleur.training.data import TrainingData
from derailleur.training.distill import BankConfig, StochasticDistillation
from derailleur.training.losses import relative_distance
from derailleur.training.sampling import PlacementSampler, SamplingConfig

CPU = torch.device("cpu")


@pytest.fixture
def batch(tokens, distill_config):
    return TrainingData(tokens, distill_config.data, CPU).batch(0)


@pytest.fixture
def start(teacher, distill_config):
    """The supernet right after surgery."""
    return add_mixers(load_model(teacher), distill_config.mixers.with_full_attention(), seed=0)


def objective(decoder, config) -> StochasticDistillation:
    sampler = PlacementSampler(SamplingConfig(), num_layers=2, letters="FSKG", learning="SKG", seed=0)
    return StochasticDistillation(decoder, decoder, config.stochastic, sampler)


def test_only_mixers_change_and_full_attention_stays_the_teacher_bit_for_bit(teacher, supernet, start, batch):
    before, after = start.state_dict(), load_file(supernet / "model" / "model.safetensors")
    for name, tensor in after.items():
        learns = ".mixers." in name and ".mixers.fa." not in name
        assert torch.equal(tensor, before[name]) is not learns, name
    with torch.no_grad():
        expected = load_model(teacher)(batch.tokens).logits
        actual = load_model(supernet)(batch.tokens, Placement("FF")).logits
    assert torch.equal(actual, expected)


def test_every_mixer_comes_closer_to_the_teacher(supernet, start, distill_config, tokens):
    held = TrainingData(tokens, distill_config.data, CPU).heldout(8)
    with torch.no_grad():
        before = objective(start, distill_config).heldout(held).metrics
        after = objective(load_model(supernet), distill_config).heldout(held).metrics
    for mixer in ("swa", "kda", "gdn"):
        for kl in ("reverse_kl", "forward_kl"):
            key = f"all-{mixer}.{kl}"
            assert after[key] < 0.6 * before[key], key


def test_the_log_names_phases_placements_layers_and_mixers(supernet):
    rows = [json.loads(line) for line in (supernet / "metrics.jsonl").read_text().splitlines()]
    align, stochastic = rows[:30], rows[30:]
    assert [row["step"] for row in rows] == list(range(1, 61))
    assert {row["phase"] for row in align} == {"align"}
    assert (
        align[0]["mixer_loss"].keys() == align[0]["layer_loss"].keys() == set(MIXER_NAMES.values()) - {"fa"}
    )
    assert align[-1]["heldout_loss"] < align[0]["loss"]
    for row in stochastic:
        assert row["phase"] == "stochastic"
        assert row["mixer_loss"].keys() == {MIXER_NAMES[letter] for letter in row["placement"]}
        assert len(row["layer_loss"]) == 2
        assert row["loss"] == pytest.approx(
            0.5 * sum(row["layer_loss"]) + row["reverse_kl"] + row["forward_kl"], rel=1e-4
        )
    assert stochastic[-1]["heldout"].keys() == {f"all-{name}" for name in MIXER_NAMES.values()}


def test_alignment_measures_each_mixer_on_the_teachers_own_inputs(start, batch):
    measured = LocalAlignment(start, start, "SKG").train(batch, 0)
    with torch.no_grad():
        output = start(batch.tokens, collect=True)
        rotary = start.rotary.sequence(batch.tokens.shape[1])
        for letter, name in (("S", "swa"), ("K", "kda"), ("G", "gdn")):
            for layer in range(2):
                mixed = start.layers[layer].mixer(letter)(output.mixer_inputs[layer], rotary)
                expected = relative_distance(mixed, output.mixer_outputs[layer], batch.mask)
                torch.testing.assert_close(measured.metrics[f"layer_loss.{name}"][layer].detach(), expected)
    per_mixer = [measured.metrics[f"mixer_loss.{name}"] for name in ("swa", "kda", "gdn")]
    torch.testing.assert_close(measured.loss, torch.stack(per_mixer).mean())


def test_in_alignment_no_gradient_crosses_a_layer(start, batch):
    measured = LocalAlignment(start, start, "G").train(batch, 0)
    start.zero_grad()
    measured.metrics["layer_loss.gdn"][1].backward()
    reached = [name for name, w in start.named_parameters() if w.grad is not None and w.grad.any()]
    assert reached
    assert all(name.startswith("layers.1.mixers.gdn.") for name in reached)


def test_a_window_as_long_as_the_sequence_is_the_teacher_from_the_start(teacher, batch):
    bank = BankConfig.model_validate({"S": {"window_tokens": 48}, "K": None, "G": None})
    start = add_mixers(load_model(teacher), bank.with_full_attention(), seed=0)
    with torch.no_grad():
        measured = LocalAlignment(start, start, "S").heldout(batch)
    assert float(measured.loss) < 1e-5


def test_full_attention_learns_only_if_asked_and_is_then_held_to_the_teacher(
    distill_config, teacher, tokens, tmp_path
):
    short = distill_config.model_copy(update={
        "alignment": distill_config.alignment.model_copy(update={"steps": 0}),
        "stochastic": distill_config.stochastic.model_copy(update={"steps": 6}),
        "train_full_attention": True,
    })  # fmt: skip
    results = distill(short, teacher, tokens, tmp_path / "out")
    before, after = load_model(teacher).state_dict(), load_model(tmp_path / "out").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".mixers.fa." in name for name in changed)
    assert results["steps"] == 6
    # The reference is the untouched teacher, not the attention that learns.
    assert results["heldout"]["all-fa"]["loss"] == pytest.approx(
        read_json(teacher / "results.json")["heldout_loss"], rel=1e-5
    )


def test_a_teacher_with_another_vocabulary_is_refused(teacher, tokens, distill_config, tmp_path):
    other = tmp_path / "teacher"
    other.mkdir()
    for file in (teacher / "model").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tokenizer = read_json(other / "tokenizer.json")
    tokenizer["model"]["vocab"] = dict(reversed(tokenizer["model"]["vocab"].items()))
    first, second = list(tokenizer["model"]["vocab"])[:2]
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    write_json(other / "tokenizer.json", tokenizer)
    with pytest.raises(CheckpointError, match="its tokenizer is not that of the model"):
        distill(distill_config, other, tokens, tmp_path / "out")


def test_a_teacher_with_too_few_tokens_is_refused(teacher, tokens, distill_config, tmp_path):
    other = tmp_path / "teacher"
    other.mkdir()
    for file in (teacher / "model").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    config = read_json(other / "config.json")
    config["derailleur"]["vocab_size"] = 200
    write_json(other / "config.json", config)
    weights = load_file(other / "model.safetensors")
    save_file({**weights, "embed.weight": weights["embed.weight"][:200].clone()}, other / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"its tokenizer has 300 tokens, the model .* has 200"):
        distill(distill_config, other, tokens, tmp_path / "out")


def test_a_supernet_is_no_teacher(supernet, tokens, distill_config, tmp_path):
    with pytest.raises(CheckpointError, match="expected a teacher with mixer F alone"):
        distill(distill_config, supernet, tokens, tmp_path / "out")


def test_a_bank_of_full_attention_alone_is_refused():
    with pytest.raises(ValueError, match="no mixer is left"):
        BankConfig(**dict.fromkeys(BankConfig.model_fields))


def test_overriding_one_setting_of_the_bank_keeps_the_others():
    config = DistillConfig.model_validate({"mixers": {"S": {"window_tokens": 7}}})
    mixers = config.mixers.with_full_attention()
    assert mixers.letters == "".join(MIXER_NAMES)
    assert mixers.S.window_tokens == 7


def test_a_preset_without_a_mixer_that_learns_is_refused(teacher, tokens, distill_config, tmp_path):
    sampling = SamplingConfig.model_validate({"presets": [{"placement": "all-fa", "probability": 0.1}]})
    config = distill_config.model_copy(
        update={"stochastic": distill_config.stochastic.model_copy(update={"sampling": sampling})}
    )
    with pytest.raises(ConfigError, match="no mixer that learns"):
        distill(config, teacher, tokens, tmp_path / "out")
