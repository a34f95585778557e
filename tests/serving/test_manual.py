"""docs/serving.md against the code: what there is, is there."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from derailleur.cli import main
from derailleur.serving import ServeConfig

MANUAL = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def keys(config: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a configuration, dotted."""
    found = []
    for name, field in config.model_fields.items():
        kind: Any = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += keys(kind, f"{prefix}{name}.") if nested else [prefix + name]
    return found


def test_every_option_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    options = set(re.findall(r"^  (--[a-z-]+)[ \n]", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    options |= {f"--{key}" for key in keys(ServeConfig)}
    table = MANUAL[MANUAL.index("## Options") :]
    assert len(options) > 15
    assert [option for option in sorted(options) if f"`{option}`" not in table] == []


def test_every_route_is_in_the_table(client: TestClient) -> None:
    paths = set(client.get("/openapi.json").json()["paths"]) - {"/v1/models/{name}"}
    assert [path for path in sorted(paths) if not re.search(rf"`(GET |POST )?{path}`", MANUAL)] == []


def test_every_metric_is_in_the_table(client: TestClient) -> None:
    client.post("/v1/completions", json={"prompt": "x", "max_tokens": 2})
    named = re.findall(r"^# TYPE derailleur(_\w+) (\w+)", client.get("/metrics").text, re.MULTILINE)
    names = {name.removesuffix("_total") for name, _ in named if not name.endswith("_created")}
    missing = [name for name in sorted(names) if not re.search(rf"{name}(_total)?[`{{]", MANUAL)]
    assert missing == []
