"""The Triton kernels on a GPU at the shapes of a 15B model (32 heads of 128), as Markdown tables.

    python benchmarks/kernels_gpu.py

Correctness against float64 on random inputs; then median times beside the floor: the larger of the bytes
that must move over the bandwidth and the arithmetic of the matrix products over the tensor cores' bfloat16
peak, of an H100 SXM by its data sheet. Where fla-core is importable its kernels run interleaved with ours.
Without CUDA the tables give shapes, bytes, arithmetic and floors, and nothing is measured.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.kernels import PAGE_TOKENS, chunk_gdn, chunk_kda, extend_pages, recurrent_delta_rule

HEADS, KV_HEADS, HEAD_DIM, CHUNK, TAPS = 32, 8, 128, 64, 4
SEQUENCES = (4096, 8192, 16384, 32768)
DECODE_BATCHES = (1, 4, 16, 64, 256)
CACHES = ((1, 4096), (1, 32768), (16, 4096), (16, 32768), (64, 8192))
BANDWIDTH, PEAK = 3.35e12, 989e12  # bytes/s and bfloat16 FLOP/s of an H100 SXM
ROUNDS = 20
RULES = {"GDN": chunk_gdn, "KDA": chunk_kda}
PEERS = {"GDN": ("fla.ops.gated_delta_rule", "chunk_gated_delta_rule"), "KDA": ("fla.ops.kda", "chunk_kda")}

Works = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Case:
    """What one row of a table must move and compute."""

    name: str
    bytes: float
    flops: float

    @property
    def floor(self) -> float:
        """Seconds below which an H100 cannot be."""
        return max(self.bytes / BANDWIDTH, self.flops / PEAK)

    def row(self, times: Mapping[str, float]) -> str:
        """The case, its floor, and each measured time with its share of the floor."""
        cells = [self.name, f"{self.bytes / 1e6:.4g}", f"{self.flops / 1e9:.4g}", f"{1e6 * self.floor:.4g}"]
        cells += [f"{1e6 * t:.4g} ({self.floor / t:.0%})" for t in times.values()]
        return "| " + " | ".join(cells) + " |"


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
        check()
    else:
        print("No CUDA device: nothing was measured. What would be, with the floors of an H100 SXM:")
    for backward in (False, True):
        peers = ["fla"] if find_spec("fla") else []
        head("forward and backward" if backward else "forward", ["ours", *peers])
        for letter in RULES:
            for seq in SEQUENCES:
                case = rule_case(letter, seq, backward=backward)
                print(case.row(measured(lambda r=letter, t=seq, b=backward: rule_works(r, t, b))))
    head("decode step of a layer, without its projections", ["ours"])
    for letter in RULES:
        for batch in DECODE_BATCHES:
            case = decode_case(letter, batch)
            print(case.row(measured(lambda r=letter, n=batch: decode_works(r, n))))
    head("paged attention of one token a row, its storing included", ["ours"])
    for rows, length in CACHES:
        print(paged_case(rows, length).row(measured(lambda n=rows, t=length: paged_works(n, t))))


def head(title: str, columns: list[str]) -> None:
    """A table's title and heading; columns of times only where they are measured."""
    columns = [f"{x}, us (floor / time)" for x in columns] if torch.cuda.is_available() else []
    names = [title, "MB", "GFLOP", "floor, us", *columns]
    print(f"\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")


def rule_case(letter: str, seq: int, *, backward: bool) -> Case:
    """Inputs and outputs once each; products of chunks, solving for the inverse not counted."""
    D = HEAD_DIM
    decay = 4 * D if letter == "KDA" else 4
    moved = 3 * 2 * D + 4 + decay + 4 * D  # q, k, v in bfloat16, beta, decay, output in float32
    pairs, states = 2 * CHUNK * D, 2 * D * D  # FLOP a token of one product with the chunk, with the state
    flops = 5 * pairs + 3 * states
    if backward:
        moved += moved + 4 * D + 3 * 2 * D + 4 + decay  # inputs again, the output's gradient, all gradients
        flops += 5 * pairs + 2 * states  # made again: all but the outputs, and P
        flops += 8 * pairs + 6 * states
    return Case(f"{letter}, {seq} tokens", moved * seq * HEADS, flops * seq * HEADS)


def decode_case(letter: str, batch: int) -> Case:
    """The state once in and once out, and the activations."""
    inner = HEADS * HEAD_DIM
    state = 2 * 4 * inner * HEAD_DIM
    rates = inner if letter == "KDA" else HEADS
    activations = 2 * (2 * TAPS * 3 * inner + rates + HEADS + 2 * inner)
    return Case(f"{letter}, batch {batch}", batch * (state + activations), batch * 7 * inner * HEAD_DIM)


def paged_case(rows: int, length: int) -> Case:
    """Keys and values once."""
    return Case(
        f"{rows} x {length} tokens",
        rows * length * 2 * 2 * KV_HEADS * HEAD_DIM,
        rows * length * 4 * HEADS * HEAD_DIM,
    )


def measured(make: Callable[[], Works]) -> dict[str, float]:
    """Median seconds of each work, interleaved; nothing without CUDA."""
    if not torch.cuda.is_available():
        return {}
    works = make()
    for work in works.values():
        for _ in range(3):
            work()
    times: dict[str, list[float]] = {name: [] for name in works}
    scratch = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    for _ in range(ROUNDS):
        for name, work in works.items():
            scratch.zero_()  # what the last work left in the cache would flatter this one
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            times[name].append(begin.elapsed_time(end) / 1000)
    return {name: statistics.median(x) for name, x in times.items()}


def rule_inputs(letter: str, seq: int, heads: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Random inputs on the GPU: unit keys, decays of about a tenth a token."""
    shape = (1, seq, heads, HEAD_DIM)
    q, k, v = (torch.randn(shape, device="cuda") for _ in range(3))
    rates = shape if letter == "KDA" else shape[:-1]
    inputs = {
        "q": F.normalize(q, dim=-1).to(dtype),
        "k": F.normalize(k, dim=-1).to(dtype),
        "v": v.to(dtype),
        "beta": torch.rand(shape[:-1], device="cuda"),
        "log_decay": -0.2 * torch.rand(rates, device="cuda"),
    }
    return {name: x.requires_grad_() for name, x in inputs.items()}


def rule_works(letter: str, seq: int, backward: bool) -> Works:
    """Ours, and fla's where it is importable, on the same inputs."""
    inputs = rule_inputs(letter, seq, HEADS, torch.bfloat16)
    upper = torch.randn(1, seq, HEADS, HEAD_DIM, device="cuda")
    works: dict[str, Callable[[], Tensor]] = {"ours": lambda: RULES[letter](**inputs).output}
    if find_spec("fla"):
        module, function = PEERS[letter]
        peer = getattr(import_module(module), function)
        theirs = {"g" if name == "log_decay" else name: x for name, x in inputs.items()}
        works["fla"] = lambda: peer(**theirs)[0]

    def run(work: Callable[[], Tensor]) -> None:
        with torch.set_grad_enabled(backward):
            output = work()
            if backward:
                torch.autograd.grad(output, list(inputs.values()), upper.to(output.dtype))

    return {name: lambda work=work: run(work) for name, work in works.items()}


def decode_works(letter: str, batch: int) -> Works:
    """The whole step between a layer's projections; fla has no kernel of this extent."""
    from derailleur.kernels import triton

    inner, device = HEADS * HEAD_DIM, torch.device("cuda")

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16)

    rates = inner if letter == "KDA" else HEADS
    activations = (normal(batch, 3 * inner), normal(batch, rates), normal(batch, HEADS), normal(batch, inner))
    tail = normal(batch, TAPS - 1, 3 * inner)
    state = torch.zeros(batch, HEADS, HEAD_DIM, HEAD_DIM, device=device)
    taps = torch.randn(3 * inner, TAPS, device=device)
    vectors = [torch.zeros(n, device=device) for n in (HEADS, rates, inner, HEAD_DIM)]
    slots = torch.arange(batch, device=device)
    options = {"norm_eps": 1e-5, "l2_eps": 1e-6, "silu_gate": True}
    return {"ours": lambda: triton.decode_step(*activations, slots, tail, state, taps, *vectors, **options)}


def paged_works(rows: int, length: int) -> Works:
    """Every page once, in random order."""
    device, dtype, pages = torch.device("cuda"), torch.bfloat16, rows * length // PAGE_TOKENS
    keys = torch.randn(pages, KV_HEADS, HEAD_DIM, PAGE_TOKENS, device=device, dtype=dtype)
    values = torch.randn(pages, KV_HEADS, PAGE_TOKENS, HEAD_DIM, device=device, dtype=dtype)
    q, k, v = (
        torch.randn(rows, 1, n, HEAD_DIM, device=device, dtype=dtype) for n in (HEADS, KV_HEADS, KV_HEADS)
    )
    tables = torch.randperm(pages, device=device).view(rows, -1).int()
    positions = torch.full((rows,), length - 1, device=device)
    return {"ours": lambda: extend_pages(q, k, v, keys, values, tables, positions)}


def check() -> None:
    """Largest error against the float64 recurrence, relative to the largest entry."""
    print("| error | float32 | bfloat16 |\n| --- | --- | --- |")
    for letter in RULES:
        errors: dict[str, list[float]] = {}
        for dtype in (torch.float32, torch.bfloat16):
            inputs = rule_inputs(letter, 1000, 4, dtype)
            exact = {name: x.detach().double().requires_grad_() for name, x in inputs.items()}
            outputs = [RULES[letter](**inputs).output, recurrent_delta_rule(**exact).output]
            found = [list(x.values()) for x in (inputs, exact)]
            gradients = [
                torch.autograd.grad(x.square().sum(), y) for x, y in zip(outputs, found, strict=True)
            ]
            pairs = [("output", *outputs)]
            pairs += [(f"d {n}", a, b) for n, a, b in zip(inputs, *gradients, strict=True)]
            for name, got, expected in pairs:
                error = (got.double() - expected).abs().max() / expected.abs().max()
                errors.setdefault(f"{letter}, {name}", []).append(float(error))
        for name, both in errors.items():
            print(f"| {name} | " + " | ".join(f"{x:.1e}" for x in both) + " |")


if __name__ == "__main__":
    main()
