"""What an operator sees: metrics, the access log, the interface's description."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from derailleur import serving
from derailleur.engine import Engine
from derailleur.errors import ConfigError

Serve = Callable[..., AbstractContextManager]
SECRET_TEXT = "password = 'hunter2'"


def metrics(client: TestClient) -> dict[tuple[str, ...], float]:
    """Every sample: its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name.removeprefix("derailleur_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_what_was_answered(client: TestClient) -> None:
    body = {"prompt": ["x = 1\n", "y"], "max_tokens": 6, "temperature": 0, "preset": "balanced", "n": 2}
    usage = client.post("/v1/completions", json={**body, "draft": "balanced"}).json()["usage"]
    plain = {"max_tokens": 3, "min_tokens": 3, "temperature": 0, "draft": "none"}
    client.post("/v1/completions", json={**plain, "prompt": "x", "placement": "KKKK"})
    client.post("/v1/completions", json={**plain, "prompt": "x", "preset": "no"})
    client.post("/v1/completions", json={"prompt": "x" * 9000})
    client.get("/v1/whatever/path/4711")
    seen = metrics(client)
    assert seen["prompt_tokens_total", "balanced"] == usage["prompt_tokens"]
    assert seen["generated_tokens_total", "balanced"] == usage["completion_tokens"]
    assert seen["first_token_seconds_count", "balanced"] == 4
    assert seen["between_tokens_seconds_count", "balanced"] == usage["completion_tokens"] - 4
    assert seen["answer_seconds_count", "balanced"] == 1
    assert 0 < seen["draft_accepted_tokens_total", "balanced"] <= seen["draft_tokens_total", "balanced"]
    assert seen["generated_tokens_total", "other"] == 3
    assert seen["http_requests_total", "/v1/completions", "200"] == 2
    assert seen["http_requests_total", "/v1/completions", "400"] == 2
    assert seen["http_requests_total", "unmatched", "404"] == 1
    assert seen["refusals_total", "context_length_exceeded"] == 1
    assert seen["refusals_total", "invalid_request_error"] == 1
    assert seen["refusals_total", "not_found"] == 1
    assert seen["requests_running",] == seen["requests_waiting",] == 0
    assert seen["calls_in_flight", "balanced"] == seen["calls_in_flight", "other"] == 0
    assert seen["preemptions_total",] == seen["requests_limited", "memory"] == 0
    assert seen["state_bytes", "F"] == seen["state_bytes", "G"] == 0 < seen["state_memory_bytes",]


def test_metrics_of_the_prefix_cache(client: TestClient) -> None:
    body = {"prompt": "x = 1\n" * 60, "max_tokens": 2, "preset": "balanced", "n": 3}
    usages = [client.post("/v1/completions", json=body).json()["usage"] for _ in range(2)]
    seen = metrics(client)
    assert [usage["prompt_tokens_details"]["cached_tokens"] > 0 for usage in usages] == [False, True]
    cached = usages[1]["prompt_tokens_details"]["cached_tokens"]
    assert seen["cached_prompt_tokens_total", "balanced"] == cached < seen["prompt_tokens_total", "balanced"]
    assert client.get("/health").json()["prefix_cache_bytes"] == seen["prefix_cache_bytes",] > 0


def test_a_defect_is_one_error_and_is_counted(
    engine: Engine, model: serving.ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derailleur.serving.app.tokenize", lambda *_: 1 / 0)
    app = serving.create_app(model, serving.EngineWorker(engine))
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/tokenize", json={"content": "x"})
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
        assert metrics(client)["refusals_total", "internal_error"] == 1
        assert metrics(client)["http_requests_total", "/tokenize", "500"] == 1


def test_metrics_of_two_applications_know_nothing_of_each_other(
    client: TestClient, folder: Path, engine: Engine, model: serving.ServedModel
) -> None:
    client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1})
    other = serving.create_app(model, serving.EngineWorker(Engine(folder, model.tokenizer)))
    with TestClient(other) as second:
        assert not any(name == "generated_tokens_total" for name, *_ in metrics(second))


def test_the_access_log_says_everything_but_what_was_said(
    serve: Serve, tmp_path: Path, engine: Engine
) -> None:
    file = tmp_path / "access.jsonl"
    keys = serving.KeyRing([serving.ApiKey(name="editor", key="a-secret")])
    log = serving.AccessLog(str(file))
    body = {"prompt": SECRET_TEXT, "max_tokens": 5, "temperature": 0, "preset": "fast", "draft": "none"}
    headers = {"Authorization": "Bearer a-secret"}
    with (
        serve(keys=keys, access_log=log) as running,
        httpx.Client(base_url=running.address, headers=headers, timeout=30) as client,
    ):
        whole = client.post("/v1/completions?note=secret-query", json=body).json()
        client.post("/v1/completions", json={**body, "stream": True})
        client.post("/v1/completions", json={**body, "preset": SECRET_TEXT})
        client.post("/v1/completions", json=body, headers={"Authorization": "Bearer wrong-secret"})
        with client.stream(
            "POST", "/v1/completions", json={**body, "max_tokens": 400, "stream": True}
        ) as left:
            next(left.iter_lines())
    log.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    first, streamed, refused, unknown, left = lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}\+00:00", first.pop("time"))
    assert 0 < first.pop("first_token_seconds") <= first.pop("seconds")
    assert first == {
        "method": "POST",
        "route": "/v1/completions",
        "status": 200,
        "key": "editor",
        "preset": "fast",
        "placement": "GGGG",
        "auto": False,
        "stream": False,
        "prompt_tokens": whole["usage"]["prompt_tokens"],
        "cached_tokens": 0,
        "completion_tokens": whole["usage"]["completion_tokens"],
        "client_left": False,
    }
    assert (streamed["stream"], streamed["completion_tokens"]) == (True, first["completion_tokens"])
    assert (refused["status"], refused["reason"]) == (400, "invalid_request_error")
    assert (unknown["status"], unknown["reason"]) == (401, "invalid_api_key") and "key" not in unknown
    assert left["client_left"] is True and 0 < left["completion_tokens"] < 400
    said = file.read_text()
    assert not [word for word in ("hunter2", "password", "secret") if word in said]
    with pytest.raises(ConfigError, match="nowhere/log: cannot be opened"):
        serving.AccessLog("nowhere/log")


def test_an_engine_that_hangs_shows(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("derailleur.serving.app._LOAD_SECONDS", 0.01)
    monkeypatch.setattr(serving.EngineWorker, "load", lambda worker: asyncio.sleep(60))
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "the engine does not answer")
    assert metrics(client)["http_requests_total", "/health", "503"] == 1


def test_the_reference_loads_nothing(client: TestClient) -> None:
    page = client.get("/docs").text
    for said in ("POST /infill", "input_extra", "best_of", "Above 1: tokens of the prompt", "GET /metrics"):
        assert said in page
    assert not re.search(r"<script|https?:|//[a-z]", page)


def test_the_interface_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        *("/health", "/metrics", "/v1/models", "/v1/models/{name}", "/v1/presets", "/v1/completions"),
        *("/v1/chat/completions", "/v1/fim/completions", "/infill", "/tokenize", "/detokenize"),
    }
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            assert "422" not in operation["responses"], path
    assert "HTTPValidationError" not in described["components"]["schemas"]
    fields = described["components"]["schemas"]["InfillRequest"]["properties"]
    assert all("description" in field for name, field in fields.items() if name != "stream_options")
