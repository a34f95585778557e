"""The load of the load test: requests at their moments, the server that gets them, what came back when."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Phase:
    """A stretch of the load with random arrivals of one rate."""

    name: str
    seconds: float
    requests_per_second: float


@dataclass(frozen=True)
class Asked:
    """A request to come, at a moment after the beginning of the load."""

    phase: str
    at_seconds: float
    prompt_tokens: int
    seed: int


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        serving: the preset that the server was started with.
        preset: the one that wrote the answer.
        token_seconds: mean time per token after the first.
    """

    asked: Asked
    serving: str
    preset: str
    num_tokens: int
    first_token_seconds: float
    token_seconds: float


def arrivals(phases: Sequence[Phase], prompt_tokens: int, seed: int) -> list[Asked]:
    """Poisson arrivals; prompts of 0.8 to 1.2 times the given length."""
    random_numbers, asked, begin = random.Random(seed), [], 0.0
    for phase in phases:
        moment = begin
        while (
            moment := moment + random_numbers.expovariate(phase.requests_per_second)
        ) < begin + phase.seconds:
            length = int(prompt_tokens * random_numbers.uniform(0.8, 1.2))
            asked.append(Asked(phase.name, moment, length, seed=len(asked)))
        begin += phase.seconds
    return asked


@contextmanager
def server(model: Path, preset: str, options: Sequence[str]) -> Iterator[str]:
    """`derailleur serve` in a process of its own; gives its address."""
    call = [
        sys.executable,
        "-m",
        "derailleur",
        "serve",
        str(model),
        "--port",
        "0",
        "--preset",
        preset,
        *options,
    ]
    with subprocess.Popen(
        call, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        try:
            pages = [
                line for line in (process.stdout.readline() for _ in range(2)) if line.startswith("page:")
            ]
            if not pages:
                raise SystemExit("the server did not start")
            yield pages[0].split()[-1]
        finally:
            process.terminate()


async def replay(load: Sequence[Asked], address: str, serving: str, num_tokens: int) -> list[Answer]:
    """Send every request at its moment, and wait for all answers."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=None, limits=limits) as client:
        await warm_up(client)
        begin = time.perf_counter()

        async def one(asked: Asked) -> Answer:
            await asyncio.sleep(begin + asked.at_seconds - time.perf_counter())
            return await answer(client, asked, serving, num_tokens)

        return list(await asyncio.gather(*map(one, load)))


async def warm_up(client: httpx.AsyncClient) -> None:
    """Have every preset run once, so that nothing is compiled in the load."""
    for preset in (await client.get("/v1/presets")).json()["data"]:
        for asked in (Asked("", 0.0, 64, seed=0), Asked("", 0.0, 600, seed=1)):
            await answer(client, asked, "", num_tokens=8, preset=preset["name"])


async def answer(
    client: httpx.AsyncClient, asked: Asked, serving: str, num_tokens: int, preset: str | None = None
) -> Answer:
    """Stream one answer of a fixed length to a random prompt."""
    random_numbers = random.Random(asked.seed)
    body = {
        "prompt": [random_numbers.randrange(100, 1000) for _ in range(asked.prompt_tokens)],
        "max_tokens": num_tokens,
        "min_tokens": num_tokens,
        "temperature": 0,
        "preset": preset,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    begin, seen = time.perf_counter(), []
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise SystemExit((await response.aread()).decode())
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                if chunk["choices"]:
                    seen.append((time.perf_counter(), chunk["usage"]["completion_tokens"]))
    (first, begun), (last, ended) = seen[0], seen[-1]
    return Answer(
        asked, serving, chunk["preset"], ended, first - begin, (last - first) / max(ended - begun, 1)
    )
