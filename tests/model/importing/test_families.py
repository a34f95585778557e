"""Imported checkpoints give transformers' logits, and in our engine transformers' greedy text."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from derailleur.engine import Engine, EngineConfig, Request
from derailleur.model import import_checkpoint, load_config, load_model
from derailleur.placement import Placement

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 32}
OLD_YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama tied, one file": ("llama", {"tie_word_embeddings": True, "shard_size": "1GB"}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, multi-query, gelu": ("llama", {"num_key_value_heads": 1, "hidden_act": "gelu"}),
    "llama3 scaling": ("llama", {"rope_parameters": LLAMA3}),
    "linear scaling": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5}}),
    "linear scaling, old keys": (
        "llama",
        {
            "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 500.0},
            "written": {"rope_parameters": None, "rope_theta": 500.0}
            | {"rope_scaling": {"type": "linear", "factor": 2.5}},
        },
    ),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 16}),
    "mistral, window": ("mistral", {"sliding_window": 12}),
    "qwen2": ("qwen2", {}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, old yarn": (
        "qwen2",
        {
            "rope_parameters": YARN,
            "written": {"rope_parameters": None, "rope_theta": 1000.0, "rope_scaling": OLD_YARN},
        },
    ),
    "qwen2, windows in some layers": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1},
    ),
    "qwen2, windows without layer_types": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 12,
            "max_window_layers": 2,
            "written": {"layer_types": None},
        },
    ),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "qwen3, biases and yarn": (
        "qwen3",
        {"head_dim": 16, "attention_bias": True, "rope_parameters": YARN | {"truncate": False}},
    ),
    "yarn, two magnitudes": ("llama", {"rope_parameters": YARN | {"mscale": 1.0, "mscale_all_dim": 0.5}}),
    "starcoder2": ("starcoder2", {}),
    "starcoder2, window": ("starcoder2", {"sliding_window": 12}),
    "starcoder2, untied, no biases": ("starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    "gpt_bigcode": ("gpt_bigcode", {}),
    "gpt_bigcode, one head of keys per query": ("gpt_bigcode", {"multi_query": False, "n_inner": 40}),
    "gpt_bigcode, untied, gelu": (
        "gpt_bigcode",
        {"tie_word_embeddings": False, "activation_function": "gelu"},
    ),
}


class NoText:
    """Tokens without text; none ends it."""

    eos_id = -1

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b""


def greedy(folder: Path, prompt: list[int], count: int) -> list[int]:
    """What our engine writes, its prompt read in pieces."""
    engine = Engine(folder, NoText(), EngineConfig(prefill_tokens=16))
    placement = engine.decoder.full_placement
    engine.submit(Request(prompt=prompt, placement=placement, max_tokens=count, ignore_eos=True))
    tokens: list[int] = []
    while engine.busy:
        tokens += [token for delta in engine.step() for token in delta.tokens]
    return tokens


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_text(case: str, tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    family, fields = CASES[case]
    model = make_foreign(family, tmp_path / "source", **fields)
    import_checkpoint(tmp_path / "source", tmp_path / "out")
    ours = load_model(tmp_path / "out")
    tokens = torch.randint(97, (2, 100), generator=torch.Generator().manual_seed(1))
    expected = model(tokens).logits
    assert expected.std() > 0.5
    assert (ours(tokens).logits - expected).abs().max() < 1e-4
    prompt = tokens[:1, :40]
    generated = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=64, do_sample=False
    )
    assert greedy(tmp_path / "out", prompt[0].tolist(), 64) == generated[0, 40:].tolist()


@torch.no_grad()
@pytest.mark.parametrize("case", ["qwen2, tied", "gpt_bigcode"])
def test_bfloat16_stays_what_it_is(case: str, tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    family, fields = CASES[case]
    make_foreign(family, tmp_path / "source", dtype=torch.bfloat16, **fields)
    import_checkpoint(tmp_path / "source", tmp_path / "out")
    assert {x.dtype for x in load_file(tmp_path / "out/model.safetensors").values()} == {torch.bfloat16}
    ours = load_model(tmp_path / "out")
    assert ours.embed.weight.dtype == torch.float32
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "source", dtype=torch.float32)
    tokens = torch.randint(97, (1, 50), generator=torch.Generator().manual_seed(1))
    assert (ours(tokens).logits - theirs(tokens).logits).abs().max() < 1e-4


def test_windows_are_those_of_the_layers(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("qwen2", tmp_path / "source", **CASES["qwen2, windows in some layers"][1])
    import_checkpoint(tmp_path / "source", tmp_path / "out")
    full = load_config(tmp_path / "out").mixers.F
    assert (full.window_tokens, full.first_window_layer) == (12, 1)
    assert load_model(tmp_path / "out").full_placement == Placement("FFF")
