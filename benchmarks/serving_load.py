"""A burst on a server: the same load under all-FA and under `auto`, and whether the promises are kept.

    python benchmarks/serving_load.py runs/quickstart/model --out runs/serving_load

For each preset `derailleur serve` is started anew and gets the same requests at the same moments: quiet, a
burst, quiet again, with random arrivals of one rate per phase, random prompts and answers of one length. A
promise is held in a phase if 95 % of the answers that were asked for in it kept it. Prompts may be longer
than what the model was trained for: this is about time. Prints Markdown; writes load.json and load.svg.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from serving_load_client import Answer, Phase, arrivals, replay, server
from serving_load_plot import plot_load

from derailleur.placement.presets import load_presets
from derailleur.report.look import to_svg

_SHARE = 0.95


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("model", type=Path, help="a checkpoint folder whose presets were measured")
    options.add_argument("--out", type=Path, default=Path("runs/serving_load"), help="folder of the results")
    options.add_argument("--presets", nargs="+", default=["full", "auto"], help="served one after the other")
    options.add_argument("--seconds", nargs=3, type=float, default=[25, 40, 35], help="of the phases")
    options.add_argument("--rates", nargs=3, type=float, default=[0.12, 0.5, 0.12], help="requests a second")
    options.add_argument("--prompt-tokens", type=int, default=8000, help="mean length of a prompt")
    options.add_argument("--new-tokens", type=int, default=128, help="length of every answer")
    options.add_argument("--token-seconds", type=float, default=0.04, help="promised time per token")
    options.add_argument("--first-token-seconds", type=float, default=6, help="promised time to the first")
    options.add_argument("--prefill-tokens", type=int, default=128, help="prompt tokens read per step")
    options.add_argument("--threads", type=int, default=1, help="of the engine")
    options.add_argument("--seed", type=int, default=0, help="of arrivals and prompts")
    arguments = options.parse_args()
    names = ("quiet", "burst", "quiet again")
    phases = [Phase(*each) for each in zip(names, arguments.seconds, arguments.rates, strict=True)]
    load = arrivals(phases, arguments.prompt_tokens, arguments.seed)
    answers: dict[str, list[Answer]] = {}
    for preset in arguments.presets:
        with server(arguments.model, preset, server_options(arguments)) as address:
            answers[preset] = asyncio.run(replay(load, address, preset, arguments.new_tokens))
        print(f"{preset}: {len(answers[preset])} answers", file=sys.stderr, flush=True)
    targets = {"token_seconds": arguments.token_seconds, "first_token_seconds": arguments.first_token_seconds}
    presets = list(load_presets(arguments.model))
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(arguments).items() if name not in ("model", "out")}
    rows = [asdict(answer) for own in answers.values() for answer in own]
    (arguments.out / "load.json").write_text(json.dumps({"settings": settings, "answers": rows}, indent=1))
    figure = plot_load(answers, phases, **targets, presets=presets)
    (arguments.out / "load.svg").write_text(to_svg(figure, "load"))
    print("\n".join(table(answers, phases, targets)))


def server_options(arguments: argparse.Namespace) -> list[str]:
    """What the servers have in common; the longest request must fit."""
    longest = int(1.2 * arguments.prompt_tokens) + arguments.new_tokens
    settings = {
        "threads": arguments.threads,
        "max_context": longest,
        "prefill_tokens": arguments.prefill_tokens,
        "auto.token_seconds": arguments.token_seconds,
        "auto.first_token_seconds": arguments.first_token_seconds,
    }
    return [f"--{key}={value}" for key, value in settings.items()]


def table(
    answers: Mapping[str, Sequence[Answer]], phases: Sequence[Phase], targets: Mapping[str, float]
) -> Iterator[str]:
    """A row per server and phase: times of the median and of the 95th percentile, and what was taken."""
    yield "| serving | phase | answers | token, ms p50 / p95 | first token, s p50 / p95 | kept both | taken |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for serving, served in answers.items():
        for phase in phases:
            own = [answer for answer in served if answer.asked.phase == phase.name]
            if not own:
                continue
            token = percentiles([1000 * answer.token_seconds for answer in own], "{:.0f}")
            first = percentiles([answer.first_token_seconds for answer in own], "{:.1f}")
            kept = sum(all(getattr(a, name) <= target for name, target in targets.items()) for a in own)
            held = "held" if kept >= _SHARE * len(own) else "missed"
            taken = ", ".join(f"{preset} {n}" for preset, n in Counter(a.preset for a in own).most_common())
            yield (
                f"| {serving} | {phase.name} | {len(own)} | {token} | {first} "
                f"| {100 * kept / len(own):.0f} %, {held} | {taken} |"
            )


def percentiles(values: Sequence[float], form: str) -> str:
    return " / ".join(form.format(value) for value in np.percentile(values, [50, 95]))


if __name__ == "__main__":
    main()
