"""A released config.json -> `DecoderConfig`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.model.apriel2.sections import Attention, Gdn, Leaf, Released
from derailleur.model.config import DecoderConfig


def read(description: Mapping[str, Any], source: object) -> tuple[DecoderConfig, Released]:
    """Understand a released config.json; the vision encoder is left alone.

    Raises:
        CheckpointError: naming the first key that this decoder does not compute.
    """
    released = _parse(description, source)
    layers = released.decoder.layers
    mixers: dict[str, Leaf] = {}
    for layer in layers:
        for letter, (_, mixer) in layer.bank.items():
            _alike(f"the {mixer.type} mixer", (mixers.setdefault(letter, mixer), mixer), source)
    heads = _heads(mixers, source)
    norms = (released.head.normalization, *(layer.normalization for layer in layers))
    eps = _alike("normalization.epsilon", (norm.epsilon for norm in norms), source)
    values = {
        **heads,
        "vocab_size": released.vocab_size,
        "hidden_size": released.hidden_size,
        "num_layers": len(layers),
        "intermediate_size": _alike(
            "mlp.intermediate_size", (layer.mlp.intermediate_size for layer in layers), source
        ),
        "max_positions": released.embeddings.max_position_embeddings,
        "norm_eps": eps,
        "tie_embeddings": released.tie_word_embeddings,
        "mixers": {letter: _settings(mixer, heads, eps) for letter, mixer in mixers.items()},
        "banks": _banks(["".join(layer.bank) for layer in layers]),
    }
    return validate(DecoderConfig, values, source=source), released


def _parse(description: Mapping[str, Any], source: object) -> Released:
    try:
        return Released.model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
    keys = [*_keys(first["loc"], description)]
    if first["type"] == "missing":
        raise CheckpointError(f"{source}: {'.'.join([*keys, str(first['loc'][-1])])} is missing")
    key = ".".join(keys)
    if first["type"] == "extra_forbidden":
        raise CheckpointError(f"{source}: {key} is not supported")
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    raise CheckpointError(f"{source}: {key}: {first['msg'].removeprefix('Value error, ')}{got}")


def _keys(location: Iterable[int | str], value: Any) -> Iterator[str]:
    """The keys of the file on a validation error's way, which also passes the kinds of unions."""
    for part in location:
        if isinstance(value, Mapping) and part in value:
            yield str(part)
            value = value[part]


def _heads(mixers: Mapping[str, Leaf], source: object) -> dict[str, Any]:
    """The decoder's attention fields, from its attention; from a recurrent mixer where there is none."""
    attention = [_attention(mixer, source) for mixer in mixers.values() if isinstance(mixer, Attention)]
    if attention:
        fields: dict[str, Any] = _alike("the attention mixers' settings", attention, source)
        return fields
    recurrent = _recurrent(next(iter(mixers.values())))
    heads = recurrent["num_value_heads"]
    return {"num_heads": heads, "num_kv_heads": heads, "head_dim": recurrent["head_dim"]}


def _attention(mixer: Attention, source: object) -> dict[str, Any]:
    inner = (mixer.query_layer, mixer.key_layer, mixer.value_layer)
    return {
        "num_heads": mixer.heads,
        "num_kv_heads": mixer.head_groups or mixer.heads,
        "head_dim": mixer.head_size,
        "rope_theta": mixer.rotary.theta,
        "attention_bias": _alike("biases of query, key and value", map(mixer.has_bias, inner), source),
        "attention_output_bias": mixer.has_bias(mixer.dense_layer),
    }


def _settings(mixer: Leaf, heads: Mapping[str, Any], eps: float) -> dict[str, Any]:
    """A mixer's own configuration, in which what follows from the decoder's is left unsaid."""
    if isinstance(mixer, Attention):
        return {} if mixer.window_size is None else {"window_tokens": mixer.window_size}
    settings = _recurrent(mixer)
    defaults = {
        "num_key_heads": settings["num_value_heads"],
        "num_value_heads": heads["num_heads"],
        "head_dim": heads["head_dim"],
        "norm_eps": eps,
    }
    return {name: value for name, value in settings.items() if value != defaults.get(name)}


def _recurrent(mixer: Leaf) -> dict[str, Any]:
    """The settings of a recurrent mixer, all of them said."""
    assert not isinstance(mixer, Attention)
    if isinstance(mixer, Gdn):
        key_heads, value_heads, head_dim = mixer.key_heads, mixer.value_heads, mixer.key_head_dim
        gate, eps = "silu", mixer.norm_eps
    else:
        key_heads, value_heads, head_dim = mixer.heads, mixer.heads, mixer.head_dim
        gate, eps = mixer.normalization.activation, mixer.normalization.epsilon
    return {
        "num_key_heads": key_heads,
        "num_value_heads": value_heads,
        "head_dim": head_dim,
        "norm_eps": eps,
        "convolution_tokens": mixer.convolution_layer.kernel_size,
        "gate_activation": gate,
        "gate_bias": False,
    }


def _banks(banks: list[str]) -> list[str] | None:
    """None where every layer has every mixer; a decoder always has settings for F."""
    return None if banks[0].startswith("F") and len(set(banks)) == 1 else banks


def _alike(what: str, values: Iterable[Any], source: object) -> Any:
    """The value on which all agree."""
    first, *others = values
    if any(other != first for other in others):
        raise CheckpointError(f"{source}: {what} must agree throughout the model")
    return first
