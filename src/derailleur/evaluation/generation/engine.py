"""Completions by our engine in this process, one placement of a model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from derailleur.engine import Engine, Generation, Request, Sampling
from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest
from derailleur.evaluation.problems import Gap
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt


@dataclass(frozen=True)
class _Prompt:
    ids: list[int]
    stop_ids: frozenset[int]
    fits: bool


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
                    if not prompt.fits:
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

    def _submitted(self, request: SampleRequest, prompt: _Prompt) -> Request:
        temperature = request.temperature or 0.0
        return Request(
            prompt=prompt.ids,
            placement=self.placement,
            max_tokens=min(request.max_tokens, self.engine.max_context - len(prompt.ids)),
            sampling=Sampling(temperature=temperature, top_p=request.top_p, seed=request.seed),
            stop=request.problem.stop,
            stop_tokens=prompt.stop_ids,
        )

    def _prompt(self, request: SampleRequest) -> _Prompt:
        tokenizer, room = self.tokenizer, self.engine.max_context - 1
        if request.problem.gap is Gap.END:
            ids = tokenizer.encode(request.prompt) or [tokenizer.eos_id]
            marks = tokenizer.fim.ids if tokenizer.fim else frozenset()
            return _Prompt(ids, marks, len(ids) <= room)
        made = infill_prompt(request.prompt, request.problem.suffix, tokenizer, room)
        return _Prompt(made.ids, made.stop_ids, not made.truncated)


def _completion(generation: Generation) -> Completion:
    finish = Finish.LENGTH if generation.finish_reason == "length" else Finish.STOP
    return Completion(generation.text, finish, len(generation.tokens))
