"""The engine at the size of Super Apriel 15B on a GPU: its presets to the memory's limit, and speculation.

    python benchmarks/engine_gpu.py                              # without CUDA: the plan alone, for an H100
    python benchmarks/engine_gpu.py --device H200                # the plan for another device
    python benchmarks/engine_gpu.py --minutes 9 --out gpu.json   # measures; the same call again goes on
    python benchmarks/engine_gpu.py --tiny --out tiny.json       # the same code with a tiny decoder, on a CPU

Weights are random, and a decoder has the mixers of the measured placement alone. The floor of a step is what
it must move over the device's bandwidth. The paper's figures are vLLM's on H100s, with batches not known.

Speculation: the head reads token t off the residual stream as t + 1, so that every placement writes the same
text and every draft is accepted whole. What a step with k drafted tokens takes is measured so, in the engine
itself; what it adds is then counted for an imposed chance a that a drafted token is accepted, as
1 + a + ... + a^k tokens (arXiv:2211.17192, eq. 1).
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_plan import (
    DRAFT,
    DRAFTED,
    PRESETS,
    SUPER_APRIEL,
    TARGET,
    TINY,
    DecodePlan,
    Footprint,
    Machine,
    Scale,
    SpeculationPlan,
    banks,
)
from gpu_tables import print_tables

from derailleur.engine import Engine, EngineConfig, Request
from derailleur.errors import ArgumentError, CapacityError, DataError, DerailleurError, UserError
from derailleur.io import read_json_object, write_json
from derailleur.model import Decoder, DecoderConfig
from derailleur.placement import Placement

WARMUP = 3


def main() -> None:
    arguments = parse()
    try:
        run(arguments)
    except UserError as error:
        sys.exit(str(error))


def parse() -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--plan", action="store_true", help="measure nothing")
    options.add_argument("--tiny", action="store_true", help="a tiny decoder in float32, on a CPU too")
    options.add_argument("--device", metavar="NAME", help="plan for this device and measure nothing")
    options.add_argument("--bandwidth", type=float, metavar="TB/S", help="instead of the data sheet's")
    options.add_argument("--memory", type=float, metavar="GIB", help="instead of all that is free")
    options.add_argument(
        "--minutes", type=float, default=60.0, help="start nothing that would end after so long"
    )
    options.add_argument("--steps", type=int, default=16, help="timed steps a point")
    options.add_argument("--out", type=Path, help="JSON file of what was measured, written after each point")
    return options.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Measure, where something can be, and print the tables."""
    deadline = time.monotonic() + 60 * arguments.minutes
    scale = TINY if arguments.tiny else SUPER_APRIEL
    machine = machine_of(arguments)
    footprint = Footprint(scale)
    num_added = WARMUP + arguments.steps + 2
    plans = {
        (preset.placement, context): DecodePlan(footprint, machine, preset.placement, context, num_added)
        for preset in PRESETS
        for context in scale.contexts
    }
    speculation = SpeculationPlan(footprint, machine)
    about = {"device": machine.name, "model": scale.name, "steps": arguments.steps}
    results = Results(arguments.out, about | {"torch": torch.__version__})
    measurable = torch.cuda.is_available() or arguments.tiny
    if measurable and not (arguments.plan or arguments.device):
        bench = Bench(scale, torch.device("cuda" if torch.cuda.is_available() else "cpu"), arguments.steps)
        points = [bench.decode_point(plan) for plan in plans.values()]
        points += [bench.speculation_point(speculation, num_drafted) for num_drafted in DRAFTED]
        bench.measure(points, results, deadline)
    print_tables(plans, speculation, results.points)


def machine_of(arguments: argparse.Namespace) -> Machine:
    """The device that is planned for, or the one at hand."""
    bandwidth = None if arguments.bandwidth is None else 1e12 * arguments.bandwidth
    memory = None if arguments.memory is None else int(arguments.memory * 2**30)
    if arguments.tiny:
        return Machine("tiny", bandwidth or 1e10, memory or 32 << 20)
    if arguments.device or not torch.cuda.is_available():
        return Machine.of(arguments.device or "H100", bandwidth=bandwidth, memory_bytes=memory)
    free, _ = torch.cuda.mem_get_info()
    return Machine.of(torch.cuda.get_device_name(), bandwidth=bandwidth, memory_bytes=memory or free)


class Results:
    """What was measured, on disk after each point.

    Args:
        path: a file that may exist, of an earlier call; None keeps nothing.
        about: what must be equal for results to belong together.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.points: dict[str, dict[str, Any]] = {}
        self._path, self._about = path, about
        if path is not None and path.exists():
            known = read_json_object(path)
            self.points = known.pop("points", {})
            if known != about:
                raise DataError(f"{path}: holds results of {known}, not of {about}; give another --out")

    def add(self, key: str, point: dict[str, Any]) -> None:
        """Keep one point's results."""
        self.points[key] = point
        if self._path is not None:
            write_json(self._path, {**self._about, "points": self.points})


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        placements: whose mixers its decoder has.
    """

    key: str
    placements: tuple[Placement, ...]
    measure: Callable[[Decoder], dict[str, Any]]


class Bench:
    """Measures points one after another, with a decoder as small as each allows."""

    def __init__(self, scale: Scale, device: torch.device, steps: int) -> None:
        self.scale, self.device, self.steps = scale, device, steps

    def decode_point(self, plan: DecodePlan) -> Point:
        """Decoding of as many rows as fit."""

        def measure(decoder: Decoder) -> dict[str, Any]:
            def decode(batch: int) -> dict[str, Any]:
                engine = self._engine(decoder, plan.budget_bytes, batch)
                speed = engine.decode_speed(
                    plan.placement, batch, plan.context, steps=self.steps, warmup=WARMUP
                )
                return {"batch": batch, "tokens_per_second": speed.tokens_per_second}

            return with_fewer_rows(decode, plan.batch)

        return Point(plan.key, (plan.placement,), measure)

    def speculation_point(self, plan: SpeculationPlan, num_drafted: int) -> Point:
        """Steps with so many drafted tokens, all accepted, for several batches."""

        def measure(decoder: Decoder) -> dict[str, Any]:
            def speculate(most: int) -> dict[str, Any]:
                batches = sorted({min(batch, most) for batch in plan.batches}, reverse=True)
                engine = self._engine(
                    decoder,
                    plan.budget_bytes,
                    most,
                    max_draft_tokens=max(num_drafted, 1),
                    drafting="always",
                )
                seconds = self._step_seconds(engine, plan.context, batches, num_drafted)
                return {"seconds_per_step": {str(batch): taken for batch, taken in seconds.items()}}

            return with_fewer_rows(speculate, max(plan.batches, default=0))

        return Point(plan.key(num_drafted), (TARGET, DRAFT), measure)

    def measure(self, points: Iterable[Point], results: Results, deadline: float) -> None:
        """Measure what is not known yet, as long as there is time."""
        built: tuple[Placement, ...] | None = None
        decoder: Decoder | None = None
        longest = 0.0
        for point in points:
            if point.key in results.points:
                continue
            begin = time.monotonic()
            if begin + longest > deadline:
                note("the time is up: the same call goes on with the rest")
                return
            try:
                if decoder is None or built != point.placements:
                    decoder = None
                    release()
                    decoder, built = self._decoder(point.placements), point.placements
                results.add(point.key, point.measure(decoder))
                note(f"{point.key}: {results.points[point.key]}")
            except Exception as error:
                # Nobody may be there to start it again: one point that fails must not cost the others.
                note(f"{point.key}: {type(error).__name__}: {one_line(error)}")
            release()
            longest = max(longest, time.monotonic() - begin)

    def _decoder(self, placements: Sequence[Placement]) -> Decoder:
        config = self.scale.config.model_copy(update={"banks": banks(placements)})
        return random_decoder(config, device=self.device, dtype=self.scale.dtype)

    def _engine(self, decoder: Decoder, budget_bytes: int, max_rows: int, **settings: Any) -> Engine:
        config = EngineConfig(
            device=self.device.type,
            dtype=str(self.scale.dtype).removeprefix("torch."),
            state_memory_bytes=budget_bytes,
            max_rows=max_rows,
            prefill_tokens=self.scale.prefill_tokens,
            prefix_cache=False,  # no prompt is read twice
            **settings,
        )
        return Engine(decoder, NoTokenizer(), config)

    def _step_seconds(
        self, engine: Engine, context: int, batches: Sequence[int], num_drafted: int
    ) -> dict[int, float]:
        """Seconds of steps in which every row adds all drafted tokens and one more.

        Args:
            context: tokens, which no row exceeds.
            batches: the most rows first; what a smaller batch does not need is cancelled.
        """
        num_pieces = -(-context // engine.config.prefill_tokens)
        # Target and draft read every prompt; rows that have done so already go on meanwhile.
        most_steps = 2 * batches[0] * num_pieces + len(batches) * (WARMUP + self.steps) + 16
        num_added = most_steps * (1 + max(DRAFTED))  # for all alike: what they read is as long
        if num_added >= context:
            raise ArgumentError(f"{num_added} tokens would be added, more than the context of {context}")
        generator = torch.Generator().manual_seed(0)
        vocab_size = engine.decoder.config.vocab_size
        prompts = torch.randint(vocab_size, (batches[0], context - num_added), generator=generator)
        rows = [
            engine.submit(
                Request(
                    prompt=prompt,
                    placement=TARGET,
                    max_tokens=num_added,
                    draft=DRAFT if num_drafted else None,
                    ignore_eos=True,
                )
            )
            for prompt in prompts.tolist()
        ]
        engine.step()
        if engine.load.waiting:
            raise CapacityError(f"{engine.load.waiting} of {batches[0]} rows wait for memory")
        seconds: dict[int, float] = {}
        for batch in batches:
            for row in rows[batch:]:
                engine.cancel(row)
            seconds[batch] = self._full_step_seconds(engine, batch, 1 + num_drafted, most_steps)
        return seconds

    def _full_step_seconds(self, engine: Engine, batch: int, num_tokens: int, most_steps: int) -> float:
        """The median of steps in which each of the rows adds so many tokens."""
        seconds: list[float] = []
        for _ in range(most_steps):
            begin = time.perf_counter()
            deltas = engine.step()
            taken = time.perf_counter() - begin
            if len(deltas) == batch and all(len(delta.tokens) == num_tokens for delta in deltas):
                seconds.append(taken)
            if len(seconds) == WARMUP + self.steps:
                return statistics.median(seconds[WARMUP:])
        raise DerailleurError(
            f"{len(seconds)} of {most_steps} steps added {num_tokens} tokens to all {batch} rows"
        )


class NoTokenizer:
    """Texts are not looked at."""

    eos_id = 0

    def encode(self, text: str) -> list[int]:
        return []

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b""


def random_decoder(config: DecoderConfig, *, device: torch.device, dtype: torch.dtype) -> Decoder:
    """Random weights, made where they stay, under which token t + 1 follows token t whatever mixes."""
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            decoder = Decoder(config)
    finally:
        torch.set_default_dtype(usual)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight")):
                # All layers together add less to a token's embedding than it holds.
                parameter.mul_((2 * config.num_layers) ** -0.5)
        decoder.head.weight.copy_(decoder.embed.weight.roll(1, 0))
    return decoder.to(device).eval()


def with_fewer_rows(measure: Callable[[int], dict[str, Any]], batch: int) -> dict[str, Any]:
    """Measure with as many rows as planned, or with a tenth fewer as often as memory demands it."""
    while batch:
        try:
            return measure(batch)
        except (CapacityError, torch.OutOfMemoryError) as error:
            reason = one_line(error)
        note(f"{batch} rows do not fit: {reason}")
        release()
        batch = 9 * batch // 10
    raise CapacityError("not even one row fits")


def release() -> None:
    """Give back all memory that nothing refers to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def note(line: str) -> None:
    """Progress goes where it does not mix with the tables."""
    print(line, file=sys.stderr, flush=True)


def one_line(error: Exception) -> str:
    """The first line of a message; CUDA's are long."""
    return str(error).partition("\n")[0]


if __name__ == "__main__":
    main()
