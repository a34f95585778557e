"""Every field of a family's configuration class is decided: used, without effect, or refused by name."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from derailleur.errors import CheckpointError
from derailleur.model.importing import import_checkpoint, plan_import
from derailleur.model.importing.family import Settings
from derailleur.model.importing.gpt_bigcode import GptBigCodeSettings
from derailleur.model.importing.llama import LlamaSettings
from derailleur.model.importing.mistral import MistralSettings
from derailleur.model.importing.qwen import Qwen2Settings, Qwen3Settings
from derailleur.model.importing.starcoder2 import Starcoder2Settings

SETTINGS = {
    "llama": LlamaSettings,
    "mistral": MistralSettings,
    "qwen2": Qwen2Settings,
    "qwen3": Qwen3Settings,
    "starcoder2": Starcoder2Settings,
    "gpt_bigcode": GptBigCodeSettings,
}
SIZES = {
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("max_position_embeddings", "n_embd", "n_layer", "n_head", "n_positions"),
}
"""Which a folder must say itself."""


@pytest.mark.parametrize("family", SETTINGS)
def test_every_field_is_decided(family: str) -> None:
    settings: type[Settings] = SETTINGS[family]
    theirs = {field.name for field in dataclasses.fields(transformers.AutoConfig.for_model(family))}
    used = set(settings.model_fields)
    assert theirs <= used | settings.irrelevant
    assert not used & settings.irrelevant


@pytest.mark.parametrize("family", SETTINGS)
def test_defaults_are_those_of_transformers(family: str) -> None:
    """A field that a file leaves out means what it means there."""
    theirs = transformers.AutoConfig.for_model(family)
    for name, field in SETTINGS[family].model_fields.items():
        if name in SIZES or not hasattr(theirs, name) or field.default is None:
            continue
        if name == "sliding_window" and family.startswith("qwen"):
            continue  # that class empties it where it is not used
        assert getattr(theirs, name) == field.default, name


@pytest.mark.parametrize(
    ("family", "written", "message"),
    [
        ("llama", {"model_type": "gpt_neox"}, "model_type 'gpt_neox' is not supported; known: .*starcoder2"),
        ("llama", {"model_type": "qwen2_vl"}, "model_type 'qwen2_vl' is not supported"),
        ("llama", {"hidden_act": "relu"}, "hidden_act: Input should be 'silu'.*got 'relu'"),
        ("llama", {"hidden_size": None}, "hidden_size: Field required"),
        ("llama", {"num_attention_heads": 0}, "num_attention_heads: .*greater than 0"),
        ("llama", {"head_dim": 7}, ".*head_dim 7 is odd"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config: is not supported"),
        ("llama", {"vision_config": {"depth": 1}}, "vision_config: is not supported"),
        ("llama", {"per_layer_config": {"0": {}}}, "per_layer_config: is not supported"),
        ("llama", {"is_encoder_decoder": True}, "is_encoder_decoder: Input should be False"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor: is not supported"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "rope_parameters.partial_rotary_factor: is not supported",
        ),
        (
            "llama",
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "rope_scaling: rope_type 'dynamic' is not supported; expected default, linear, llama3 or yarn",
        ),
        (
            "llama",
            {"rope_scaling": {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0]}},
            "rope_scaling: rope_type 'longrope' is not supported",
        ),
        ("llama", {"rope_scaling": {"type": "linear", "factor": "x"}}, "rope_scaling.factor: .*valid number"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "rope_scaling.linear.factor"),
        ("llama", {"rope_scaling": {"type": "llama3", "factor": 2.0}}, "rope_scaling.llama3.low_freq_factor"),
        (
            "qwen3",
            {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
            r"rope_parameters: settings of one kind of layers \('full_attention'\)",
        ),
        (
            "qwen2",
            {"layer_types": ["sliding_attention", "full_attention", "full_attention"]},
            "layer_types: expected 3 entries",
        ),
        ("qwen2", {"layer_types": ["full_attention"]}, "layer_types: expected 3 entries"),
        ("qwen2", {"layer_types": ["full_attention", "x", "sliding_attention"]}, "layer_types: expected 3"),
        ("qwen2", {"layer_types": ["sliding_attention"] * 3}, "layer_types: .*without a sliding_window"),
        (
            "mistral",
            {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
            "layer_types: expected sliding_attention in every layer",
        ),
        ("starcoder2", {"sliding_window": 0}, "sliding_window: .*greater than 0"),
        ("gpt_bigcode", {"scale_attn_weights": False}, "scale_attn_weights: Input should be True"),
        ("gpt_bigcode", {"add_cross_attention": True}, "add_cross_attention: Input should be False"),
        ("gpt_bigcode", {"activation_function": "quick_gelu"}, "activation_function: .*got 'quick_gelu'"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(
    family: str, written: dict[str, Any], message: str, tmp_path: Path, make_foreign: Callable[..., Any]
) -> None:
    make_foreign(family, tmp_path / "source", written=written)
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}") as refusal:
        import_checkpoint(tmp_path / "source", tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_unknown_fields_are_said(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("gpt_bigcode", tmp_path, written={"inference_runner": 0, "torch_dtype": "float32"})
    assert plan_import(tmp_path).unknown_fields == ("inference_runner",)
