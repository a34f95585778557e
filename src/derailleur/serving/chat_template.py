"""The tokenizer's chat template: from messages to the tokens of a prompt.

A template is a program that came with a checkpoint: it runs in Jinja's sandbox. What the messages say is
data: a special token's spelling inside a message is encoded as ordinary text, so that no user can end their
turn and speak as another.
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from derailleur.errors import CheckpointError, UserError
from derailleur.io import read_json_object
from derailleur.tokens import Tokenizer

TEMPLATE_FILE, CONFIG_FILE = "chat_template.jinja", "tokenizer_config.json"

_GUARD = "\ue000"
"""A character of the private use area, put into special tokens' spellings inside messages."""


class ChatTemplate:
    """A template that was read and parsed.

    Args:
        source: in Jinja's language, with the names that Hugging Face gives to a template.
        special: the tokens that the template may name, such as `bos_token`.
        file: to name in errors.
    """

    def __init__(self, source: str, special: Mapping[str, str], *, file: Path) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise CheckpointError(f"{file}: chat template, line {error.lineno}: {error.message}") from None
        self._special = dict(special)

    @classmethod
    def load(cls, folder: Path) -> "ChatTemplate | None":
        """The template of a model folder: chat_template.jinja, else that of tokenizer_config.json, if any.

        Raises:
            CheckpointError: if there is one and it cannot be parsed.
        """
        config = read_json_object(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
        file = folder / TEMPLATE_FILE
        if file.is_file():
            source: Any = file.read_text(encoding="utf-8")
        else:
            file, source = folder / CONFIG_FILE, _default(config.get("chat_template"))
        if source is None:
            return None
        if not isinstance(source, str):
            raise CheckpointError(f"{file}: chat_template is {type(source).__name__}; expected a text")
        tokens = {name: _content(value) for name, value in config.items() if name.endswith("_token")}
        return cls(source, {name: token for name, token in tokens.items() if token is not None}, file=file)

    def prompt(self, messages: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> list[int]:
        """The tokens of a conversation, up to where the assistant's answer begins.

        Raises:
            UserError: if the template refuses the messages.
        """
        marks = _any_of(tokenizer.special)
        guarded = [_guard(message, marks) for message in messages]
        try:
            text = self._template.render(messages=guarded, add_generation_prompt=True, **self._special)
        except UserError:
            raise
        except Exception as error:
            # Templates index and concatenate what they are given: any error says that it does not fit.
            raise UserError(f"the chat template does not take these messages: {error}") from None
        guards = _any_of(_guarded(spelling) for spelling in tokenizer.special)
        ids: list[int] = []
        end = 0
        for mark in [*marks.finditer(text), None]:
            plain = text[end : mark.start() if mark else None]
            ids += tokenizer.encode(guards.sub(lambda found: found.group().replace(_GUARD, ""), plain))
            if mark:
                ids.append(tokenizer.special[mark.group()])
                end = mark.end()
        return ids


class _Generation(Extension):
    """`{% generation %}` marks what an assistant wrote, for training; here it is transparent."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _default(said: Any) -> Any:
    """A configuration may hold several templates by name; that for ordinary talk is `default`."""
    if not isinstance(said, list):
        return said
    return next((entry.get("template") for entry in said if entry.get("name") == "default"), None)


def _content(token: Any) -> str | None:
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _any_of(spellings: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))))


def _guarded(spelling: str) -> str:
    return spelling[0] + _GUARD + spelling[1:]


def _guard(value: Any, marks: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return marks.sub(lambda found: _guarded(found.group()), value)
    if isinstance(value, Mapping):
        return {key: _guard(part, marks) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_guard(part, marks) for part in value]
    return value


def _refuse(message: str) -> NoReturn:
    raise UserError(f"the chat template refuses these messages: {message}")


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
