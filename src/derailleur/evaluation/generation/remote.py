"""Completions by any server that speaks OpenAI's /v1/completions."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

from derailleur.errors import DerailleurError, UserError
from derailleur.evaluation.generation.http import ContextExceededError, Server
from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest
from derailleur.evaluation.problems import Gap
from derailleur.tokens.special_tokens import KNOWN_SPELLINGS

_FEWEST_TOKENS = 16
"""A prompt that leaves less room than this has none."""

_Answer = tuple[SampleRequest, Completion]


@dataclass(frozen=True)
class ServerSource:
    """One model of a server.

    Attributes:
        model: as the server knows it; `NAME@PRESET` for a preset of ours.
    """

    server: Server
    model: str

    def complete(self, requests: Iterable[SampleRequest]) -> Iterator[_Answer]:
        """Answer every request, the first answer first; several are under way at once.

        Samples that differ in nothing but their number are asked for together (`n`), so that the server reads
        their prompt once.

        Raises:
            UserError: if the server refuses a request.
            DerailleurError: if it cannot be reached.
        """
        groups, running = _groups(requests, self.server.config.max_n), 0
        outcomes: SimpleQueue[list[_Answer] | Exception] = SimpleQueue()
        while True:
            for group in itertools.islice(groups, self.server.config.concurrency - running):
                # As daemons: who stops waits for no answer that is under way, which may take minutes.
                Thread(target=self._put_outcome, args=(group, outcomes), daemon=True).start()
                running += 1
            if not running:
                return
            outcome = outcomes.get()
            running -= 1
            if isinstance(outcome, Exception):
                raise outcome
            yield from outcome

    def _put_outcome(
        self, group: Sequence[SampleRequest], outcomes: SimpleQueue[list[_Answer] | Exception]
    ) -> None:
        try:
            outcomes.put(self._answers(group))
        except Exception as error:  # it is raised where the answers are awaited
            outcomes.put(error)

    def _answers(self, group: Sequence[SampleRequest]) -> list[_Answer]:
        """Ask until every sample is there: some servers know no `n` and give one answer."""
        answers: list[_Answer] = []
        while len(answers) < len(group):
            left = group[len(answers) :]
            answers += zip(left, self._choices(left), strict=False)
        return answers

    def _choices(self, left: Sequence[SampleRequest]) -> list[Completion]:
        """Answers of at most half as many tokens each time that the server's context holds no more."""
        max_tokens = wanted = left[0].max_tokens
        while max_tokens >= min(_FEWEST_TOKENS, wanted):
            try:
                answer = self.server.ask("completions", self._body(left, max_tokens))
                return _completions(answer, left[0].problem.stop, self.server.url)
            except ContextExceededError:
                max_tokens //= 2
        return [Completion("", Finish.TOO_LONG, 0)] * len(left)

    def _body(self, left: Sequence[SampleRequest], max_tokens: int) -> dict[str, Any]:
        first = left[0]
        body = {
            "model": self.model,
            "prompt": first.prompt,
            "max_tokens": max_tokens,
            "n": len(left),
            "temperature": first.temperature,
            "top_p": first.top_p if first.temperature else 1.0,
            "seed": first.seed,
        }
        if stops := first.problem.stop[: self.server.config.max_stops]:
            body["stop"] = list(stops)
        if first.problem.gap is not Gap.END:
            body["suffix"] = first.problem.suffix
        return body


def served_model(server: Server) -> str:
    """The name of a server's first model.

    Raises:
        UserError: if it lists none.
    """
    listed = server.ask("models").get("data")
    if not (isinstance(listed, list) and listed and isinstance(listed[0], dict) and "id" in listed[0]):
        raise UserError(f"{server.url}: lists no model; name one: server.model_name")
    return str(listed[0]["id"])


def served_presets(server: Server) -> dict[str, str]:
    """The placements of a server of ours by preset; nothing for any other server."""
    try:
        return {preset["name"]: preset["placement"] for preset in server.ask("presets")["data"]}
    except (DerailleurError, LookupError, TypeError):  # it knows no such path, or means something else by it
        return {}


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before the earliest stop string or special token: some servers write the latter out."""
    found = (text.find(string) for string in (*stops, *KNOWN_SPELLINGS))
    return text[: min((place for place in found if place >= 0), default=len(text))]


def _groups(requests: Iterable[SampleRequest], max_n: int) -> Iterator[list[SampleRequest]]:
    alike = itertools.groupby(requests, key=lambda request: (request.problem.id, request.temperature))
    for _, samples in alike:
        while group := list(itertools.islice(samples, max_n)):
            yield group


def _completions(answer: dict[str, Any], stops: Sequence[str], url: str) -> list[Completion]:
    choices = answer.get("choices")
    if not (isinstance(choices, list) and choices and all(isinstance(choice, dict) for choice in choices)):
        raise DerailleurError(f"{url}: the server's answer has no choices")
    return [_completion(choice, stops, url, _num_tokens(answer)) for choice in choices]


def _completion(choice: dict[str, Any], stops: Sequence[str], url: str, num_tokens: int | None) -> Completion:
    text = choice.get("text")
    if not isinstance(text, str):
        raise DerailleurError(f"{url}: a choice of the server's answer has no text: {str(choice)[:80]}")
    text = text.encode(errors="replace").decode()  # half a surrogate pair is in no file
    kept = cut(text, stops)
    is_cut = len(kept) < len(text) or choice.get("finish_reason") != "length"
    return Completion(kept, Finish.STOP if is_cut else Finish.LENGTH, num_tokens)


def _num_tokens(answer: dict[str, Any]) -> int | None:
    """Generated tokens, where the answer says how many they are of which choice."""
    usage = answer.get("usage")
    told = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return told if isinstance(told, int) and len(answer["choices"]) == 1 else None
