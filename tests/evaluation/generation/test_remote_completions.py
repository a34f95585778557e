"""Any OpenAI-compatible server: what is sent, what is understood, when it is asked again."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from derailleur.errors import ConfigError, DerailleurError, UserError
from derailleur.evaluation.generation import http
from derailleur.evaluation.generation.http import Server, ServerConfig
from derailleur.evaluation.generation.remote import ServerSource, cut, served_model, served_presets
from derailleur.evaluation.generation.request import Finish, SampleRequest
from derailleur.evaluation.problems import Gap, Problem
from derailleur.evaluation.programs import Language

FakeServers = Callable[..., AbstractContextManager[Any]]

PROBLEM = Problem(
    id="add",
    language=Language.PYTHON,
    prompt='def add(a, b):\n    """Sum."""\n',
    tests="assert add(1, 2) == 3",
    stop=("\ndef", "\n#"),
)
LINE = Problem(
    id="line", language=Language.PYTHON, prompt="def f():", suffix="    return x\n", tests="", gap=Gap.LINE
)


def samples(problem: Problem, number: int = 1, temperature: float = 0.8) -> list[SampleRequest]:
    return [SampleRequest(problem, temperature, 0.95, 64, index, 100 + index) for index in range(number)]


def choices(*texts: str, finish: str = "stop") -> tuple[int, Any, dict[str, str]]:
    made = [{"text": text, "finish_reason": finish} for text in texts]
    return 200, {"choices": made, "usage": {"completion_tokens": 7}}, {}


def source(server: Any, **settings: Any) -> ServerSource:
    return ServerSource(Server(ServerConfig(url=server.url, **settings)), "tiny@fast")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


def test_what_is_sent(fake_server: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "abc")
    with fake_server(lambda path, body: choices(*["\n    return a + b"] * body["n"])) as server:
        answers = list(source(server, api_key_env="SOME_KEY").complete(samples(PROBLEM, 3)))
    assert [request.index for request, _ in answers] == [0, 1, 2]
    assert server.bodies == [
        {
            "model": "tiny@fast",
            "prompt": 'def add(a, b):\n    """Sum."""',  # what is at its end goes
            "max_tokens": 64,
            "n": 3,
            "temperature": 0.8,
            "top_p": 0.95,
            "seed": 100,
            "stop": ["\ndef", "\n#"],
        }
    ]
    assert server.asked[0][2]["Authorization"] == "Bearer abc"


def test_a_suffix_makes_it_infilling_and_greedy_needs_no_top_p(fake_server: FakeServers) -> None:
    with fake_server(lambda path, body: choices("    x = 1")) as server:
        [(_, completion)] = source(server).complete(samples(LINE, temperature=0.0))
    assert completion.text == "    x = 1" and completion.num_tokens == 7
    [body] = server.bodies
    assert body["suffix"] == "    return x\n" and body["prompt"] == "def f():"
    assert body["top_p"] == 1.0 and "stop" not in body


def test_samples_come_in_groups_and_what_a_server_leaves_out_is_asked_for_again(
    fake_server: FakeServers,
) -> None:
    with fake_server(lambda path, body: choices("x")) as server:  # knows no n
        answers = list(source(server, max_n=2, concurrency=1).complete(samples(PROBLEM, 5)))
    assert sorted(request.index for request, _ in answers) == [0, 1, 2, 3, 4]
    assert [(body["n"], body["seed"]) for body in server.bodies] == [
        (2, 100), (1, 101), (2, 102), (1, 103), (1, 104),
    ]  # fmt: skip


def test_answers_are_cut_here_too(fake_server: FakeServers) -> None:
    texts = ["a\n#b\ndef c", "a<|endoftext|>b", "a"]
    with fake_server(lambda path, body: choices(*texts, finish="length")) as server:
        answers = [completion for _, completion in source(server, max_stops=1).complete(samples(PROBLEM, 3))]
    assert [answer.text for answer in answers] == ["a", "a", "a"]
    assert [answer.finish for answer in answers] == [Finish.STOP, Finish.STOP, Finish.LENGTH]
    assert server.bodies[0]["stop"] == ["\ndef"]
    assert cut("x = '<fim_middle>'", ()) == "x = '"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(fake_server: FakeServers, no_pauses: list[float], status: int) -> None:
    answers = [(status, {"error": {"message": "busy"}}, {"Retry-After": "7"}), (200, "no JSON", {})]
    with fake_server(lambda path, body: answers.pop(0) if answers else choices("x")) as server:
        [(_, completion)] = source(server).complete(samples(PROBLEM))
    assert completion.text == "x" and len(server.bodies) == 3
    assert no_pauses[0] == 7 and 1 <= no_pauses[1] <= 2


def test_one_that_stays_away_is_given_up(no_pauses: list[float]) -> None:
    asked = Server(ServerConfig(url="http://127.0.0.1:9", attempts=3))
    with pytest.raises(DerailleurError, match=r"127.0.0.1:9/v1/models: failed 3 times, at last: .*refused"):
        asked.ask("models")
    assert len(no_pauses) == 3 and no_pauses[-1] == 0


@pytest.mark.parametrize("status", [302, 401, 404, 400])
def test_a_refusal_is_one_line(fake_server: FakeServers, status: int) -> None:
    said = {"error": {"message": "no such\nmodel"}}, {"Location": "http://127.0.0.1:9/elsewhere"}
    with (
        fake_server(lambda path, body: (status, *said)) as server,
        pytest.raises(UserError, match=f"refused with status {status}: no such model$"),
    ):
        list(source(server).complete(samples(PROBLEM)))
    assert len(server.asked) == 1


def test_longest_answers_are_halved_until_the_context_holds_them(fake_server: FakeServers) -> None:
    too_long = 400, {"error": {"message": "This model's maximum context length is 100 tokens"}}, {}
    with fake_server(lambda path, body: choices("x") if body["max_tokens"] <= 20 else too_long) as server:
        [(_, completion)] = source(server).complete(samples(PROBLEM))
    assert completion.text == "x"
    assert [body["max_tokens"] for body in server.bodies] == [64, 32, 16]
    with fake_server(lambda path, body: too_long) as server:
        answers = list(source(server).complete(samples(PROBLEM, 2)))
    assert [answer.finish for _, answer in answers] == [Finish.TOO_LONG] * 2


def test_an_answer_without_choices_is_no_answer(fake_server: FakeServers) -> None:
    for said in ({}, {"choices": []}, {"choices": ["x"]}):
        with (
            fake_server(lambda path, body, said=said: (200, said, {})) as server,
            pytest.raises(DerailleurError, match="the server's answer has no choices"),
        ):
            list(source(server).complete(samples(PROBLEM)))


@pytest.mark.parametrize("choice", [{"message": {"content": "x"}}, {"text": None}, {"text": 1}])
def test_a_choice_without_text_is_no_empty_completion(
    fake_server: FakeServers, choice: dict[str, Any]
) -> None:
    with (
        fake_server(lambda path, body: (200, {"choices": [choice]}, {})) as server,
        pytest.raises(DerailleurError, match=f"^{server.url}: a choice .* has no text"),
    ):
        list(source(server).complete(samples(PROBLEM)))


@pytest.mark.parametrize("usage", [[1], "many", {"completion_tokens": "7"}, None])
def test_what_is_said_of_tokens_may_be_anything(fake_server: FakeServers, usage: Any) -> None:
    said = {"choices": [{"text": "x"}], "usage": usage}
    with fake_server(lambda path, body: (200, said, {})) as server:
        [(_, completion)] = source(server).complete(samples(PROBLEM))
    assert completion.num_tokens is None


def test_half_a_surrogate_pair_can_be_written(fake_server: FakeServers) -> None:
    with fake_server(lambda path, body: choices("x = '\ud800'")) as server:
        [(_, completion)] = source(server).complete(samples(PROBLEM))
    assert completion.text == "x = '?'"


@pytest.mark.parametrize("body", ["<html>", "[" * 100_000])
def test_an_answer_that_is_not_json_is_shown(fake_server: FakeServers, body: str) -> None:
    with (
        fake_server(lambda path, _: (200, body, {})) as server,
        pytest.raises(DerailleurError, match=r"failed 2 times, at last: the answer is not JSON: '[<\[]"),
    ):
        list(source(server, attempts=2).complete(samples(PROBLEM)))


def test_who_waits_long_is_told_for_what(caplog: pytest.LogCaptureFixture) -> None:
    asked = Server(ServerConfig(url="http://127.0.0.1:9", attempts=5))
    with pytest.raises(DerailleurError):
        asked.ask("models")
    assert "refused; asked again in" in caplog.text


def test_no_answer_under_way_is_waited_for_once_one_has_failed(fake_server: FakeServers) -> None:
    released = threading.Event()

    def respond(path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        if body["seed"] == 100:
            released.wait()
        return 401, {"error": "no key"}, {}

    with fake_server(respond) as server:
        with pytest.raises(UserError, match="401"):
            list(source(server, max_n=1).complete(samples(PROBLEM, 2)))
        waiting = [thread for thread in threading.enumerate() if "_put_outcome" in thread.name]
        assert waiting and all(thread.daemon for thread in waiting)
        released.set()


def test_what_a_server_has(fake_server: FakeServers) -> None:
    def respond(path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "tiny"}, {"id": "tiny@fast"}]}, {}
        return 200, {"data": [{"name": "full", "placement": "FF"}, {"name": "fast", "placement": "GS"}]}, {}

    with fake_server(respond) as server:
        asked = Server(ServerConfig(url=f"{server.url}/v1/"))
        assert served_model(asked) == "tiny"
        assert served_presets(asked) == {"full": "FF", "fast": "GS"}
    with fake_server(lambda path, body: (404, {"detail": "Not Found"}, {})) as server:
        assert served_presets(Server(ServerConfig(url=server.url))) == {}


@pytest.mark.parametrize("said", [{}, {"data": None}, {"data": ["x"]}, {"data": [{"id": "x"}]}, "<html>"])
def test_another_server_may_mean_something_else_by_presets(fake_server: FakeServers, said: Any) -> None:
    with fake_server(lambda path, body: (200, said, {})) as server:
        assert served_presets(Server(ServerConfig(url=server.url))) == {}


def test_settings_that_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigError, match="the environment has no SOME_KEY"):
        Server(ServerConfig(url="http://x", api_key_env="SOME_KEY"))
    for url in ("x:80", "http://", "http://x:y", "http://x:99999", "http://x/a b", "http://x/\xe9"):
        with pytest.raises(ConfigError, match=f"got '{url}'"):
            Server(ServerConfig(url=url))
