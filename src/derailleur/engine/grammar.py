"""Constrained output: which tokens a JSON schema, a regular expression or a grammar allows next.

The parsing is llguidance's, an optional dependency (extra `constrained`). Tokens are matched by their
bytes, so any byte-level vocabulary serves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from derailleur.engine.text import Tokenizer
from derailleur.errors import UserError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_MAX_KEPT_GRAMMARS = 64
_MAX_MESSAGE_LENGTH = 300
_WHITE_SPACE = r"[ \t\n\r]{0,32}"
"""Between two parts of JSON. JSON allows any amount, and a weak model would write nothing else."""


@dataclass(frozen=True)
class Grammar:
    """What an answer must look like.

    Attributes:
        kind: of `source`: a JSON schema, a regular expression over the whole answer, or a Lark grammar.
    """

    kind: Literal["json", "regex", "lark"]
    source: str


class Constraint:
    """How far one answer is in its grammar.

    Args:
        matcher: at the beginning of the grammar.
        endings: tokens that end the answer; allowed where the grammar may end.
    """

    def __init__(self, matcher: LLMatcher, endings: Collection[int], vocab_size: int) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size
        self._endings = list(endings)
        self._allowed: dict[tuple[int, ...], Tensor] = {}

    @property
    def complete(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def push(self, token: int) -> None:
        """Take a generated token, no ending."""
        self._allowed.clear()
        self._matcher.consume_token(token)

    def allowed(self, ahead: Sequence[int]) -> Tensor:
        """[vocab] bool: what can follow after `ahead`.

        Anything where the grammar has ended before; nothing where the parser gave up, which it does with
        grammars too complex for its limits.
        """
        key = tuple(ahead)
        if key not in self._allowed:
            # Masks are asked for twice, by the draft and when it is verified.
            self._allowed[key] = self._mask(key)
        return self._allowed[key]

    def _mask(self, ahead: Sequence[int]) -> Tensor:
        if self._matcher.is_error():
            return torch.zeros(self._vocab_size, dtype=torch.bool)
        num_consumed = self._matcher.try_consume_tokens(list(ahead))
        try:
            if num_consumed < len(ahead) or self._matcher.is_stopped():
                return torch.ones(self._vocab_size, dtype=torch.bool)
            bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
            mask = torch.from_numpy(np.unpackbits(bits, count=self._vocab_size, bitorder="little")).bool()
            mask[self._endings] = self._matcher.is_accepting()
            return mask
        finally:
            self._matcher.rollback(num_consumed)


class Grammars:
    """Compiles grammars for one tokenizer, and keeps those that it sees again."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self._tokenizer, self._vocab_size = tokenizer, vocab_size
        self._vocabulary: LLTokenizer | None = None
        self._kept: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def constraint(self, grammar: Grammar, endings: Collection[int]) -> Constraint:
        """A grammar at its beginning.

        Raises:
            UserError: if the grammar is invalid, or llguidance is not installed.
        """
        matcher = self._kept.pop(grammar, None) or self._compile(grammar)
        self._kept[grammar] = matcher
        if len(self._kept) > _MAX_KEPT_GRAMMARS:
            self._kept.popitem(last=False)
        return Constraint(matcher.deep_copy(), endings, self._vocab_size)

    def _compile(self, grammar: Grammar) -> LLMatcher:
        try:
            import llguidance
        except ImportError:
            raise UserError(
                "constrained output needs llguidance on the server: pip install 'derailleur[constrained]'"
            ) from None
        if self._vocabulary is None:
            vocabulary = _Vocabulary(self._tokenizer, self._vocab_size)
            self._vocabulary = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary))
        spell: dict[str, Callable[[str], str]] = {
            "json": lambda schema: llguidance.LLMatcher.grammar_from_json_schema(
                schema, defaults={"whitespace_pattern": _WHITE_SPACE}
            ),
            "regex": llguidance.LLMatcher.grammar_from_regex,
            "lark": llguidance.LLMatcher.grammar_from_lark,
        }
        limits = llguidance.LLParserLimits(verbose_errors=False)
        try:
            spelt = spell[grammar.kind](grammar.source)
        except ValueError as error:  # a schema that is no JSON
            raise _refusal(grammar, str(error)) from None
        matcher = llguidance.LLMatcher(self._vocabulary, spelt, log_level=0, limits=limits)
        if matcher.is_error():
            raise _refusal(grammar, matcher.get_error())
        return matcher


_NAMES = {"json": "JSON schema", "regex": "regular expression", "lark": "grammar"}


def _refusal(grammar: Grammar, message: str) -> UserError:
    in_one_line = " ".join(message.split())[:_MAX_MESSAGE_LENGTH]
    return UserError(f"the {_NAMES[grammar.kind]} cannot be used: {in_one_line}")


class _Vocabulary:
    """A tokenizer as llguidance wants to see it."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self.eos_token_id = tokenizer.eos_id
        self.special_token_ids = [tokenizer.eos_id]
        # A model may have more rows of logits than its tokenizer has tokens: those have no bytes.
        self.tokens = [tokenizer.decode_bytes([token]) for token in range(vocab_size)]
        self._encode = tokenizer.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)
