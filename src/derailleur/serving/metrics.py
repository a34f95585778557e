"""What Prometheus reads: counters, gauges and histograms of one application, in a registry of its own."""

import time
from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from derailleur.engine import Delta, EngineLoad, Limit
from derailleur.placement.placement import Placement
from derailleur.serving.access_log import Call
from derailleur.serving.forecast import Latency

# Quarter decades, from a token of a small model on a GPU to a long answer on a CPU.
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
_ANSWER_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0, 600.0)


class Metrics:
    """All metrics of one application.

    Args:
        target: what the preset 'auto' promises, where there is one.
    """

    def __init__(self, *, target: Latency | None = None) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"derailleur_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"derailleur_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"derailleur_{name}", text, ("preset",), registry=registry, buckets=buckets)

        self.calls = counter("http_requests", "Calls by route and status.", "route", "status")
        self.refusals = counter("refusals", "Calls that were not answered, by reason.", "reason")
        self.running = gauge("requests_running", "Engine requests that take part in every step.")
        self.waiting = gauge("requests_waiting", "Engine requests that wait for memory or a row.")
        self.in_flight = gauge("calls_in_flight", "Calls being answered.", "preset")
        self.state_bytes = gauge("state_bytes", "State memory that requests hold.", "mixer")
        self.cache_bytes = gauge("prefix_cache_bytes", "State memory that only the prefix cache holds.")
        self.state_budget = gauge("state_memory_bytes", "Budget of state memory.")
        self.limited = gauge("requests_limited", "1 where requests wait for this.", "limit")
        self.preemptions = counter("preemptions", "Requests that gave their memory back for a while.")
        self._num_preempted = 0
        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts.", "preset")
        self.cached_tokens = counter(
            "cached_prompt_tokens", "Of those, tokens that were remembered and not read.", "preset"
        )
        self.generated_tokens = counter("generated_tokens", "Tokens generated.", "preset")
        self.drafted = counter("draft_tokens", "Tokens proposed by drafts.", "preset")
        self.accepted = counter("draft_accepted_tokens", "Drafted tokens that the target accepted.", "preset")
        self.auto_choices = counter("auto_choices", "Calls whose preset the server chose.", "preset")
        targets = gauge("auto_target_seconds", "What the preset 'auto' promises.", "latency")
        if target is not None:
            targets.labels("token").set(target.token_seconds)
            targets.labels("first_token").set(target.first_token_seconds)
        self.first_token = histogram("first_token_seconds", "From call to first token.", _ANSWER_SECONDS)
        self.between_tokens = histogram("between_tokens_seconds", "From token to token.", _TOKEN_SECONDS)
        self.answer = histogram("answer_seconds", "From the call to the end of its answer.", _ANSWER_SECONDS)

    def answered(self, call: Call) -> None:
        """Count a call that is over."""
        self.calls.labels(call.route, str(call.status)).inc()
        if call.reason is not None:
            self.refusals.labels(call.reason).inc()
        if call.cached_tokens:
            self.cached_tokens.labels(call.preset).inc(call.cached_tokens)

    def text(self, load: EngineLoad | None) -> bytes:
        """Everything in Prometheus' text format.

        Args:
            load: of now; without it, the gauges stay as they were.
        """
        if load is not None:
            self.running.set(load.running)
            self.waiting.set(load.waiting)
            self.state_budget.set(load.budget_bytes)
            self.cache_bytes.set(load.cached_bytes)
            for limit in get_args(Limit):
                self.limited.labels(limit).set(load.limited_by == limit)
            self.preemptions.inc(load.num_preempted - self._num_preempted)
            self._num_preempted = load.num_preempted
            for mixer, used in load.used_bytes.items():
                self.state_bytes.labels(mixer).set(used)
        return generate_latest(self._registry)


class Meter:
    """Measures one call while it is answered.

    Args:
        preset_of: the label of what a placement adds.
        num_requests: of the engine, whose ends are the answer's end.
    """

    def __init__(
        self,
        metrics: Metrics,
        preset_of: Callable[[Placement], str],
        *,
        num_prompt_tokens: int,
        num_requests: int,
    ) -> None:
        self._metrics, self._preset_of = metrics, preset_of
        self._preset: str | None = None
        self._num_prompt_tokens, self._num_unfinished = num_prompt_tokens, num_requests
        self._started = time.monotonic()
        self._last: dict[int, float] = {}
        self.num_generated = 0
        self.first_token_seconds: float | None = None

    def accept(self, placement: Placement) -> None:
        """The engine took the call on. Called in the engine's thread."""
        self._preset = self._preset_of(placement)
        self._metrics.prompt_tokens.labels(self._preset).inc(self._num_prompt_tokens)
        self._metrics.in_flight.labels(self._preset).inc()

    def add(self, place: int, delta: Delta) -> None:
        """Take what a step added to the request at `place`. Called in the engine's thread."""
        metrics, preset, now = self._metrics, self._preset, time.monotonic()
        num_tokens = len(delta.tokens)
        if num_tokens and place not in self._last:
            metrics.first_token.labels(preset).observe(now - self._started)
            self.first_token_seconds = self.first_token_seconds or now - self._started
        elif num_tokens:
            # The tokens of one step come together: each took its share of the time.
            for _ in range(num_tokens):
                metrics.between_tokens.labels(preset).observe((now - self._last[place]) / num_tokens)
        if num_tokens:
            self._last[place] = now
            self.num_generated += num_tokens
            metrics.generated_tokens.labels(preset).inc(num_tokens)
        if delta.speculation is not None:
            metrics.drafted.labels(preset).inc(delta.speculation.drafted)
            metrics.accepted.labels(preset).inc(delta.speculation.accepted)
        if delta.finish_reason is not None:
            self._num_unfinished -= 1
            if self._num_unfinished == 0:
                metrics.answer.labels(preset).observe(now - self._started)

    def close(self) -> None:
        """The call is over, answered or not. Called in the engine's thread."""
        if self._preset is not None:
            self._metrics.in_flight.labels(self._preset).dec()
            self._preset = None
