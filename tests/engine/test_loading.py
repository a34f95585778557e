"""On a CPU bfloat16 is for weights alone: what is computed with them is as in float32."""

import importlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from derailleur.engine import Engine, EngineConfig, Request, load_decoder
from derailleur.errors import ConfigError
from derailleur.model import Decoder, save_model
from derailleur.placement import Placement

MIXED = Placement("FSKG")


@pytest.fixture(scope="module")
def folder(supernet: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_model(supernet, path)
    return path


@pytest.fixture(scope="module")
def halved(folder: Path) -> Decoder:
    return load_decoder(folder, device="cpu", dtype="bfloat16")


@pytest.fixture(scope="module")
def rounded(halved: Decoder) -> Decoder:
    """The same numbers in float32."""
    return deepcopy(halved).float()


def test_weights_of_linear_maps_are_halved(halved: Decoder, supernet: Decoder) -> None:
    expected = dict(supernet.named_parameters())
    for name, parameter in halved.named_parameters():
        narrow = isinstance(halved.get_submodule(name.rpartition(".")[0]), nn.Linear | nn.Embedding)
        narrow &= name.endswith("weight")
        assert parameter.dtype == (torch.bfloat16 if narrow else torch.float32), name
        assert torch.equal(parameter, expected[name].to(parameter.dtype))
    assert halved.head.weight is halved.embed.weight
    assert halved.dtype == torch.float32


def test_learned_positions(supernet: Decoder, tmp_path: Path) -> None:
    config = supernet.config.model_copy(update={"positions": "learned", "norm": "layer"})
    decoder = Decoder(config)
    decoder.reset_parameters(0)
    save_model(decoder, tmp_path)
    half = load_decoder(tmp_path, device="cpu", dtype="bfloat16")
    with torch.inference_mode():
        logits = half(torch.arange(30).unsqueeze(0)).logits
        assert logits.dtype == torch.float32
        wide = deepcopy(half).float()(torch.arange(30).unsqueeze(0)).logits
    assert (logits - wide).norm() < 0.01 * wide.norm()


@pytest.mark.parametrize("letters", ["FFFF", "SSSS", "KKKK", "GGGG"])
def test_logits_agree_within_the_rounding_of_bfloat16(
    halved: Decoder, rounded: Decoder, letters: str
) -> None:
    tokens = torch.arange(200).view(2, 100)
    with torch.inference_mode():
        got, expected = (each(tokens, Placement(letters)).logits for each in (halved, rounded))
    assert got.dtype == torch.float32
    assert (got - expected).norm() < 0.05 * expected.norm()


def test_texts_are_those_of_the_rounded_weights(
    folder: Path,
    rounded: Decoder,
    engine: Engine,
    prompts: list[list[int]],
    assert_same_text: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linear = importlib.import_module("derailleur.kernels.linear")
    monkeypatch.setattr(linear, "_BFLOAT16", linear._Form.WIDENED)  # which rounds nothing
    narrow = Engine(folder, engine.tokenizer, EngineConfig(dtype="bfloat16", prefill_tokens=48))
    wide = Engine(rounded, engine.tokenizer)
    answers = (each.generate(prompts, placement=MIXED, max_tokens=16) for each in (narrow, wide))
    for prompt, got, expected in zip(prompts, *answers, strict=True):
        assert_same_text(prompt, MIXED, got.tokens, expected.tokens)


def test_states_take_what_they_take_in_float32(folder: Path, make_engine: Callable[..., Engine]) -> None:
    wide = make_engine()
    narrow = Engine(folder, wide.tokenizer, EngineConfig(dtype="bfloat16"))
    for engine in (narrow, wide):
        engine.submit(Request(prompt=[1] * 40, placement=MIXED, max_tokens=9))
        engine.step()
    assert narrow.load.used_bytes == wide.load.used_bytes


def test_an_engine_that_promises_every_bit_refuses(folder: Path, engine: Engine) -> None:
    with pytest.raises(ConfigError, match="bfloat16"):
        Engine(folder, engine.tokenizer, EngineConfig(dtype="bfloat16", batch_invariant=True))
