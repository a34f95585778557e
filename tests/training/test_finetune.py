"""Fine-tuning: the targets improve, and nothing but mixers changes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from derailleur.errors import ConfigError
from derailleur.model import Decoder, load_model
from derailleur.placement import Placement
from derailleur.training import FinetuneConfig, finetune
from derailleur.training.data import TrainingData
from derailleur.training.finetune import TargetedLoss
from derailleur.training.losses import cross_entropy
from derailleur.training.sampling import PlacementProbability, PlacementSampler, SamplingConfig
from derailleur.training.stage import learn_only


@pytest.fixture(scope="module")
def finetuned(finetune_config, supernet, tokens, tmp_path_factory):
    out = tmp_path_factory.mktemp("finetuned")
    finetune(finetune_config, supernet, tokens, out)
    return out


def test_the_targets_improve_and_other_mixers_stay(finetune_config, supernet, finetuned, tokens):
    held = TrainingData(tokens, finetune_config.data, torch.device("cpu")).heldout(16)

    def loss(folder, placement: str) -> float:
        decoder = load_model(folder)
        with torch.no_grad():
            hidden = decoder.hidden(held.tokens, Placement.parse(placement, 2))
            return float(cross_entropy(decoder.head, hidden, held.targets, held.mask))

    for placement in finetune_config.placements:
        assert loss(finetuned, placement) < loss(supernet, placement)
    before, after = (load_file(folder / "model" / "model.safetensors") for folder in (supernet, finetuned))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    learns = ("layers.0.mixers.gdn.", "layers.1.mixers.gdn.", "layers.1.mixers.kda.")
    assert changed == {name for name in before if name.startswith(learns)}


def test_the_log_and_the_results_tell_each_target(finetune_config, finetuned):
    rows = [json.loads(line) for line in (finetuned / "metrics.jsonl").read_text().splitlines()]
    assert {row["placement"] for row in rows} == {"GG", "FK"}
    assert rows[-1]["heldout"].keys() == {"all-gdn", "FK"}
    parts = rows[-1]["heldout"]
    assert rows[-1]["heldout_loss"] == pytest.approx(
        0.75 * parts["all-gdn"]["loss"] + 0.25 * parts["FK"]["loss"], rel=1e-5
    )


def test_the_pull_to_full_attention_is_added(finetune_config, supernet, tokens):
    decoder = load_model(supernet)
    batch = TrainingData(tokens, finetune_config.data, torch.device("cpu")).batch(0)
    target = PlacementProbability(placement="all-gdn", probability=1)
    sampler = PlacementSampler(
        SamplingConfig(presets=(target,)), num_layers=2, letters="FSKG", learning="SKG", seed=0
    )
    pulled = finetune_config.model_copy(update={"kl_weight": 2.0})
    with torch.no_grad():
        plain = TargetedLoss(decoder, decoder, finetune_config, sampler).train(batch, 0)
        measured = TargetedLoss(decoder, decoder, pulled, sampler).train(batch, 0)
    assert measured.metrics["forward_kl"] > 0
    torch.testing.assert_close(measured.loss, plain.loss + 2 * measured.metrics["forward_kl"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placements": ["all-gdn"], "probabilities": [0.5, 0.5]}, "2 probabilities for 1 placements"),
        ({"placements": ["all-gdn", "FK"], "probabilities": [0.5, 0.6]}, "sum to 1, not 1.1"),
        ({"placements": ["all-gdn", "FK"], "probabilities": [0.0, 1.0]}, "must be positive"),
        ({"placements": []}, "at least 1 item"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig.model_validate(options)


def test_a_target_that_cannot_learn_is_refused(finetune_config, supernet, tokens, tmp_path):
    config = finetune_config.model_copy(update={"placements": ("all-fa",), "probabilities": ()})
    with pytest.raises(ConfigError, match="no mixer that learns"):
        finetune(config, supernet, tokens, tmp_path / "out")


def test_in_thin_banks_the_mixers_that_are_there_learn(supernet):
    config = load_model(supernet).config.model_copy(update={"banks": ("FG", "KG")})
    thin = Decoder(config)
    learn_only(thin, "SKG")
    learning = [name.split(".")[1:4:2] for name, weight in thin.named_parameters() if weight.requires_grad]
    assert {" ".join(parts) for parts in learning} == {"0 gdn", "1 kda", "1 gdn"}
