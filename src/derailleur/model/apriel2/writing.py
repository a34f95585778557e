"""`DecoderConfig` -> a released config.json.

What the layout cannot say is found by reading the description back: the first field that comes back
different is refused by its name, whatever fields a decoder may have.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from derailleur.errors import CheckpointError
from derailleur.model.apriel2 import sections
from derailleur.model.apriel2.reading import read
from derailleur.model.config import DecoderConfig
from derailleur.model.mixers.recurrent import RecurrentConfig
from derailleur.placement import MIXERS

_NAMES = {"F": "attention", "S": "sliding_window", "K": "kda", "G": "gdn"}
"""Each mixer's name in a bank; serving code looks for the heads under `attention`."""

_MODELLING_CODE = {
    "AutoConfig": "configuration_apriel2.Apriel2Config",
    "AutoModel": "modeling_apriel2.Apriel2Model",
    "AutoModelForCausalLM": "modeling_apriel2.Apriel2ForConditionalGeneration",
}

_DEFAULT_NORM_EPS = 1e-5
"""That of a released GDN without the key, which Fast-LLM does not know."""

_ATTENTION_FIELDS = (
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "rope_theta",
    "rope_scaling",
    "attention_bias",
    "attention_output_bias",
    "qk_norm",
)


def write(config: DecoderConfig) -> tuple[dict[str, Any], sections.Released]:
    """Describe a decoder as the released layout does: config.json, and the same as sections.

    Raises:
        CheckpointError: naming the first field for which the layout has no place.
    """
    released = _released(config)
    description = released.model_dump(mode="json", exclude_unset=True)
    kept, _ = read(description, "config.json")
    for field, ours, theirs in _differences(_effective(config), _effective(kept)):
        says = "has no such setting" if theirs is None else f"can only say {theirs}"
        remedy = f"distil with {field} false" if field.endswith("gate_bias") else "export in another format"
        raise CheckpointError(f"{field} is {ours}, but the apriel2 layout {says}; {remedy}")
    return description | {"auto_map": _MODELLING_CODE}, released


def _released(config: DecoderConfig) -> sections.Released:
    return sections.Released(
        architectures=["Apriel2ForConditionalGeneration"],
        model_type="apriel2",
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        tie_word_embeddings=config.tie_embeddings,
        embeddings=sections.Embeddings(max_position_embeddings=config.max_positions),
        decoder=_decoder(config),
        head=sections.Head(normalization=_norm(config)),
    )


def _decoder(config: DecoderConfig) -> sections.Fixed | sections.Pattern:
    banks = [config.bank(layer) for layer in range(config.num_layers)]
    names = {bank: "_".join(_NAMES[letter] for letter in bank) for bank in banks}
    if len(names) == 1:
        return sections.Fixed(type="fixed", num_blocks=len(banks), block=_block(banks[0], config))
    return sections.Pattern(
        type="pattern",
        num_blocks=len(banks),
        pattern=[names[bank] for bank in banks],
        blocks={name: _block(bank, config) for bank, name in names.items()},
    )


def _block(bank: str, config: DecoderConfig) -> sections.Block:
    mixers = {_NAMES[letter]: _mixer(letter, config) for letter in bank}
    main = _NAMES[bank[0]]
    return sections.Block(
        mixer=mixers[main]
        if len(bank) == 1
        else sections.Stochastic(
            type="stochastic", main_mixer_name=main, sampling_strategy="uniform", mixers=mixers
        ),
        mlp=sections.Mlp(
            type="mlp",
            intermediate_size=config.intermediate_size,
            activation="silu",
            gated=True,
            add_linear_biases=False,
        ),
        normalization=_norm(config),
    )


def _norm(config: DecoderConfig) -> sections.Norm:
    return sections.Norm(type="rms_norm", epsilon=config.norm_eps)


def _mixer(letter: str, config: DecoderConfig) -> sections.Leaf:
    settings = _said(getattr(config.mixers, letter), config)
    if letter == "F":
        return _attention(config)
    if letter == "S":
        return _attention(config, window_size=settings["window_tokens"])
    convolution = sections.Convolution(kernel_size=settings["convolution_tokens"])
    if letter == "K":
        return sections.Kda(
            type="kda",
            heads=settings["num_value_heads"],
            head_dim=settings["head_dim"],
            convolution_layer=convolution,
            normalization=sections.GatedNorm(
                epsilon=settings["norm_eps"], activation=settings["gate_activation"]
            ),
        )
    eps = settings["norm_eps"]
    return sections.Gdn(
        type="gdn",
        value_heads=settings["num_value_heads"],
        key_heads=settings["num_key_heads"],
        key_head_dim=settings["head_dim"],
        value_head_dim=settings["head_dim"],
        convolution_layer=convolution,
        **({} if eps == _DEFAULT_NORM_EPS else {"norm_eps": eps}),
    )


def _attention(config: DecoderConfig, **window: int) -> sections.Attention:
    biases = {}
    if config.attention_bias or config.attention_output_bias:
        inner = sections.Projection(bias=sections.Bias(enabled=config.attention_bias))
        outer = sections.Projection(bias=sections.Bias(enabled=config.attention_output_bias))
        biases = {"query_layer": inner, "key_layer": inner, "value_layer": inner, "dense_layer": outer}
    return sections.Attention(
        type="attention",
        heads=config.num_heads,
        head_groups=config.num_kv_heads,
        head_size=config.head_dim,
        rotary=sections.Rotary(type="mistral_1d", theta=config.rope_theta),
        add_linear_biases=False,
        **biases,
        **window,
    )


def _effective(config: DecoderConfig) -> dict[str, Any]:
    """What a decoder computes with: every default said, nothing that no layer uses."""
    values = config.model_dump()
    values["banks"] = [config.bank(layer) for layer in range(config.num_layers)]
    used = [letter for letter in MIXERS if any(letter in bank for bank in values["banks"])]
    values["mixers"] = {letter: _said(getattr(config.mixers, letter), config) for letter in used}
    if not {"F", "S"}.intersection(used):
        for name in _ATTENTION_FIELDS:
            del values[name]
    return values


def _said(settings: Any, config: DecoderConfig) -> dict[str, Any]:
    """A mixer's settings with what follows from the decoder's said."""
    values: dict[str, Any] = settings.model_dump()
    if isinstance(settings, RecurrentConfig):
        heads = settings.num_value_heads or config.num_heads
        values["num_value_heads"] = heads
        values["num_key_heads"] = settings.num_key_heads or heads
        values["head_dim"] = settings.head_dim or config.head_dim
        values["norm_eps"] = settings.norm_eps or config.norm_eps
    return values


def _differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """The dotted names at which two configurations differ, and both values."""
    for name, value in ours.items():
        if isinstance(value, dict) and isinstance(theirs.get(name), dict):
            yield from _differences(value, theirs[name], f"{prefix}{name}.")
        elif value != theirs.get(name):
            yield f"{prefix}{name}", value, theirs.get(name)
