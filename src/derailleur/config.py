"""The base of every configuration, and how one is read from YAML and dotted overrides.

Each component owns a frozen `Config` beside it. A file and the command line go through the same
validation, so that an unknown key or a bad value gives the same one-line error from either.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from derailleur.errors import ConfigError


class Config(BaseModel):
    """A frozen configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def load_config(
    model: type[AnyConfig],
    path: Path | None = None,
    overrides: Sequence[str] = (),
) -> AnyConfig:
    """Build a configuration from defaults, then a YAML file, then `--dotted.key value` overrides.

    Args:
        overrides: what the command line left over, e.g. `["--distill.steps", "100", "--seed=1"]`.

    Raises:
        ConfigError: naming the file or `--key`, what was wrong, and the nearest known key.
    """
    values = {} if path is None else read_yaml(path)
    for key, value in parse_overrides(overrides):
        _set_dotted(values, key, value)
    return validate(model, values, source=str(path) if path and not overrides else path)


def validate(model: type[AnyConfig], values: Mapping[str, Any], *, source: object = None) -> AnyConfig:
    """Validate plain values; a failure becomes one line that names the first bad key."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        prefix = f"{source}: " if source else ""
        if first["type"] == "extra_forbidden":
            known = list(_dotted_keys(model))
            near = difflib.get_close_matches(where, known, n=1, cutoff=0.3)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"{prefix}unknown key '{where}'{hint}") from None
        message = first["msg"].removeprefix("Value error, ")
        got = f", got {first['input']!r}" if where and first["type"] != "missing" else ""
        raise ConfigError(f"{prefix}{where or model.__name__}: {message}{got}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: if the file is missing, is not YAML or is not a mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not YAML: {getattr(error, 'problem', error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(values).__name__}")
    return values


def parse_overrides(arguments: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Turn `--a.b 1 --c=x` into `("a.b", 1), ("c", "x")`; values are YAML scalars or lists."""
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise ConfigError(f"unexpected argument '{flag}'; overrides are written --key value")
        key, separator, text = flag[2:].partition("=")
        if not separator:
            if not rest:
                raise ConfigError(f"--{key}: a value is missing")
            text = rest.pop(0)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        yield key.replace("-", "_"), value


def _set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        child = values.get(parent)
        if not isinstance(child, dict):
            child = values[parent] = {}
        values = child
    values[last] = value


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _dotted_keys(kind, f"{prefix}{name}.")


def describe_keys(model: type[BaseModel], prefix: str = "") -> str:
    """One line a key, with its default and description, for a command's --help."""
    lines = []
    for name, field in model.model_fields.items():
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if isinstance(k, type)]
        nested = [k for k in kinds if issubclass(k, BaseModel)]
        if nested:
            lines.append(describe_keys(nested[0], f"{prefix}{name}."))
        else:
            default = (
                "required" if field.is_required() else _spelled(field.get_default(call_default_factory=True))
            )
            lines.append(f"  --{prefix}{name}  {field.description or ''} (default: {default})")
    return "\n".join(lines)


def _spelled(value: Any) -> str:
    """A default as one would write it in YAML or on the command line."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, Enum):
        return str(value.value)
    return "none" if value is None else str(value)
