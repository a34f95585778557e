"""Which rows of which of our tensors each released tensor is; the numbers themselves are the same."""

from collections.abc import Iterator
from dataclasses import dataclass

from derailleur.model.apriel2.sections import Attention, Gdn, Leaf, Released
from derailleur.placement import MIXER_NAMES


@dataclass(frozen=True)
class Part:
    """A released tensor and its place in ours.

    Attributes:
        released, ours: names.
        rows: the rows of ours that it is; None where it is the whole tensor.
    """

    released: str
    ours: str
    rows: slice | None = None


def parts(released: Released) -> Iterator[Part]:
    """Every tensor of a text model, those of one of ours in the order of its rows."""
    yield Part("model.embed_tokens.weight", "embed.weight")
    for layer, block in enumerate(released.decoder.layers):
        theirs, ours = f"model.decoder.blocks.{layer}.", f"layers.{layer}."
        yield Part(f"{theirs}input_layernorm.weight", f"{ours}input_norm.weight")
        for letter, (place, mixer) in block.bank.items():
            for part in _mixer_parts(mixer):
                own = f"{ours}mixers.{MIXER_NAMES[letter]}.{part.ours}"
                yield Part(f"{theirs}{place}{part.released}", own, part.rows)
        yield Part(f"{theirs}post_attention_layernorm.weight", f"{ours}post_norm.weight")
        for projection in ("gate_proj", "up_proj", "down_proj"):
            yield Part(f"{theirs}mlp.{projection}.weight", f"{ours}mlp.{projection}.weight")
    yield Part("model.norm.weight", "norm.weight")
    if not released.tie_word_embeddings:
        yield Part("lm_head.weight", "head.weight")


def _mixer_parts(mixer: Leaf) -> Iterator[Part]:
    if isinstance(mixer, Attention):
        projections = zip(
            ("q_proj", "k_proj", "v_proj", "o_proj"),
            (mixer.query_layer, mixer.key_layer, mixer.value_layer, mixer.dense_layer),
            strict=True,
        )
        for name, projection in projections:
            yield Part(f"{name}.weight", f"{name}.weight")
            if mixer.has_bias(projection):
                yield Part(f"{name}.bias", f"{name}.bias")
        return
    for name in ("A_log", "dt_bias", "norm.weight"):
        yield Part(name, name)
    if isinstance(mixer, Gdn):
        for name in ("in_proj_qkvz.weight", "in_proj_ba.weight", "convolution.weight", "out_proj.weight"):
            yield Part(name, name)
        return
    inner, heads, head_dim = mixer.heads * mixer.head_dim, mixer.heads, mixer.head_dim
    yield from _stacked("in_proj_qkv.weight", {"q_proj": inner, "k_proj": inner, "v_proj": inner})
    yield from _stacked(
        "in_proj_fgb.weight", {"f_a_proj": head_dim, "g_a_proj": head_dim, "beta_proj": heads}
    )
    yield from _stacked("convolution.weight", {"q_conv": inner, "k_conv": inner, "v_conv": inner})
    for theirs, ours in {"f_b_proj": "f_proj", "g_b_proj": "g_proj", "o_proj": "out_proj"}.items():
        yield Part(f"{theirs}.weight", f"{ours}.weight")


def _stacked(ours: str, sizes: dict[str, int]) -> Iterator[Part]:
    """Released tensors that are ours one above the other; `sizes` are their rows."""
    start = 0
    for name, rows in sizes.items():
        yield Part(f"{name}.weight", ours, slice(start, start + rows))
        start += rows
