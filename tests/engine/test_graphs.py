"""Steps that are replayed give the texts of steps that are computed: graphs on a CPU, by a stand-in.

The stand-in does what a CUDA graph does: what was called when it was made is called again, on the very
tensors, whatever the host has in mind by then; results are written over those of the first time.
"""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from derailleur.engine import NGRAM, DraftSource, Engine, Generation, Request, Sampling, graphs
from derailleur.engine.graphs import Graphs
from derailleur.engine.memory import Claim, State, StateMemory
from derailleur.engine.plan import Piece
from derailleur.engine.runner import Runner
from derailleur.kernels import paged_compiled
from derailleur.model import Decoder, layers, rotary
from derailleur.model.mixers import PAGE_TOKENS, recurrent
from derailleur.placement import Placement

KERNELS = [
    (layers, "linear"),
    (layers, "rms_norm"),
    (layers, "silu_product"),
    (rotary, "rotate"),
    (paged_compiled, "extend"),
    (recurrent, "decode_step"),
]
"""What numba compiles is no torch operation; a graph sees one call of each."""

SYNCHRONISING = {torch.ops.aten.item.default, torch.ops.aten._local_scalar_dense.default}


class Tape(TorchDispatchMode):
    """A CUDA graph's stand-in."""

    running: "Tape | None" = None
    """The one that is being made."""

    def __init__(self, function: Callable[[], Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Callable[..., Any], Any, Any, Any]] = []
        self.num_replays = 0
        Tape.running = self
        try:
            with self:
                self._result = function()
        finally:
            Tape.running = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SYNCHRONISING:
            raise RuntimeError("the host must not wait for the device")
        return self.record(func, args, kwargs or {})

    def record(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        self.calls.append((function, args, kwargs, result))
        return result

    def replay(self) -> Tensor:
        self.num_replays += 1
        for function, args, kwargs, result in self.calls:
            for old, new in zip(tree_leaves(result), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():  # no view
                    old.copy_(new)
        return self._result


class Recorder:
    """Makes tapes and keeps them; what is not there to be read is NaN from the start."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def __call__(self, function: Callable[[], Tensor]) -> Tape:
        function()
        self.tapes.append(Tape(function))
        return self.tapes[-1]

    @property
    def num_replays(self) -> list[int]:
        return [tape.num_replays for tape in self.tapes]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Has engines replay on a CPU, with page tables so narrow that they grow."""
    recorder = Recorder()
    monkeypatch.setattr("derailleur.engine.engine.cuda_graphs", lambda decoder: Graphs(decoder, recorder))
    monkeypatch.setattr(graphs, "_FEWEST_PAGES", 1)
    for module, name in KERNELS:
        monkeypatch.setattr(module, name, _taped(getattr(module, name)))
    return recorder


def _taped(kernel: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return kernel(*args, **kwargs) if Tape.running is None else Tape.running.record(kernel, args, kwargs)

    return call


def tokens(count: int, seed: int) -> list[int]:
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def run(
    engine: Engine, requests: list[Request], *, arriving: int = 2, spoil: bool = False
) -> list[Generation]:
    """The answers; so many requests more come with every step."""
    waiting = iter(requests)
    answers: dict[int, Generation] = {}
    while engine.busy or len(answers) < len(requests):
        for request in islice(waiting, arriving):
            answers[engine.submit(request)] = Generation()
        if spoil:
            _spoil(engine)
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    return list(answers.values())


@torch.inference_mode()
def _spoil(engine: Engine) -> None:
    """Fill all that no request holds with NaN."""
    for pool in engine.memory._pools:
        for x in pool.pool.tensors().values():
            free = [*pool._free, pool.spare] if len(x) else []
            x[free] = torch.nan


def requests_of(
    letters: list[str], *, max_tokens: int = 40, draft: DraftSource | None = None, **settings: Any
) -> list[Request]:
    return [
        Request(
            prompt=tokens(3 + 11 * i, i),
            placement=Placement(own),
            max_tokens=max_tokens + 7 * (i % 3),
            draft=draft,
            ignore_eos=True,
            **settings,
        )
        for i, own in enumerate(letters)
    ]


@torch.inference_mode()
def decode(decoder: Decoder, replayed: Graphs | None) -> list[Tensor]:
    """Logits of steps in which rows join one after another, and pools and tables grow."""
    device = decoder.embed.weight.device
    memory = StateMemory(decoder, 1 << 30, torch.float32, device, has_spares=True)
    runner = Runner(decoder, device, replayed)
    states: list[State] = []
    logits = []
    for letters in ("FSKG", "GGGG", "FSKG", "GKSF", "FSKG"):
        states += memory.allocate([Claim(Placement(letters), 200)]) or []
        for i in range(35):
            pieces = [Piece(state, [(7 * i + row) % 256]) for row, state in enumerate(states)]
            output = runner.step(pieces)
            logits.append(torch.cat([output.logits[span] for span in output.spans]))
    return logits


def test_logits_are_those_of_eager_steps(supernet: Decoder, recorder: Recorder) -> None:
    replayed = decode(supernet, Graphs(supernet, recorder))
    torch.testing.assert_close(replayed, decode(supernet, None), rtol=0, atol=0)
    assert sum(recorder.num_replays) > 100


@pytest.mark.gpu
def test_logits_on_a_gpu_are_those_of_eager_steps(supernet: Decoder) -> None:
    decoder = deepcopy(supernet).to("cuda")
    made = graphs.cuda_graphs(decoder)
    assert made is not None
    torch.testing.assert_close(decode(decoder, made), decode(decoder, None), rtol=1e-3, atol=1e-3)
    assert made._works and len(made._steps) > 4


@pytest.mark.parametrize("letters", ["FSFS", "KGKG", "FSKG"])
def test_texts_of_a_placement_are_those_of_eager_steps(
    make_engine: Callable[..., Engine], recorder: Recorder, letters: str
) -> None:
    requests = requests_of([letters] * 5, max_tokens=70)
    expected = run(make_engine(cuda_graphs=False), requests)
    assert not recorder.tapes
    assert run(make_engine(), requests, spoil=True) == expected
    assert sum(recorder.num_replays) > 40


def test_texts_of_several_placements_are_those_of_eager_steps(
    make_engine: Callable[..., Engine], recorder: Recorder
) -> None:
    """Rows of a layer that do not lie side by side, slots that differ from layer to layer, empty seats."""
    requests = requests_of(["GKSF", "FSKG", "FSKG", "GGGG", "FSKG", "KKSF", "FSKG", "FSKG", "GKSF"])
    expected = run(make_engine(cuda_graphs=False), requests)
    engine = make_engine()
    assert run(engine, requests, spoil=True) == expected
    assert sum(recorder.num_replays) > 20
    assert engine.memory.used_bytes().total() == 0


@pytest.mark.parametrize(
    ("draft", "sampling"),
    [
        (NGRAM, Sampling()),
        (Placement("FGSK"), Sampling()),
        (Placement("KFGS"), Sampling(temperature=0.8, seed=3)),
    ],
)
def test_drafts_are_proposed_by_graphs_and_verified_eagerly(
    make_engine: Callable[..., Engine], recorder: Recorder, draft: DraftSource, sampling: Sampling
) -> None:
    requests = requests_of(["FSKG", "FFFF", "FSKG"], max_tokens=30, draft=draft, sampling=sampling)
    expected = run(make_engine(cuda_graphs=False), requests)
    assert run(make_engine(), requests, spoil=True) == expected
    assert any(answer.speculation and answer.speculation.drafted for answer in expected)
    assert sum(recorder.num_replays) > 4


def test_requests_that_give_way_go_on_as_before(
    make_engine: Callable[..., Engine], recorder: Recorder
) -> None:
    """Pools that are resized again and again: a graph of their old tensors is of no use."""
    requests = requests_of(["FFFF", "FSKG"] * 2, max_tokens=100)
    expected = run(make_engine(cuda_graphs=False), requests)
    engine = make_engine(state_memory_bytes=400_000)
    assert run(engine, requests, spoil=True) == expected
    assert engine.load.num_preempted > 0
    assert sum(recorder.num_replays) > 40


def test_pages_that_others_hold_are_copied_before_a_replay_writes_to_them(
    make_engine: Callable[..., Engine], recorder: Recorder
) -> None:
    request = Request(prompt=tokens(150, 1), placement=Placement("FFFF"), max_tokens=30, ignore_eos=True)
    first, *others = run(make_engine(), [request] * 4)
    assert [other.tokens for other in others] == [first.tokens] * 3
    assert sum(recorder.num_replays) > 10


def test_a_graph_serves_several_numbers_of_rows(
    make_engine: Callable[..., Engine], recorder: Recorder
) -> None:
    engine = make_engine(prefix_cache=False)
    for num_rows in (6, 5):
        requests = [replace(one, max_tokens=20) for one in requests_of(["GGGG"] * num_rows)]
        assert run(engine, requests, arriving=6) == run(make_engine(cuda_graphs=False), requests, arriving=6)
    assert len(recorder.tapes) == 1


def test_wider_tables_take_another_graph(make_engine: Callable[..., Engine], recorder: Recorder) -> None:
    engine = make_engine(prefix_cache=False)
    [request] = requests_of(["FFFF"], max_tokens=4 * PAGE_TOKENS)
    assert run(engine, [request]) == run(make_engine(cuda_graphs=False), [request])
    widths = [bucket.width for bucket in engine.runner._graphs._steps]  # type: ignore[union-attr]
    assert widths == [1, 2, 4]


def test_the_least_recently_used_graph_goes(
    make_engine: Callable[..., Engine], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "_MAX_GRAPHS", 1)
    engine = make_engine()
    requests = requests_of(["GGGG", "KKKK", "GGGG"])
    assert run(engine, requests) == run(make_engine(cuda_graphs=False), requests)
    assert len(engine.runner._graphs._steps) == 1 < len(recorder.tapes)  # type: ignore[union-attr]


def test_without_memory_for_graphs_steps_are_computed(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def capture(function: Callable[[], Tensor]) -> Tape:
        raise torch.OutOfMemoryError("no memory is left")

    monkeypatch.setattr("derailleur.engine.engine.cuda_graphs", lambda decoder: Graphs(decoder, capture))
    requests = requests_of(["FSKG", "GGGG"])
    expected = run(make_engine(cuda_graphs=False), requests)
    with caplog.at_level(logging.WARNING):
        assert run(make_engine(), requests) == expected
    assert [record.message for record in caplog.records] == [
        "steps are not captured as CUDA graphs from now on: no memory is left"
    ]


def test_a_cpu_has_no_graphs(supernet: Decoder, make_engine: Callable[..., Engine]) -> None:
    assert graphs.cuda_graphs(supernet) is None
    assert make_engine().runner._graphs is None


@pytest.mark.parametrize(
    ("num_rows", "num_seats"), [(1, 1), (2, 2), (3, 3), (5, 6), (7, 8), (9, 12), (17, 24), (33, 48), (64, 64)]
)
def test_numbers_of_rows_are_rounded_up(num_rows: int, num_seats: int) -> None:
    assert graphs._rounded(num_rows) == num_seats
