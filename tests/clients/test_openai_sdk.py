"""OpenAI's own client against the real server: what it sends, what it reads, which exceptions it raises."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

Serve = Callable[..., AbstractContextManager[Any]]
GREEDY: dict[str, Any] = {"model": "tiny@balanced", "temperature": 0}
PROMPT = "def load(path):\n    return "
TALK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "import json"}]
KEYS = """keys:
  - {name: tester, key: sk-tester}
  - {name: single, key: sk-single, max_concurrency: 1}
  - {name: rare, key: sk-rare, requests_per_minute: 1}
"""


@pytest.fixture(scope="module")
def served(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    keys: Path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    keys.write_text(KEYS)
    with serve("--api-key-file", str(keys), "--limits.body_bytes", "100000") as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="sk-tester", max_retries=0) as client:
        yield client


def test_models(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed == ["tiny", "tiny@full", "tiny@balanced", "tiny@fast"]
    assert client.models.retrieve("tiny@fast").owned_by == "derailleur"


def test_a_completion_and_its_stream_say_the_same(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, max_tokens=20, logprobs=3, **GREEDY)
    *pieces, last = client.completions.create(
        prompt=PROMPT,
        max_tokens=20,
        logprobs=3,
        stream=True,
        stream_options={"include_usage": True},
        **GREEDY,
    )
    choices = [piece.choices[0] for piece in pieces]
    assert "".join(choice.text for choice in choices) == whole.choices[0].text
    assert choices[-1].finish_reason == whole.choices[0].finish_reason == "length"
    assert last.choices == [] and last.usage == whole.usage
    scored = whole.choices[0].logprobs
    assert scored is not None and scored.tokens is not None and scored.token_logprobs is not None
    assert len(scored.tokens) == len(scored.token_logprobs) == len(scored.text_offset or []) == 20
    streamed = [logprob for c in choices if c.logprobs for logprob in c.logprobs.token_logprobs or []]
    assert streamed == pytest.approx(scored.token_logprobs, abs=1e-4)


def test_several_answers(client: openai.OpenAI) -> None:
    settings = {"model": "tiny", "prompt": [PROMPT, "x"], "max_tokens": 8, "temperature": 1, "seed": 7}
    four = client.completions.create(**settings, n=2)
    assert [choice.index for choice in four.choices] == [0, 1, 2, 3]
    assert four.usage is not None and four.usage.completion_tokens <= 32
    best = client.completions.create(**settings, n=1, best_of=4, logprobs=0)
    assert [choice.index for choice in best.choices] == [0, 1]
    echoed = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=0, echo=True, logprobs=1)
    assert echoed.choices[0].text == PROMPT
    stopped = client.completions.create(prompt=PROMPT, max_tokens=40, **GREEDY).choices[0].text
    word = stopped[5:8]
    cut = client.completions.create(prompt=PROMPT, max_tokens=40, stop=["@@", word], **GREEDY).choices[0]
    assert cut.text == stopped[: stopped.index(word)] and cut.finish_reason == "stop"


def test_our_fields_are_read_and_answered(client: openai.OpenAI) -> None:
    plain = client.completions.create(prompt=PROMPT, max_tokens=24, **GREEDY)
    drafted = client.completions.create(prompt=PROMPT, max_tokens=24, extra_body={"draft": "fast"}, **GREEDY)
    assert drafted.choices[0].text == plain.choices[0].text
    assert drafted.model_extra is not None and drafted.model_extra["draft"] == "GGGG"
    assert drafted.model_extra["placement"] == "FSKG"


def test_chat_and_its_stream_say_the_same(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"messages": TALK, "max_completion_tokens": 16, "logprobs": True, **GREEDY}
    whole: ChatCompletion = client.chat.completions.create(top_logprobs=2, **settings)
    message = whole.choices[0].message
    assert message.role == "assistant" and message.tool_calls is None
    assert whole.choices[0].logprobs is not None
    scored = whole.choices[0].logprobs.content or []
    assert len(scored) == 16 and all(len(token.top_logprobs) == 2 for token in scored)
    assert (
        b"".join(bytes(token.bytes or []) for token in scored).decode("utf-8", "replace") == message.content
    )
    first, *pieces, last = client.chat.completions.create(
        top_logprobs=2, stream=True, stream_options={"include_usage": True}, **settings
    )
    assert first.choices[0].delta.role == "assistant"
    assert all(piece.choices[0].delta.role is None for piece in pieces)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == message.content
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == [] and last.usage == whole.usage
    with (
        pytest.raises(openai.LengthFinishReasonError) as cut,
        client.chat.completions.stream(messages=TALK, max_tokens=16, **GREEDY) as accumulated,
    ):
        accumulated.get_final_completion()
    assert cut.value.completion.choices[0].message.content == message.content


def test_an_answer_of_a_schema_is_parsed(client: openai.OpenAI) -> None:
    class Verdict(BaseModel):
        kind: Literal["bug", "feature"]
        urgent: bool

    parsed = client.chat.completions.parse(
        model="tiny@fast", messages=TALK, response_format=Verdict, max_tokens=200, temperature=1, seed=1
    )
    verdict = parsed.choices[0].message.parsed
    assert verdict is not None and verdict.kind in ("bug", "feature")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "tiny@fat"}, openai.BadRequestError, "did you mean 'fast'"),
        ({"model": "gpt-4"}, openai.NotFoundError, "does not exist"),
        ({"temperature": 3}, openai.BadRequestError, "temperature"),
        ({"max_tokens": 5000}, openai.BadRequestError, "the context is 1024"),
        ({"extra_body": {"tempreature": 1}}, openai.BadRequestError, "tempreature: unknown field"),
        ({"prompt": "x" * 200_000}, openai.APIStatusError, "larger than 100,000 bytes"),
    ],
)
def test_refusals_are_the_sdks_exceptions(
    client: openai.OpenAI, change: dict[str, Any], error: type[openai.APIStatusError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        client.completions.create(**{"prompt": "x", "max_tokens": 2, **GREEDY, **change})
    assert type(raised.value) is error
    assert raised.value.type == "invalid_request_error"
    assert client.completions.create(prompt="x", max_tokens=1, **GREEDY).choices


def test_a_wrong_key(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError, match="no valid API key") as raised:
        client.with_options(api_key="sk-wrong").models.list()
    assert raised.value.code == "invalid_api_key"


def test_a_limit_says_when_to_try_again(client: openai.OpenAI) -> None:
    rare = client.with_options(api_key="sk-rare")
    answered = rare.completions.with_raw_response.create(prompt="x", max_tokens=1, **GREEDY)
    assert answered.status_code == 200 and answered.headers["content-type"] == "application/json"
    assert answered.parse().choices[0].finish_reason is not None
    with pytest.raises(openai.RateLimitError, match="1 times a minute") as raised:
        rare.completions.with_raw_response.create(prompt="x", max_tokens=1, **GREEDY)
    assert raised.value.code == "rate_limit_exceeded"
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 60


def test_the_sdk_tries_again_by_itself(client: openai.OpenAI) -> None:
    """Refused while another answer is given to the same key, it waits as long as it was told."""
    single = client.with_options(api_key="sk-single", max_retries=5)
    with single.completions.create(prompt="x", max_tokens=900, stream=True, **GREEDY) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError):
            single.with_options(max_retries=0).completions.create(prompt="x", max_tokens=1, **GREEDY)
    assert single.completions.create(prompt="x", max_tokens=1, **GREEDY).choices


def test_a_client_that_waits_no_longer_frees_the_engine(served: Any, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).completions.create(
            prompt="x", max_tokens=900, n=16, model="tiny", temperature=1, extra_body={"min_tokens": 900}
        )
    served.until(lambda: served.health["running"] == 0)


def test_a_stream_that_is_closed_ends_there(served: Any, client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        messages=TALK, n=4, stream=True, model="tiny@full", extra_body={"min_tokens": 500}
    ) as stream:
        for number, _ in enumerate(stream):
            if number == 8:
                assert served.health["running"] == 4
                break
    served.until(lambda: served.health["running"] == 0)


def test_a_deadline_ends_a_stream_with_an_error(serve: Serve) -> None:
    with (
        serve("--limits.request_seconds", "0.4") as served,
        openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0) as client,
    ):
        settings: dict[str, Any] = {"model": "tiny", "prompt": "x", "max_tokens": 1000, "n": 32}
        with pytest.raises(openai.APIError, match=r"not finished within 0.4 seconds") as raised:
            list(client.completions.create(**settings, stream=True))
        assert raised.value.code == "deadline_exceeded"
        with pytest.raises(openai.InternalServerError) as late:
            client.completions.create(**settings)
        assert late.value.status_code == 504
        served.until_idle()


def test_many_at_once(served: Any, client: openai.OpenAI) -> None:
    """Requests of three presets in flight together, some given up: the others say what each says alone."""
    prompts = [f"def f{number}(" for number in range(12)]
    names = ["tiny@full", "tiny@balanced", "tiny@fast"] * 4
    alone = [
        client.completions.create(model=name, prompt=prompt, max_tokens=12, temperature=0).choices[0].text
        for name, prompt in zip(names, prompts, strict=True)
    ]

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"{served.address}/v1", api_key="sk-tester", max_retries=0
        ) as many:

            async def read(name: str, prompt: str) -> str:
                stream = await many.completions.create(
                    model=name, prompt=prompt, max_tokens=12, temperature=0, stream=True
                )
                return "".join([piece.choices[0].text async for piece in stream])

            async def give_up(name: str) -> None:
                stream = await many.completions.create(
                    model=name, prompt="x", max_tokens=900, temperature=1, stream=True
                )
                async for _ in stream:
                    await stream.close()
                    return

            leaving = [give_up(name) for name in names]
            reading = [read(name, prompt) for name, prompt in zip(names, prompts, strict=True)]
            texts, _ = await asyncio.gather(asyncio.gather(*reading), asyncio.gather(*leaving))
            return list(texts)

    assert asyncio.run(all_of_them()) == alone
    served.until(lambda: served.health["running"] == 0)
