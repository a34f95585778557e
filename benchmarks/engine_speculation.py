"""Self-speculation on a trained checkpoint: net speed and acceptance over draft cost, context and batch.

Greedy, on held-out code. Speeds are of whole engine steps from where all rows have their first token to
where the first row ends, so that the batch is full and no prompt is read. The draft's cost is the time of
its own step over that of the target's, at the same context and batch.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median

import numpy as np
from engine_inputs import HeldOutCode
from engine_tables import context, table

from derailleur.engine import NGRAM, DraftSource, Engine, Request, Speculation
from derailleur.placement import Placement

_DISTINCT_TOKENS = 8192
"""Texts are read once and then resumed from; the longer, the fewer different ones."""


@dataclass(frozen=True)
class Speculated:
    """One draft for one target in one regime; medians over rounds.

    Attributes:
        cost: seconds of the draft's step over the target's; 0 for n-grams.
        always, measured: tokens per second over those without drafts, with drafts in every step and where
            the engine's own measurement lets them be (None: not run).
        acceptance_rate, acceptance_length: with drafts in every step.
    """

    target: str
    draft: str
    placement: str
    context_tokens: int
    batch: int
    cost: float
    plain_tokens_per_second: float
    always: float
    measured: float | None
    acceptance_rate: float
    acceptance_length: float


@dataclass(frozen=True)
class _Rate:
    tokens_per_second: float
    speculation: Speculation


@dataclass(frozen=True)
class _Round:
    """Speeds on the same rows: of the target, of the draft placement, and of both by when drafts are made."""

    plain: _Rate
    alone: _Rate | None
    drafted: Mapping[str, _Rate]


@dataclass(frozen=True)
class Bench:
    """How drafts are measured.

    Attributes:
        engines: by when they draft: `always`, and perhaps `measured`.
        rounds: of one row; the more rows, the fewer.
        new_tokens: per row.
    """

    engines: Mapping[str, Engine]
    code: HeldOutCode
    rounds: int
    new_tokens: int

    def measure(
        self,
        name: str,
        target: Placement,
        drafts: Mapping[str, DraftSource],
        contexts: Sequence[int],
        batches: Sequence[int],
    ) -> list[Speculated]:
        """All drafts in turn, in every regime."""
        rng, results = np.random.default_rng(0), []
        asked = Request(prompt=(), placement=target, max_tokens=self.new_tokens, ignore_eos=True)
        for tokens in contexts:
            count = min(max(_DISTINCT_TOKENS // tokens, 2), max(self.rounds, max(batches)))
            # One token more than what the prefix cache remembers, so that rows start together.
            texts = self.code.prompts(self.engines["always"].tokenizer, [tokens + 1] * count, rng)
            self._read(texts, {target, *(x for x in drafts.values() if isinstance(x, Placement))})
            for batch in batches:
                rounds = self._rounds(asked, drafts, texts, batch)
                results += [
                    _summary(name, draft, drafts[draft], tokens, batch, own) for draft, own in rounds.items()
                ]
        return results

    def _read(self, texts: Sequence[Sequence[int]], placements: Collection[Placement]) -> None:
        for engine in self.engines.values():
            for placement in placements:
                engine.generate(texts, placement=placement, max_tokens=1)

    def _rounds(
        self, asked: Request, drafts: Mapping[str, DraftSource], texts: Sequence[Sequence[int]], batch: int
    ) -> dict[str, list[_Round]]:
        if "measured" in self.engines:  # a server has served requests of this kind before
            for draft in drafts.values():
                _rate(self.engines["measured"], _rows(texts, 0, batch), replace(asked, draft=draft))
        rounds: dict[str, list[_Round]] = {name: [] for name in drafts}
        for number in range(max(self.rounds // batch, 1)):
            rows = _rows(texts, number * batch, batch)
            plain = _rate(self.engines["always"], rows, asked)
            for name, draft in drafts.items():
                rounds[name].append(self._round(rows, asked, draft, plain))
        return rounds

    def _round(
        self, rows: Sequence[Sequence[int]], asked: Request, draft: DraftSource, plain: _Rate
    ) -> _Round:
        alone = None
        if isinstance(draft, Placement):
            alone = _rate(self.engines["always"], rows, replace(asked, placement=draft))
        drafted = replace(asked, draft=draft)
        return _Round(plain, alone, {when: _rate(x, rows, drafted) for when, x in self.engines.items()})


def _rows(texts: Sequence[Sequence[int]], first: int, batch: int) -> list[list[int]]:
    """The texts from one on, round and round; lists of their own, as requests that come one by one have."""
    return [list(texts[(first + row) % len(texts)]) for row in range(batch)]


def _rate(engine: Engine, rows: Sequence[Sequence[int]], asked: Request) -> _Rate:
    """Speed while all rows decode, and how the drafts of all of them fared."""
    ids = {engine.submit(replace(asked, prompt=row)) for row in rows}
    started: set[int] = set()
    total = Speculation()
    counted, begin, end = 0, None, None
    while engine.busy:
        deltas = engine.step()
        now = time.perf_counter()
        if begin is not None and end is None:
            counted += sum(len(delta.tokens) for delta in deltas)
        started |= {delta.request_id for delta in deltas if delta.tokens}
        if begin is None and started == ids:
            begin = now
        elif end is None and any(delta.finish_reason for delta in deltas):
            end = now
        for own in [delta.speculation for delta in deltas if delta.speculation]:
            total.steps += own.steps
            total.drafted += own.drafted
            total.accepted += own.accepted
    assert begin is not None and end is not None and counted, "a row ended before the last one started"
    return _Rate(counted / (end - begin), total)


def _summary(
    target: str, name: str, draft: DraftSource, context_tokens: int, batch: int, rounds: Sequence[_Round]
) -> Speculated:
    def speed_up(mode: str) -> float:
        return median(r.drafted[mode].tokens_per_second / r.plain.tokens_per_second for r in rounds)

    costs = [r.plain.tokens_per_second / r.alone.tokens_per_second for r in rounds if r.alone]
    speculations = [r.drafted["always"].speculation for r in rounds]
    return Speculated(
        target=target,
        draft=name,
        placement=str(draft),
        context_tokens=context_tokens,
        batch=batch,
        cost=median(costs) if costs else 0.0,
        plain_tokens_per_second=median(r.plain.tokens_per_second for r in rounds),
        always=speed_up("always"),
        measured=speed_up("measured") if "measured" in rounds[0].drafted else None,
        acceptance_rate=mean(s.acceptance_rate for s in speculations),
        acceptance_length=mean(s.acceptance_length for s in speculations),
    )


def tables(results: Sequence[Speculated], trained_tokens: int) -> str:
    """Net speed by draft and context, a table a target and batch; then where drafts do not pay."""
    blocks = []
    for target, batch in dict.fromkeys((row.target, row.batch) for row in results):
        own = [row for row in results if (row.target, row.batch) == (target, batch)]
        contexts = sorted({row.context_tokens for row in own})
        head = [
            f"draft for {target}, batch {batch}",
            *(_starred(tokens, trained_tokens) for tokens in contexts),
        ]
        rows = []
        for draft, placement in dict.fromkeys((row.draft, row.placement) for row in own):
            cells = {row.context_tokens: _cell(row) for row in own if row.draft == draft}
            label = draft if placement == NGRAM else f"{draft} `{placement}`"
            rows.append([label, *(cells.get(tokens, "") for tokens in contexts)])
        blocks.append(table(head, rows))
    return "\n".join([*blocks, switched_off(results)])


def _starred(tokens: int, trained_tokens: int) -> str:
    return context(tokens) + ("*" if tokens > trained_tokens else "")


def _cell(row: Speculated) -> str:
    measured = "" if row.measured is None else f" / {row.measured:.2f}"
    return f"{row.always:.2f}{measured} ({row.acceptance_rate:.0%}, cost {row.cost:.2f})"


def switched_off(results: Sequence[Speculated]) -> str:
    """One sentence: what is lost where drafts do not pay, with and without the engine's measurement."""
    both = [(row.always, row.measured) for row in results if row.measured is not None]
    losing = [(always, measured) for always, measured in both if always < 1]
    if not losing:
        return f"Drafts pay in all {len(both)} cells.\n"
    always, measured = (sorted(values) for values in zip(*losing, strict=True))
    return (
        f"Drafts in every step do not pay in {len(losing)} of {len(both)} cells: median "
        f"{median(always):.2f}, worst {always[0]:.2f}. Where measurement decides, the same cells stand at "
        f"{median(measured):.2f}, worst {measured[0]:.2f}.\n"
    )
