"""API keys: files of them, what a wrong one is answered, and what each may ask for."""

import hashlib
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from derailleur import serving
from derailleur.engine import Engine
from derailleur.errors import ConfigError
from derailleur.serving.keys import KeyUse
from derailleur.serving.refusals import InvalidKeyError, KeyLimitError

SECRET = hashlib.sha256(b"hashed").hexdigest()
KEYS = f"""keys:
  - name: editor
    key: plain
    max_concurrency: 1
    requests_per_minute: 3
  - name: batch
    sha256: {SECRET}
"""


def bearer(key: str) -> dict[str, bytes]:
    return {"Authorization": f"Bearer {key}".encode()}


def test_lines_are_keys_named_by_their_number(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("first\n\n  sécond \n", encoding="utf-8")
    ring = serving.read_keys(file)
    assert ring.find("Bearer sécond".encode())[0].name == "line 3"
    assert ring.find(b"bearer   first")[0].name == "line 1"
    for header in (
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer firs",
        b"Bearer first second",
        b"Basic first",
        b"first",
    ):
        with pytest.raises(InvalidKeyError):
            ring.find(header)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_structured_file_gives_names_and_limits(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"keys{suffix}"
    named = [{"name": "editor", "key": "plain", "max_concurrency": 1}, {"name": "batch", "sha256": SECRET}]
    file.write_text(KEYS if suffix == ".yaml" else json.dumps({"keys": named}))
    ring = serving.read_keys(file)
    assert ring.find(b"Bearer plain")[0].max_concurrency == 1
    assert ring.find(b"Bearer hashed")[0].name == "batch"
    with pytest.raises(InvalidKeyError):
        ring.find(f"Bearer {SECRET}".encode())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("keys", "\n \n", "no API key in it"),
        ("keys", "same\nsame\n", "key 'line 2': another one has the same key"),
        ("keys.yaml", "keys: []", "keys: Tuple should have at least 1 item"),
        ("keys.yaml", "keys: [{name: a}]", "keys.0: key 'a': expected either key or sha256"),
        (
            "keys.yaml",
            "keys: [{name: a, key: s3cret, limit: 2}]",
            "keys.0.limit: Extra inputs are not permitted",
        ),
        ("keys.yaml", "keys: [{name: a, key: s3cret, sha256: s3cret}]", "keys.0.sha256: String should match"),
        ("keys.yaml", "keys: [{name: a, key: s3cret}, {name: a, key: b}]", "another one has the same name"),
        ("keys.yaml", "- a", "expected a mapping"),
        ("keys.json", "{", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line_without_its_secrets(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as refused:
        serving.read_keys(tmp_path / name)
    assert message in str(refused.value) and str(tmp_path / name) in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_keys_requests_are_counted_over_a_minute() -> None:
    use = KeyUse(serving.ApiKey(name="a", key="a", requests_per_minute=2))
    for now in (0.0, 30.0):
        with use.one_more(now):
            pass
    with pytest.raises(KeyLimitError) as refused, use.one_more(45.0):
        pass
    assert refused.value.retry_after_seconds == 15
    with use.one_more(60.0):
        pass


def test_a_keys_requests_at_once_are_bounded() -> None:
    use = KeyUse(serving.ApiKey(name="a", key="a", max_concurrency=1))
    with use.one_more(0.0), pytest.raises(KeyLimitError), use.one_more(0.0):
        pass
    with pytest.raises(ZeroDivisionError), use.one_more(0.0):
        raise ZeroDivisionError
    with use.one_more(0.0):
        pass


def test_limits_are_answered_with_429(engine: Engine, model: serving.ServedModel, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(KEYS)
    app = serving.create_app(model, serving.EngineWorker(engine), keys=serving.read_keys(file))
    with TestClient(app) as client:
        body = {"prompt": "x", "max_tokens": 1}
        statuses = [client.post("/v1/completions", json=body, headers=bearer("plain")) for _ in range(4)]
        assert [answer.status_code for answer in statuses] == [200, 200, 200, 429]
        assert statuses[3].json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(statuses[3].headers["retry-after"]) <= 60
        assert client.get("/v1/models", headers=bearer("plain")).status_code == 200
        for _ in range(5):
            assert client.post("/v1/completions", json=body, headers=bearer("hashed")).status_code == 200


def test_everything_but_the_page_and_health_needs_a_key(engine: Engine, model: serving.ServedModel) -> None:
    ring = serving.KeyRing([serving.ApiKey(name="a", key="right")])
    with TestClient(serving.create_app(model, serving.EngineWorker(engine), keys=ring)) as client:
        for path in ("/", "/health", "/openapi.json"):
            assert client.get(path).status_code == 200
        described = client.get("/openapi.json").json()
        for path, methods in described["paths"].items():
            if path == "/health":
                continue
            for method, operation in methods.items():
                assert operation["security"] == [{"HTTPBearer": []}], path
                for headers in ({}, bearer("wrong")):
                    refused = client.request(method, path, content=b"{broken", headers=headers)
                    assert refused.status_code == 401, path
                    assert refused.headers["www-authenticate"] == "Bearer"
                    assert refused.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/no/such/route").status_code == 401
        assert client.get("/no/such/route", headers=bearer("right")).status_code == 404
        assert client.get("/metrics", headers=bearer("right")).status_code == 200
