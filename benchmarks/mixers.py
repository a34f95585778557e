"""The mixers on a CPU, against each other and against transformers' torch forms, as Markdown tables.

    python benchmarks/mixers.py                      # all three tables, one thread
    python benchmarks/mixers.py --only decode --threads 2

What is compared runs interleaved in one process (A B C, A B C, ...); the tables give medians and the ratios
of medians. Layers are 256 wide with 4 heads of 64 (1 of keys and values in attention) and a window of 256.
Peers: Qwen3-Next's gated delta net and Kimi Linear's delta attention, in the same dtype and sizes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.models.kimi_linear.configuration_kimi_linear import KimiLinearConfig
from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention
from transformers.models.qwen3_next.configuration_qwen3_next import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet
from transformers.utils import logging

from derailleur.config import load_config
from derailleur.engine import Engine, EngineConfig
from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    Rows,
    SlidingWindowConfig,
)
from derailleur.placement import Placement
from derailleur.recipe import Recipe

HIDDEN, HEADS, HEAD_DIM, WINDOW = 256, 4, 64, 256
CPU = torch.device("cpu")
NAMES = {"F": "FA", "S": "SWA", "K": "KDA", "G": "GDN"}
PEER_OF = {"SWA": "FA", "KDA": "KDA of transformers", "GDN": "GDN of transformers"}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", choices=["layers", "decode", "model"], help="one table instead of all")
    options.add_argument("--threads", type=int, default=1, help="torch threads")
    options.add_argument("--rounds", type=int, default=5, help="how often each is run, after one to warm up")
    options.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the layers")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()  # transformers says at every form that it is not the CUDA one
    dtype = getattr(torch, arguments.dtype)
    if arguments.only in (None, "layers"):
        compare_layers(dtype, arguments.rounds)
    if arguments.only in (None, "decode"):
        compare_decode_steps(20 * arguments.rounds)
    if arguments.only in (None, "model"):
        compare_models(arguments.rounds)


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in seconds.items()}


def print_table(*rows: tuple[object, ...]) -> None:
    """Rows of Markdown, the first of them the head."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(map(str, row)) + " |")
        if number == 0:
            print("|" + " --- |" * len(row))
    print(flush=True)


def small_decoder() -> Decoder:
    """One layer with all four mixers."""
    bank = MixersConfig(S=SlidingWindowConfig(window_tokens=WINDOW), K=KdaConfig(), G=GdnConfig())
    return Decoder(
        DecoderConfig(
            vocab_size=16,
            hidden_size=HIDDEN,
            num_layers=1,
            num_heads=HEADS,
            num_kv_heads=1,
            head_dim=HEAD_DIM,
            intermediate_size=16,
            max_positions=16_384,
            mixers=bank,
        )
    )


def peers() -> dict[str, nn.Module]:
    """Transformers' modules, of our sizes; both initialise their decays as we do."""
    one_layer = {"num_hidden_layers": 1, "layer_types": ["linear_attention"], "hidden_size": HIDDEN}
    qwen = Qwen3NextConfig(
        linear_num_key_heads=HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=HEAD_DIM,
        linear_value_head_dim=HEAD_DIM,
        **one_layer,
    )
    kimi = KimiLinearConfig(
        linear_num_heads=HEADS, linear_head_dim=HEAD_DIM, mlp_layer_types=["dense"], **one_layer
    )
    delta_attention = KimiLinearDeltaAttention(kimi, 0)
    ours = small_decoder().layers[0].mixer("K")
    with torch.no_grad():
        delta_attention.forget_gate.dt_bias.copy_(ours.dt_bias)
        delta_attention.forget_gate.A_log.copy_(ours.A_log.view(1, 1, -1, 1))
    return {
        "GDN of transformers": Qwen3NextGatedDeltaNet(qwen, 0),
        "KDA of transformers": delta_attention,
    }


def compare_layers(dtype: torch.dtype, rounds: int) -> None:
    """Whole sequences through one mixer with its projections, forward and forward with backward."""
    decoder = small_decoder().to(dtype)
    theirs = {name: module.to(dtype) for name, module in peers().items()}
    rows: list[tuple[object, ...]] = [
        ("batch x tokens", "mixer", "forward, ms", "against", "x", "with backward, ms", "x")
    ]
    for batch, seq in ((4, 1024), (1, 4096)):
        x = torch.randn(batch, seq, HIDDEN, dtype=dtype, requires_grad=True)
        rotary = decoder.rotary.sequence(seq)
        layers: dict[str, Callable[[], Tensor]] = {
            name: partial(decoder.layers[0].mixer(letter), x, rotary) for letter, name in NAMES.items()
        }
        layers |= {name: partial(module, x) for name, module in theirs.items()}
        with torch.no_grad():
            forward = interleaved(layers, rounds)
        both = interleaved(
            {name: (lambda layer=layer: layer().sum().backward()) for name, layer in layers.items()}, rounds
        )
        for name in layers:
            peer = PEER_OF.get(name)
            ratios = [f"{times[peer] / times[name]:.2f}" if peer else "" for times in (forward, both)]
            rows.append(
                (
                    f"{batch} x {seq}",
                    name,
                    f"{1e3 * forward[name]:.1f}",
                    peer or "",
                    ratios[0],
                    f"{1e3 * both[name]:.1f}",
                    ratios[1],
                )
            )
    print_table(*rows)


@torch.inference_mode()
def compare_decode_steps(rounds: int) -> None:
    """One token through one mixer; of the recurrent ones also without the fused kernel."""
    decoder = small_decoder()
    rows: list[tuple[object, ...]] = [("batch x context", *NAMES.values(), "KDA eager", "GDN eager")]
    for batch in (1, 16):
        for context in (1024, 2048, 8192):
            works: dict[str, Callable[[], object]] = {}
            for letter, name in NAMES.items():
                works[name], eager = decode_steps(decoder, letter, batch, context)
                if letter in "KG":
                    works[name + " eager"] = eager
            microseconds = {name: 1e6 * t for name, t in interleaved(works, rounds).items()}
            rows.append((f"{batch} x {context}", *(f"{microseconds[name]:.0f}" for name in rows[0][1:])))
    print("Microseconds a step:\n")
    print_table(*rows)


def decode_steps(
    decoder: Decoder, letter: str, batch: int, context: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step as the engine takes it, and as a traced step of one token, which is never fused."""
    mixer = decoder.layers[0].mixer(letter)
    pool = mixer.new_pool(batch, context + 1, dtype=torch.float32, device=CPU)
    for tensor in pool.tensors().values():
        tensor.normal_()
    rows = Rows.of(range(batch), [context] * batch, 1, CPU)
    rotary = decoder.rotary.at(rows.token_positions, context)
    x = torch.randn(batch, 1, HIDDEN)
    accepted = torch.ones(batch, dtype=torch.int64)

    def traced() -> None:
        _, trace = mixer.extend(x, pool, rows, rotary, trace=True)
        mixer.commit(pool, rows, trace, accepted)

    return lambda: mixer.extend(x, pool, rows, rotary), traced


class NoTokenizer:
    """Texts are not looked at."""

    eos_id = 0

    def decode_bytes(self, ids: object) -> bytes:
        return b""


def compare_models(rounds: int) -> None:
    """The quickstart's decoder with random weights, every layer the same mixer."""
    recipe = load_config(Recipe, Path(__file__).parents[1] / "recipes" / "quickstart.yaml")
    config = recipe.pretrain.model.decoder_config(
        vocab_size=recipe.tokenize.vocab_size, max_positions=recipe.pretrain.data.sequence_length
    )
    bank = MixersConfig(S=recipe.distill.mixers.S, K=recipe.distill.mixers.K, G=recipe.distill.mixers.G)
    decoder = Decoder(config.model_copy(update={"mixers": bank})).eval()
    decoder.reset_parameters(0)
    engine = Engine(decoder, NoTokenizer(), EngineConfig(state_memory_bytes=8 << 30))
    rows: list[tuple[object, ...]] = [
        ("batch x context", *(f"all-{name}, tokens/s (x)" for name in NAMES.values()))
    ]
    for batch in (1, 16):
        speeds: dict[str, list[float]] = {letter: [] for letter in NAMES}
        for _ in range(rounds):
            for letter in NAMES:
                placement = Placement.uniform(letter, config.num_layers)
                speeds[letter].append(engine.decode_speed(placement, batch, 8192).tokens_per_second)
        medians = {letter: statistics.median(values) for letter, values in speeds.items()}
        cells = (f"{value:,.0f} ({value / medians['F']:.2f})" for value in medians.values())
        rows.append((f"{batch} x 8192", *cells))
    print_table(*rows)


if __name__ == "__main__":
    main()
