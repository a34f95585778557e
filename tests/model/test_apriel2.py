"""The released Super Apriel layout: configurations both ways, tensor names, and what they compute."""

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.model import Decoder, DecoderConfig
from derailleur.model.apriel2 import parts, read, write

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 6,
    "intermediate_size": 20,
    "max_positions": 128,
    "rope_theta": 500.0,
    "tie_embeddings": False,
}
BANK = {
    "S": {"window_tokens": 5},
    "K": {"gate_activation": "sigmoid", "gate_bias": False},
    "G": {"num_key_heads": 2, "gate_bias": False, "convolution_tokens": 3},
}


def config_of(**changes: Any) -> DecoderConfig:
    return validate(DecoderConfig, TINY | {"mixers": BANK} | changes)


EXPRESSIBLE = {
    "supernet": {},
    "teacher": {"mixers": {}},
    "tied-biased": {"tie_embeddings": True, "attention_bias": True},
    "output-bias": {"attention_output_bias": True},
    "thin": {"banks": ["F", "FSKG", "KG"]},
    "fixed": {"banks": ["K", "S", "G"]},
    "all-swa": {"banks": ["S"] * 3, "mixers": {"S": BANK["S"]}},
    "wide-recurrent": {"mixers": {"K": {"head_dim": 10, "num_value_heads": 2, "gate_bias": False}}},
    "other-eps": {"norm_eps": 1e-6, "mixers": {x: BANK[x] | {"norm_eps": 1e-5} for x in "KG"}},
    "own-eps": {"norm_eps": 1e-6},
    "no-attention": {
        "banks": ["G", "K", "G"],
        "num_kv_heads": 4,
        "rope_theta": 1e4,
        "mixers": {"K": BANK["K"], "G": BANK["G"]},
    },
}


@pytest.mark.parametrize("changes", EXPRESSIBLE.values(), ids=EXPRESSIBLE)
def test_configurations_survive_the_trip(changes: dict[str, Any]) -> None:
    config = config_of(**changes)
    description, _ = write(config)
    back, released = read(json.loads(json.dumps(description)), "config.json")
    assert back == config
    assert write(back) == (description, released)


RECURRENT = st.fixed_dictionaries(
    {"gate_bias": st.just(False), "convolution_tokens": st.integers(2, 5)},
    optional={"head_dim": st.sampled_from([2, 4]), "norm_eps": st.sampled_from([1e-6, 1e-5])},
)


@given(
    banks=st.lists(st.sampled_from(["F", "S", "K", "G", "FS", "KG", "FSKG"]), min_size=3, max_size=3),
    mixers=st.fixed_dictionaries({"S": st.just(BANK["S"]), "K": RECURRENT, "G": RECURRENT}),
    norm_eps=st.sampled_from([1e-6, 1e-5]),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_of_any_decoder_reads_back_the_same(
    banks: list[str], mixers: dict[str, Any], norm_eps: float
) -> None:
    config = config_of(banks=banks, mixers=mixers, norm_eps=norm_eps)
    description, released = write(config)
    back, _ = read(description, "config.json")
    assert [back.bank(layer) for layer in range(3)] == banks
    assert write(back) == (description, released)
    with torch.device("meta"):
        ours, theirs = (Decoder(x).state_dict() for x in (config, back))
    assert {name: x.shape for name, x in ours.items()} == {name: x.shape for name, x in theirs.items()}


def test_what_a_supernet_is_written_as() -> None:
    attention = {
        "type": "attention",
        "heads": 4,
        "head_groups": 2,
        "head_size": 6,
        "rotary": {"type": "mistral_1d", "theta": 500.0},
        "add_linear_biases": False,
    }
    norm = {"type": "rms_norm", "epsilon": 1e-5}
    description, _ = write(config_of())
    del description["auto_map"]
    assert description == {
        "architectures": ["Apriel2ForConditionalGeneration"],
        "model_type": "apriel2",
        "vocab_size": 61,
        "hidden_size": 24,
        "tie_word_embeddings": False,
        "embeddings": {"max_position_embeddings": 128},
        "head": {"normalization": norm},
        "decoder": {
            "type": "fixed",
            "num_blocks": 3,
            "block": {
                "mixer": {
                    "type": "stochastic",
                    "main_mixer_name": "attention",
                    "sampling_strategy": "uniform",
                    "mixers": {
                        "attention": attention,
                        "sliding_window": attention | {"window_size": 5},
                        "kda": {
                            "type": "kda",
                            "heads": 4,
                            "head_dim": 6,
                            "convolution_layer": {"kernel_size": 4},
                            "normalization": {"epsilon": 1e-5, "activation": "sigmoid"},
                        },
                        "gdn": {
                            "type": "gdn",
                            "value_heads": 4,
                            "key_heads": 2,
                            "key_head_dim": 6,
                            "value_head_dim": 6,
                            "convolution_layer": {"kernel_size": 3},
                        },
                    },
                },
                "mlp": {
                    "type": "mlp",
                    "intermediate_size": 20,
                    "activation": "silu",
                    "gated": True,
                    "add_linear_biases": False,
                },
                "normalization": norm,
            },
        },
    }


def test_a_thin_checkpoint_is_a_pattern_of_blocks() -> None:
    description, _ = write(config_of(banks=["F", "FG", "F"]))
    decoder = description["decoder"]
    assert decoder["pattern"] == ["attention", "attention_gdn", "attention"]
    assert decoder["blocks"]["attention"]["mixer"]["type"] == "attention"
    assert list(decoder["blocks"]["attention_gdn"]["mixer"]["mixers"]) == ["attention", "gdn"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixers": {"G": {}}}, r"mixers\.G\.gate_bias is True.* distil with mixers\.G\.gate_bias false"),
        ({"mixers": {"K": {}}}, r"mixers\.K\.gate_bias is True"),
        ({"mixers": {"G": BANK["G"] | {"negative_eigenvalues": True}}}, r"mixers\.G\.negative_eigenvalues"),
        ({"mixers": {"G": BANK["G"] | {"gate_activation": "sigmoid"}}}, r"mixers\.G\.gate_activation"),
        ({"mixers": {"K": BANK["K"] | {"num_key_heads": 2}}}, r"mixers\.K\.num_key_heads is 2"),
        ({"mixers": {"K": BANK["K"] | {"decay_lower_bound": -5.0}}}, r"mixers\.K\.decay_lower_bound is -5"),
        ({"mixers": {"F": {"window_tokens": 64}}}, r"mixers\.F\.window_tokens is 64"),
        ({"positions": "learned"}, "positions is learned"),
        ({"norm": "layer"}, "norm is layer"),
        ({"mlp": "plain"}, "mlp is plain"),
        ({"qk_norm": True}, "qk_norm is True"),
        ({"rope_scaling": {"kind": "linear", "factor": 2.0}}, "rope_scaling"),
    ],
)
def test_what_the_layout_cannot_say_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        write(config_of(**changes))


def changed(*path: str, value: Any) -> dict[str, Any]:
    """The supernet's description with one value changed."""
    description, _ = write(config_of())
    inner = description
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return description


MIXERS = ("decoder", "block", "mixer", "mixers")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (changed(*MIXERS, "gdn", "value_head_dim", value=12), "value_head_dim 12"),
        (changed(*MIXERS, "gdn", "type", value="mamba"), "'mamba'"),
        (changed(*MIXERS, "attention", "query_norm", value={}), "query_norm"),
        (changed(*MIXERS, "attention", "causal", value=False), "causal"),
        (changed(*MIXERS, "attention", "rotary", "type", value="yarn"), r"rotary\.type"),
        (
            changed(*MIXERS, "attention", "query_layer", value={"bias": {"enabled": True}}),
            "query, key and value",
        ),
        (changed(*MIXERS, "sliding_window", "heads", value=8), "attention mixers' settings"),
        (changed(*MIXERS, "attention", "window_size", value=9), "'attention' and 'sliding_window'"),
        (changed("decoder", "block", "mlp", "gated", value=False), r"mlp\.gated"),
        (changed("decoder", "block", "mlp", "activation", value="gelu"), r"mlp\.activation"),
        (changed("decoder", "block", "normalization", "type", value="layer_norm"), r"normalization\.type"),
        (changed("decoder", "block", "normalization", "epsilon", value=1e-6), r"normalization\.epsilon"),
        (changed("decoder", "type", value="pattern"), r"decoder\.pattern is missing"),
        (changed("hidden_size", value=None), "hidden_size"),
    ],
)
def test_what_this_decoder_does_not_compute_is_named(description: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"here/config\.json: .*{message}"):
        read(description, "here/config.json")


def test_names_of_mixers_are_free_and_absent_keys_have_the_released_defaults() -> None:
    description, _ = write(config_of())
    mixer = description["decoder"]["block"]["mixer"]
    mixer["mixers"] = {
        "linear": {"type": "kda", "heads": 4, "head_dim": 6},
        "delta": {"type": "gdn", "value_heads": 4, "key_heads": 2, "key_head_dim": 6, "value_head_dim": 6},
        "attention": mixer["mixers"]["attention"],
    }
    mixer["sampling_weights"] = {"linear": 2.0}
    config, released = read(description | {"vision_encoder": {}, "dtype": "bfloat16"}, "config.json")
    assert config.mixers.letters == "FKG"
    assert config.mixers.K is not None
    assert config.mixers.K.gate_activation == "silu"
    assert any(x.released.startswith("model.decoder.blocks.2.mixer.mixers.delta.") for x in parts(released))


@pytest.mark.parametrize("changes", EXPRESSIBLE.values(), ids=EXPRESSIBLE)
def test_parts_cover_every_tensor_once(changes: dict[str, Any]) -> None:
    config = config_of(**changes)
    with torch.device("meta"):
        ours = {name: x.shape for name, x in Decoder(config).state_dict().items()}
    if config.tie_embeddings:
        del ours["head.weight"]
    _, released = write(config)
    covered: dict[str, int] = {}
    names = set()
    for part in parts(released):
        assert part.released not in names
        names.add(part.released)
        start = covered.get(part.ours, 0)
        rows = slice(0, ours[part.ours][0]) if part.rows is None else part.rows
        assert rows.start == start
        covered[part.ours] = rows.stop
    assert covered == {name: shape[0] for name, shape in ours.items()}


RELEASED_SHAPES = {
    "model.embed_tokens.weight": (61, 24),
    "model.decoder.blocks.0.input_layernorm.weight": (24,),
    "model.decoder.blocks.0.mixer.mixers.attention.q_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.attention.k_proj.weight": (12, 24),
    "model.decoder.blocks.0.mixer.mixers.attention.v_proj.weight": (12, 24),
    "model.decoder.blocks.0.mixer.mixers.attention.o_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.sliding_window.q_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.sliding_window.k_proj.weight": (12, 24),
    "model.decoder.blocks.0.mixer.mixers.sliding_window.v_proj.weight": (12, 24),
    "model.decoder.blocks.0.mixer.mixers.sliding_window.o_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.q_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.k_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.v_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.q_conv.weight": (24, 1, 4),
    "model.decoder.blocks.0.mixer.mixers.kda.k_conv.weight": (24, 1, 4),
    "model.decoder.blocks.0.mixer.mixers.kda.v_conv.weight": (24, 1, 4),
    "model.decoder.blocks.0.mixer.mixers.kda.f_a_proj.weight": (6, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.f_b_proj.weight": (24, 6),
    "model.decoder.blocks.0.mixer.mixers.kda.g_a_proj.weight": (6, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.g_b_proj.weight": (24, 6),
    "model.decoder.blocks.0.mixer.mixers.kda.beta_proj.weight": (4, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.o_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.kda.A_log": (4,),
    "model.decoder.blocks.0.mixer.mixers.kda.dt_bias": (24,),
    "model.decoder.blocks.0.mixer.mixers.kda.norm.weight": (6,),
    "model.decoder.blocks.0.mixer.mixers.gdn.in_proj_qkvz.weight": (72, 24),
    "model.decoder.blocks.0.mixer.mixers.gdn.in_proj_ba.weight": (8, 24),
    "model.decoder.blocks.0.mixer.mixers.gdn.convolution.weight": (48, 1, 3),
    "model.decoder.blocks.0.mixer.mixers.gdn.out_proj.weight": (24, 24),
    "model.decoder.blocks.0.mixer.mixers.gdn.A_log": (4,),
    "model.decoder.blocks.0.mixer.mixers.gdn.dt_bias": (4,),
    "model.decoder.blocks.0.mixer.mixers.gdn.norm.weight": (6,),
    "model.decoder.blocks.0.post_attention_layernorm.weight": (24,),
    "model.decoder.blocks.0.mlp.gate_proj.weight": (20, 24),
    "model.decoder.blocks.0.mlp.up_proj.weight": (20, 24),
    "model.decoder.blocks.0.mlp.down_proj.weight": (24, 20),
    "model.norm.weight": (24,),
    "lm_head.weight": (61, 24),
}
"""What the released modelling code has for a supernet of one layer at these sizes."""


def released_weights(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * (0.3 if len(shape) > 1 else 1.0)
        for name, shape in RELEASED_SHAPES.items()
    }


def decoder_of(weights: dict[str, Tensor]) -> Decoder:
    """A decoder of ours with released weights."""
    config = config_of(num_layers=1)
    decoder = Decoder(config)
    own = dict(decoder.state_dict())
    _, released = write(config)
    found = list(parts(released))
    assert {x.released for x in found} == set(weights)
    for part in found:
        own[part.ours][part.rows or slice(None)] = weights[part.released]
    decoder.load_state_dict(own)
    return decoder.eval()


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """[T, channels]: a depthwise causal convolution and SiLU, tap by tap."""
    taps = weight.shape[-1]
    padded = torch.cat([x.new_zeros(taps - 1, x.shape[1]), x])
    return F.silu(sum(weight[:, 0, i] * padded[i : i + x.shape[0]] for i in range(taps)))


def delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
    """The recurrence of the released kernels, token by token; [T, H, D], decays [T, H, D] or [T, H, 1]."""
    q, k = (x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6) for x in (q, k))
    q = q * q.shape[-1] ** -0.5
    state = q.new_zeros(q.shape[1], q.shape[2], v.shape[2])
    outputs = []
    for t in range(q.shape[0]):
        state = state * log_decay[t].exp().unsqueeze(-1)
        error = v[t] - torch.einsum("hkv,hk->hv", state, k[t])
        state = state + torch.einsum("hk,hv->hkv", k[t], beta[t].unsqueeze(-1) * error)
        outputs.append(torch.einsum("hkv,hk->hv", state, q[t]))
    return torch.stack(outputs)


def gated_norm(x: Tensor, weight: Tensor, gate: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight * gate


def released_gdn(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """A released GDN with 2 key and 4 value heads of 6 channels, from its own tensors."""
    q, k, v, z = (x @ w["in_proj_qkvz.weight"].T).split([12, 12, 24, 24], -1)
    beta, alpha = (x @ w["in_proj_ba.weight"].T).split([4, 4], -1)
    q, k, v = convolve(torch.cat([q, k, v], -1), w["convolution.weight"]).split([12, 12, 24], -1)
    q, k = (y.unflatten(-1, (2, 6)).repeat_interleave(2, 1) for y in (q, k))
    log_decay = -w["A_log"].exp() * F.softplus(alpha + w["dt_bias"])
    out = delta_rule(q, k, v.unflatten(-1, (4, 6)), beta.sigmoid(), log_decay.unsqueeze(-1))
    return (
        gated_norm(out, w["norm.weight"], F.silu(z).unflatten(-1, (4, 6))).flatten(1) @ w["out_proj.weight"].T
    )


def released_kda(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """A released KDA with 4 heads of 6 channels and a sigmoid gate, from its own tensors."""
    q, k, v = (
        convolve(x @ w[f"{name}_proj.weight"].T, w[f"{name}_conv.weight"]).unflatten(-1, (4, 6))
        for name in "qkv"
    )
    rate = x @ w["f_a_proj.weight"].T @ w["f_b_proj.weight"].T + w["dt_bias"]
    log_decay = -w["A_log"].exp().unsqueeze(-1) * F.softplus(rate).unflatten(-1, (4, 6))
    out = delta_rule(q, k, v, (x @ w["beta_proj.weight"].T).sigmoid(), log_decay)
    gate = (x @ w["g_a_proj.weight"].T @ w["g_b_proj.weight"].T).sigmoid()
    return gated_norm(out, w["norm.weight"], gate.unflatten(-1, (4, 6))).flatten(1) @ w["o_proj.weight"].T


@torch.no_grad()
@pytest.mark.parametrize(
    ("letter", "name", "block"), [("G", "gdn", released_gdn), ("K", "kda", released_kda)]
)
def test_released_recurrent_weights_compute_the_released_mathematics(
    letter: str, name: str, block: Any
) -> None:
    weights = released_weights(1)
    decoder = decoder_of(weights)
    prefix = f"model.decoder.blocks.0.mixer.mixers.{name}."
    own = {x.removeprefix(prefix): w.double() for x, w in weights.items() if x.startswith(prefix)}
    x = torch.randn(37, 24, generator=torch.Generator().manual_seed(2))
    layer = decoder.layers[0]
    mixed = layer.mixer(letter)(x.unsqueeze(0), decoder.rotary.sequence(37))[0]  # type: ignore[operator, union-attr]
    expected = block(own, x.double()).float()
    assert expected.std() > 0.1
    torch.testing.assert_close(mixed, expected, atol=1e-4, rtol=1e-4)
