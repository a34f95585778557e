"""Rotary positions: rotations by position, and frequencies scaled as transformers scales them."""

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from derailleur.config import validate
from derailleur.errors import ConfigError
from derailleur.model import DecoderConfig
from derailleur.model.rotary import (
    Llama3Scaling,
    RopeScaling,
    Rotary,
    RotaryTable,
    YarnScaling,
    yarn_magnitude,
)

HEAD_DIM = 32


def theirs(kind: str, **parameters: Any) -> tuple[torch.Tensor, float]:
    """transformers' frequencies and magnitude."""
    config = transformers.LlamaConfig(
        hidden_size=2 * HEAD_DIM,
        num_attention_heads=2,
        max_position_embeddings=1 << 17,
        rope_parameters={"rope_type": kind} | parameters,
    )
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    return frequencies, magnitude


def assert_same(scaling: RopeScaling, theta: float, expected: tuple[torch.Tensor, float]) -> None:
    positions = 50
    table = RotaryTable(HEAD_DIM, theta, scaling)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), expected[0]).repeat(1, 2)
    seen = table.sequence(positions)
    torch.testing.assert_close(seen.cos, angles.cos() * expected[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen.sin, angles.sin() * expected[1], atol=1e-5, rtol=1e-5)


@given(
    theta=st.floats(100, 1e6),
    factor=st.floats(1, 64),
    original=st.integers(16, 1 << 14),
    low=st.floats(0.5, 2),
    width=st.floats(0.1, 8),
)
@settings(max_examples=25, deadline=None)
def test_llama3(theta: float, factor: float, original: int, low: float, width: float) -> None:
    scaling = Llama3Scaling(
        factor=factor, original_max_positions=original, low_freq_factor=low, high_freq_factor=low + width
    )
    expected = theirs(
        "llama3",
        rope_theta=theta,
        factor=factor,
        original_max_position_embeddings=original,
        low_freq_factor=low,
        high_freq_factor=low + width,
    )
    assert_same(scaling, theta, expected)


@given(
    theta=st.floats(100, 1e6),
    factor=st.floats(1, 64),
    original=st.integers(16, 1 << 14),
    fast=st.floats(8, 64),
    slow=st.floats(0.5, 4),
    truncate=st.booleans(),
    attention_factor=st.none() | st.floats(0.5, 2),
)
@settings(max_examples=25, deadline=None)
def test_yarn(
    theta: float,
    factor: float,
    original: int,
    fast: float,
    slow: float,
    truncate: bool,
    attention_factor: float | None,
) -> None:
    scaling = YarnScaling(
        factor=factor,
        original_max_positions=original,
        attention_factor=attention_factor,
        beta_fast=fast,
        beta_slow=slow,
        truncate=truncate,
    )
    expected = theirs(
        "yarn",
        rope_theta=theta,
        factor=factor,
        original_max_position_embeddings=original,
        attention_factor=attention_factor,
        beta_fast=fast,
        beta_slow=slow,
        truncate=truncate,
    )
    assert_same(scaling, theta, expected)


def test_yarn_sharpens_attention() -> None:
    assert yarn_magnitude(1.0) == 1.0
    assert YarnScaling(factor=40, original_max_positions=4096).magnitude == pytest.approx(1.3689, abs=1e-4)


def test_scalings_in_a_configuration(teacher: Any) -> None:
    values = teacher.config.model_dump()
    assert values["rope_scaling"] is None
    linear = validate(DecoderConfig, values | {"rope_scaling": {"kind": "linear", "factor": 2}})
    assert validate(DecoderConfig, linear.model_dump(mode="json")) == linear
    with pytest.raises(ConfigError, match=r"rope_scaling: .*'dynamic'"):
        validate(DecoderConfig, values | {"rope_scaling": {"kind": "dynamic"}})
    llama3 = {"kind": "llama3", "factor": 2, "original_max_positions": 8, "high_freq_factor": 1}
    with pytest.raises(ConfigError, match=r"high_freq_factor 1\.0 is not above low_freq_factor 1\.0"):
        validate(DecoderConfig, values | {"rope_scaling": llama3})


def test_linear_scaling_stretches_positions() -> None:
    linear = validate(
        DecoderConfig, _sizes() | {"rope_scaling": {"kind": "linear", "factor": 4}}
    ).rope_scaling
    stretched = RotaryTable(8, 100.0, linear).sequence(41)
    plain = RotaryTable(8, 100.0).sequence(11)
    torch.testing.assert_close(stretched.cos[::4], plain.cos)
    torch.testing.assert_close(stretched.sin[::4], plain.sin)


def test_rotary_is_a_rotation_by_position() -> None:
    table = RotaryTable(8, 100.0)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator).unbind(0)

    def score(i: int, j: int) -> float:
        a = table.at(torch.tensor([[i]]), i).apply(q)
        b = table.at(torch.tensor([[j]]), j).apply(k)
        return float((a * b).sum())

    assert score(0, 0) == pytest.approx(float((q * k).sum()))
    assert score(7, 3) == pytest.approx(score(1004, 1000), abs=1e-3)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-3)
    whole = table.sequence(5)
    assert torch.equal(whole.cos[3], table.at(torch.tensor([[3]]), 3).cos[0, 0])


def test_a_table_without_channels_rotates_nothing() -> None:
    x = torch.randn(2, 5, 3, 8, generator=torch.Generator().manual_seed(0))
    table = RotaryTable(0, 100.0)
    assert table.sequence(5).apply(x) is x
    assert table.at(torch.tensor([[3, 4, 5, 6, 7]]), 7).apply(x) is x
    assert isinstance(table.sequence(300), Rotary)


def _sizes() -> dict[str, int]:
    names = ("vocab_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim")
    return dict.fromkeys((*names, "intermediate_size", "max_positions"), 8)
