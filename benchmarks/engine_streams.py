"""Concurrent streams: ours against transformers' `generate` and vLLM, on the same prompts in turn.

All prompts of a round are sent at once. Tokens per second are all new tokens over the time until the last
of them, reading of prompts included; latencies are over all tokens of all rounds.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from engine_inputs import HeldOutCode, Subject
from engine_tables import percentile, table
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.streamers import BaseStreamer

from derailleur.engine import Engine, EngineConfig, Request
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer

PROMPT_TOKENS = (140, 200)
"""The shortest and the longest prompt."""

Prompts = Sequence[Sequence[int]]
Contender = Callable[[Prompts, int], list[list[float]]]
"""Continues prompts by a number of tokens; gives the seconds at which they arrived, by prompt."""


@dataclass(frozen=True)
class Streams:
    """What one contender did at one number of streams.

    Attributes:
        tokens_per_second: median over rounds.
        first_token, between_tokens: seconds, at the 50th and the 99th percentile.
    """

    model: str
    dtype: str
    contender: str
    streams: int
    tokens_per_second: float
    first_token: tuple[float, float]
    between_tokens: tuple[float, float]


def measure(
    subject: Subject,
    code: HeldOutCode,
    contenders: Mapping[tuple[str, str], Contender],
    *,
    counts: Sequence[int],
    rounds: int,
    new_tokens: int,
) -> list[Streams]:
    """All contenders in turn on the same prompts, which no two rounds share.

    Args:
        contenders: by dtype and name.
    """
    tokenizer, rng = Tokenizer.load(subject.ours), np.random.default_rng(0)
    results = []
    for count in counts:
        runs: dict[tuple[str, str], list[list[list[float]]]] = {key: [] for key in contenders}
        for number in range(-1, rounds):
            lengths = rng.integers(PROMPT_TOKENS[0], PROMPT_TOKENS[1] + 1, count).tolist()
            prompts = code.prompts(tokenizer, lengths, rng)
            for key, contender in contenders.items():
                arrivals = contender(prompts, new_tokens if number >= 0 else 4)
                if number >= 0:  # the first is to warm up
                    runs[key].append(arrivals)
        results += [_summary(subject.name, *key, count, own) for key, own in runs.items()]
    return results


def _summary(
    model: str, dtype: str, contender: str, streams: int, runs: Sequence[list[list[float]]]
) -> Streams:
    rates = [sum(map(len, run)) / max(arrived[-1] for arrived in run) for run in runs]
    first = [arrived[0] for run in runs for arrived in run]
    between = [gap for run in runs for arrived in run for gap in np.diff(arrived).tolist()]
    latencies = [(percentile(x, 0.5), percentile(x, 0.99)) for x in (first, between)]
    return Streams(model, dtype, contender, streams, median(rates), *latencies)


def tables(results: Sequence[Streams]) -> str:
    """Tokens per second, in brackets over transformers' and vLLM's in the same dtype; then the latencies."""
    return "\n".join(
        [
            _table("tokens/s", results, lambda row: _rate(row, results)),
            _table("first token, ms: p50 / p99", results, lambda row: _latency(row.first_token)),
            _table("between tokens, ms: p50 / p99", results, lambda row: _latency(row.between_tokens)),
        ]
    )


def _table(title: str, results: Sequence[Streams], cell: Callable[[Streams], str]) -> str:
    counts = sorted({row.streams for row in results})
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for row in results:
        cells.setdefault((row.dtype, row.contender), {})[row.streams] = cell(row)
    rows = [[dtype, name, *(own[count] for count in counts)] for (dtype, name), own in cells.items()]
    return table(["dtype", title, *(f"streams: {count}" for count in counts)], rows)


def _rate(row: Streams, results: Sequence[Streams]) -> str:
    if not row.contender.startswith("ours"):
        return f"{row.tokens_per_second:,.0f}"
    others = [
        other.tokens_per_second
        for other in results
        if (other.streams, other.dtype) == (row.streams, row.dtype) and not other.contender.startswith("ours")
    ]
    ratios = ", ".join(f"{row.tokens_per_second / other:.2f}" for other in others)
    return f"{row.tokens_per_second:,.0f} ({ratios})"


def _latency(seconds: tuple[float, float]) -> str:
    return " / ".join(f"{1e3 * x:,.3g}" if x < 1 else f"{1e3 * x:,.0f}" for x in seconds)


@contextmanager
def contenders(
    subject: Subject, *, dtypes: Sequence[str], threads: int, vllm_python: Path | None, logs: Path
) -> Iterator[dict[tuple[str, str], Contender]]:
    """Everything that is compared on one model, by dtype and name; ours under each of its presets."""
    found: dict[tuple[str, str], Contender] = {}
    with ExitStack() as stack:
        for dtype, mode in (("float32", "eager"), ("bfloat16", "compiled")):
            if dtype not in dtypes:
                continue
            engine = Engine(
                subject.ours,
                Tokenizer.load(subject.ours),
                EngineConfig(dtype=dtype, prefix_cache=False, state_memory_bytes=2 << 30),
            )
            for name, placement in subject.presets.items():
                found[dtype, f"ours, {name}"] = ours(engine, placement)
            found[dtype, "transformers"] = transformers(subject.plain, dtype)
            if vllm_python:
                worker = vllm_worker(
                    vllm_python, subject.plain, dtype, mode, threads, logs / f"vllm-{dtype}.log"
                )
                found[dtype, f"vLLM {mode}"] = stack.enter_context(worker)
        yield found


def ours(engine: Engine, placement: Placement) -> Contender:
    """Our engine in this process."""

    def answer(prompts: Prompts, new_tokens: int) -> list[list[float]]:
        begin = time.perf_counter()
        arrivals: dict[int, list[float]] = {}
        for prompt in prompts:
            request = Request(prompt=prompt, placement=placement, max_tokens=new_tokens, ignore_eos=True)
            arrivals[engine.submit(request)] = []
        while engine.busy:
            deltas = engine.step()
            now = time.perf_counter() - begin
            for delta in deltas:
                arrivals[delta.request_id] += [now] * len(delta.tokens)
        return list(arrivals.values())

    return answer


class Clock(BaseStreamer):
    """Notes when tokens come out of `generate`; what it is given first is the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def transformers(folder: Path, dtype: str) -> Contender:
    """`generate` in this process: one batch, padded on the left."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    # Without an end-of-text token it goes on to the last token that was asked for.
    model.generation_config = GenerationConfig(pad_token_id=0)

    def answer(prompts: Prompts, new_tokens: int) -> list[list[float]]:
        begin = time.perf_counter()
        longest = max(map(len, prompts))
        padded = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        clock = Clock()
        model.generate(padded, attention_mask=mask, max_new_tokens=new_tokens, streamer=clock)
        times = [moment - begin for moment in clock.times[1:]]
        assert len(times) == new_tokens
        return [times] * len(prompts)

    return answer


@contextmanager
def vllm_worker(
    python: Path, folder: Path, dtype: str, mode: str, threads: int, log: Path
) -> Iterator[Contender]:
    """`engine_vllm.py` in another environment; it says when it is ready."""
    script = Path(__file__).with_name("engine_vllm.py")
    command = [str(python), str(script), str(folder), dtype, mode, str(threads)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None

        def receive() -> Any:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"vLLM ended; see {log}")
            return json.loads(line)

        def answer(prompts: Prompts, new_tokens: int) -> list[list[float]]:
            print(json.dumps({"prompts": prompts, "new_tokens": new_tokens}), file=process.stdin, flush=True)
            return receive()

        print(f"vLLM {dtype} {mode}: {receive()}", flush=True)
        try:
            yield answer
        finally:
            process.stdin.close()
