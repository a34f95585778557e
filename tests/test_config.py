"""Configurations from YAML and the command line give the same one-line errors."""

from pathlib import Path

import pytest
from pydantic import Field

from derailleur.config import Config, describe_keys, load_config
from derailleur.errors import ConfigError


class Inner(Config):
    steps: int = Field(10, gt=0, description="Steps.")
    names: tuple[str, ...] = Field((), description="Names.")


class Outer(Config):
    inner: Inner = Field(Inner(), description="Inner.")
    rate: float = Field(0.5, ge=0, le=1, description="Rate, a share.")
    path: Path | None = Field(None, description="A path.")


def test_defaults_file_and_overrides_in_this_order(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("rate: 0.25\ninner:\n  steps: 3\n")
    assert load_config(Outer) == Outer()
    assert load_config(Outer, path) == Outer(rate=0.25, inner=Inner(steps=3))
    got = load_config(Outer, path, ["--inner.steps", "7", "--path=x/y", "--inner.names", "[a, b]"])
    assert got == Outer(rate=0.25, inner=Inner(steps=7, names=("a", "b")), path=Path("x/y"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--inner.stepz", "3"], r"unknown key 'inner\.stepz'; did you mean 'inner\.steps'\?"),
        (["--inner.steps", "0"], r"inner\.steps: Input should be greater than 0, got 0"),
        (["--inner.steps", "many"], r"inner\.steps: Input should be a valid integer.*got 'many'"),
        (["--rate", ".nan"], "rate: "),
        (["--rate"], "--rate: a value is missing"),
        (["rate"], "unexpected argument 'rate'"),
        (["--inner", "3"], "inner: "),
    ],
)
def test_errors_name_the_key(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        load_config(Outer, overrides=overrides)
    assert "\n" not in str(raised.value)


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    with pytest.raises(ConfigError, match=r"c\.yaml: no such file"):
        load_config(Outer, path)
    path.write_text("rate: [1\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:\d+: not YAML"):
        load_config(Outer, path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: expected a mapping of keys, got list"):
        load_config(Outer, path)
    path.write_text("ratee: 1\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: unknown key 'ratee'; did you mean 'rate'"):
        load_config(Outer, path)


def test_help_lists_every_key() -> None:
    text = describe_keys(Outer)
    assert "--inner.steps  Steps. (default: 10)" in text
    assert "--rate  Rate, a share. (default: 0.5)" in text
