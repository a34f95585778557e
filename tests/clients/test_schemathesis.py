"""Schemathesis against the server: every route, right and wrong requests, made from /openapi.json."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

Serve = Callable[..., AbstractContextManager[Any]]
pytestmark = pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


def test_every_route_does_what_is_documented(serve: Serve, tmp_path: Path) -> None:
    keys, document = tmp_path / "keys", tmp_path / "openapi.json"
    keys.write_text("secret")
    options = ("--api-key-file", str(keys), "--limits.max_tokens", "16", "--limits.samples", "2")
    with serve(*options) as served:
        described = httpx.get(f"{served.address}/openapi.json").json()
        for methods in described["paths"].values():
            for operation in methods.values():
                # What is not documented one by one must not happen here.
                operation["responses"].pop("default", None)
        document.write_text(json.dumps(described))
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", served.address),
                *("--header", "Authorization: Bearer secret", "--checks", ",".join(CHECKS)),
                *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "40", "--seed", "1"),
                *("--no-color", "--continue-on-failure", "--warnings", "off"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(ran.stdout)
        served.until_idle()
    assert ran.returncode == 0
