"""Completions by our engine in this process, one placement of a model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from derailleur.engine import Engine, Generation, Request, Sampling
from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest
from derailleur.evaluation.problems import Gap
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt


@dataclass(frozen=True)
class EngineSource:
    """One placement of a model.

    Attributes:
        tokenizer: that of the model.
    """

    engine: Engine
    tokenizer: Tokenizer
    placement: Placement

    def complete(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[SampleRequest, Completion]]:
        """Answer every request, the first to end first; rows that end make room for the next at once.

        Raises:
            CheckpointError: for infilling, if the tokenizer has no fill-in-the-middle tokens.
        """
        waiting, running = iter(requests), dict[int, tuple[SampleRequest, Generation]]()
        try:
            while True:
                for request in waiting:
                    prompt = self._prompt(request)
                    if prompt is None:
                        yield request, Completion("", Finish.TOO_LONG, 0)
                        continue
                    running[self.engine.submit(self._submitted(request, prompt))] = request, Generation()
                    if len(running) >= self.engine.config.max_rows:
                        break
                if not running:
                    return
                for delta in self.engine.step():
                    request, generation = running[delta.request_id]
                    generation.add(delta)
                    if delta.finish_reason:
                        del running[delta.request_id]
                        yield request, _completion(generation)
        finally:
            for request_id in running:  # the caller was interrupted
                self.engine.cancel(request_id)

    def _submitted(self, request: SampleRequest, prompt: list[int]) -> Request:
        temperature = request.temperature or 0.0
        return Request(
            prompt=prompt,
            placement=self.placement,
            max_tokens=min(request.max_tokens, self.engine.max_context - len(prompt)),
            sampling=Sampling(temperature=temperature, top_p=request.top_p, seed=request.seed),
            stop=request.problem.stop,
            stop_tokens=frozenset(self.tokenizer.special.values()),
        )

    def _prompt(self, request: SampleRequest) -> list[int] | None:
        """Token ids, or None where they leave no room for an answer: half a prompt is another problem."""
        room = self.engine.max_context - 1
        if request.problem.gap is Gap.END:
            ids = self.tokenizer.encode(request.prompt) or [self.tokenizer.eos_id]
            return ids if len(ids) <= room else None
        made = infill_prompt(request.prompt, request.problem.suffix, self.tokenizer, room)
        return None if made.truncated else made.ids


def _completion(generation: Generation) -> Completion:
    finish = Finish.LENGTH if generation.finish_reason == "length" else Finish.STOP
    return Completion(generation.text, finish, len(generation.tokens))
