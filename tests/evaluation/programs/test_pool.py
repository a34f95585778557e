"""Many programs at once, with a judge that only pretends to run them."""

import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.evaluation.programs import Language, Row
from derailleur.evaluation.programs.pool import Pool
from derailleur.evaluation.verdicts import Judgement, Verdict

PATIENCE_SECONDS = 10


def row(program: str, number: int = 0) -> Row:
    return Row(f"{program}-{number}", Language.PYTHON, program, tests="")


def key(row: Row) -> str:
    return row.program


class FakeJudges:
    """Judges whose verdict is the program's text; for `VERDICT N`, N times that and then passed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: list[str] = []
        self.running = 0
        self.beside: dict[str, int] = {}
        self.opened = self.closed = 0

    def open(self) -> "FakeJudge":
        with self.lock:
            self.opened += 1
        return FakeJudge(self)


class FakeJudge:
    def __init__(self, all_: FakeJudges) -> None:
        self.all = all_

    def judge(self, row: Row) -> Judgement:
        with self.all.lock:
            self.all.runs.append(row.program)
            tries = self.all.runs.count(row.program)
            self.all.running += 1
            self.all.beside[row.program] = self.all.running - 1
        verdict, _, times = row.program.partition(" ")
        with self.all.lock:
            self.all.running -= 1
        if times and tries > int(times):
            return Judgement(Verdict.PASSED)
        return Judgement(Verdict(verdict.rstrip("0123456789")))

    def close(self) -> None:
        with self.all.lock:
            self.all.closed += 1


class Memory(dict[str, Judgement]):
    """A store in memory."""

    def put(self, key: str, judgement: Judgement) -> None:
        self[key] = judgement


def judged(
    judges: FakeJudges, programs: Sequence[str], workers: int = 2, store: Memory | None = None
) -> tuple[Pool, list[Verdict]]:
    stores = () if store is None else (store,)
    with Pool(judges.open, workers=workers, key=key, stores=stores) as pool:
        for number, program in enumerate(programs):
            pool.submit(row(program, number))
        judgements = pool.finish()
    return pool, [judgement.verdict for judgement in judgements]


@given(
    programs=st.lists(st.sampled_from(["passed", "wrong", "runtime", "passed1", "passed2", "timeout"])),
    workers=st.integers(1, 4),
)
def test_every_row_gets_its_own_judgement_and_equal_programs_run_once(
    programs: list[str], workers: int
) -> None:
    judges = FakeJudges()
    pool, verdicts = judged(judges, programs, workers)
    assert verdicts == [Verdict(program.rstrip("12")) for program in programs]
    assert Counter(judges.runs) == {p: 2 if p == "timeout" else 1 for p in set(programs)}
    assert pool.num_distinct == len(set(programs))
    assert judges.opened == judges.closed <= workers


def test_one_worker_takes_programs_in_the_order_of_the_rows() -> None:
    judges = FakeJudges()
    programs = [f"passed{number}" for number in range(50)]
    judged(judges, programs, workers=1)
    assert judges.runs == programs


def test_a_timeout_is_tried_again_after_all_others_and_counts_if_it_happens_twice() -> None:
    judges = FakeJudges()
    pool, verdicts = judged(judges, ["timeout 1", "timeout 2", "passed1", "passed2"], workers=2)
    assert verdicts == [Verdict.PASSED, Verdict.TIMEOUT, Verdict.PASSED, Verdict.PASSED]
    assert judges.runs[4:] == ["timeout 1", "timeout 2"]
    assert judges.beside["timeout 1"] == judges.beside["timeout 2"] == 0
    assert pool.num_retried == 2


@pytest.mark.parametrize(("failures", "verdict"), [(1, "passed"), (2, "passed"), (3, "sandbox")])
def test_a_failing_sandbox_is_replaced_twice(failures: int, verdict: str) -> None:
    judges = FakeJudges()
    _, verdicts = judged(judges, [f"sandbox {failures}"], workers=1)
    assert verdicts == [Verdict(verdict)]
    assert judges.opened == judges.closed == 1 + min(failures, 2)


def test_what_is_known_is_not_run_and_only_settled_judgements_are_kept() -> None:
    judges, store = FakeJudges(), Memory()
    store["wrong"] = Judgement(Verdict.PASSED, seconds=7.0)
    pool, verdicts = judged(judges, ["wrong", "passed", "sandbox", "timeout 1", "timeout", "wrong"], 2, store)
    assert verdicts[0] is verdicts[-1] is Verdict.PASSED
    assert "wrong" not in judges.runs
    assert pool.num_known == 1
    kept = {key: judgement.verdict for key, judgement in store.items() if key != "wrong"}
    assert kept == {"passed": "passed", "timeout 1": "passed", "timeout": "timeout"}  # not of a first timeout


def test_an_error_of_a_judge_ends_the_run() -> None:
    judges = FakeJudges()
    with pytest.raises(ValueError, match="odd"):
        judged(judges, ["passed", "odd"])
    assert judges.opened == judges.closed


class BlockedJudge:
    """Judges nothing until it is closed, as a box that is killed then."""

    def __init__(self, started: threading.Event) -> None:
        self.started = started
        self.closed = threading.Event()

    def judge(self, row: Row) -> Judgement:
        self.started.set()
        assert self.closed.wait(PATIENCE_SECONDS)
        return Judgement(Verdict.RUNTIME, "killed")

    def close(self) -> None:
        self.closed.set()


def test_an_interrupt_ends_what_runs_and_keeps_no_verdict_of_it() -> None:
    started, store = threading.Event(), Memory()
    opened: list[BlockedJudge] = []

    def open_judge() -> BlockedJudge:
        opened.append(BlockedJudge(started))
        return opened[-1]

    def interrupted() -> None:
        with Pool(open_judge, workers=2, key=key, stores=(store,)) as pool:
            for number in range(100):
                pool.submit(row(f"{number}"))
            assert started.wait(PATIENCE_SECONDS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not store
    assert opened
    assert all(judge.closed.is_set() for judge in opened)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("judge")]
