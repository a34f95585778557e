"""Decoders with full attention alone as plain checkpoints of the families that transformers knows.

Nothing is written twice: a family's description is right if importing it gives the decoder back, and
each of its tensors is found by turning round how importing makes ours.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.model.checkpoint import tensor_names
from derailleur.model.config import DecoderConfig, MixersConfig
from derailleur.model.importing.family import Foreign, Made, understand
from derailleur.model.mixers import FullAttentionConfig
from derailleur.model.plan import CheckpointPlan, Read, stored

_ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
_FILE = Path("config.json")


def plain_plan(config: DecoderConfig) -> CheckpointPlan | None:
    """A plan in the layout of the first family that computes just what this decoder does, if one does."""
    if any(config.bank(layer) != "F" for layer in range(config.num_layers)):
        return None
    wanted = _canonical(config)
    for description in _descriptions(config):
        try:
            foreign = understand(description, _FILE)
        except CheckpointError:
            continue
        if _canonical(foreign.config) == wanted:
            return CheckpointPlan(description, _turned_round(foreign, tensor_names(config)))
    return None


def _canonical(config: DecoderConfig) -> DecoderConfig:
    """Without what changes nothing when every layer has full attention alone."""
    window = config.mixers.F if config.mixers.F.window_tokens is not None else FullAttentionConfig()
    return config.model_copy(update={"banks": None, "mixers": MixersConfig(F=window)})


def _turned_round(foreign: Foreign, ours: list[str]) -> dict[str, Callable[[Read], Tensor]]:
    """How each of the family's tensors is made from ours, in the order of ours."""
    parts: dict[str, dict[str, Made]] = {}
    for name in ours:
        made = foreign.tensors[name]
        assert len(made.sources) == 1, "every tensor of ours is a run of rows of one of theirs"
        parts.setdefault(made.sources[0], {})[name] = made
    return {
        source: stored(next(iter(made))) if len(made) == 1 else partial(_joined, made)
        for source, made in parts.items()
    }


def _joined(parts: Mapping[str, Made], read: Read) -> Tensor:
    """Rows of several of our tensors put where importing takes them from."""
    tensors = {name: read(name) for name in parts}
    rows = torch.arange(sum(len(x) for x in tensors.values()))
    first = next(iter(tensors.values()))
    joined = first.new_empty(len(rows), *first.shape[1:])
    for name, x in tensors.items():
        joined[parts[name].make(rows).to(x.device)] = x
    return joined


def _descriptions(config: DecoderConfig) -> Iterator[dict[str, Any]]:
    """What config.json would say in each family."""
    attention, rotary = config.mixers.F, _rotary_family(config)
    settings = rotary | {"rms_norm_eps": config.norm_eps}
    window = {"sliding_window": attention.window_tokens}
    windows = window | {
        "use_sliding_window": attention.window_tokens is not None,
        "max_window_layers": attention.first_window_layer,
    }
    bias = {"attention_bias": config.attention_bias}
    yield _family("llama", "Llama", settings | bias | {"mlp_bias": config.mlp_bias})
    yield _family("mistral", "Mistral", settings | window)
    yield _family("qwen2", "Qwen2", settings | windows)
    yield _family("qwen3", "Qwen3", settings | windows | bias)
    starcoder = {"norm_epsilon": config.norm_eps, "use_bias": config.mlp_bias} | window
    yield _family("starcoder2", "Starcoder2", rotary | starcoder)
    yield _family("gpt_bigcode", "GPTBigCode", _gpt_bigcode(config))


def _family(model_type: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"architectures": [f"{name}ForCausalLM"], "model_type": model_type, **settings}


def _rotary_family(config: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": _ACTIVATIONS[config.activation],
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rope_scaling": _rope_scaling(config),
        "tie_word_embeddings": config.tie_embeddings,
    }


def _rope_scaling(config: DecoderConfig) -> dict[str, Any] | None:
    if config.rope_scaling is None:
        return None
    settings = config.rope_scaling.model_dump(exclude_none=True)
    theirs = {"kind": "rope_type", "original_max_positions": "original_max_position_embeddings"}
    return {theirs.get(name, name): value for name, value in settings.items()}


def _gpt_bigcode(config: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.max_positions,
        "n_embd": config.hidden_size,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": config.intermediate_size,
        "activation_function": _ACTIVATIONS[config.activation],
        "layer_norm_epsilon": config.norm_eps,
        "scale_attn_weights": True,
        "multi_query": config.num_kv_heads == 1,
        "tie_word_embeddings": config.tie_embeddings,
    }
