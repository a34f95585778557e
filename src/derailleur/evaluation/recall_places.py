"""Where identifier recall is asked: a name that its file defined long before, and has not written since."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt, field_validator

from derailleur.config import Config
from derailleur.errors import DataError
from derailleur.evaluation.definitions import Mention, mentions
from derailleur.evaluation.lexing import Syntax, syntax_of
from derailleur.evaluation.turns import take_turns
from derailleur.tokens import Tokenizer
from derailleur.tokens.documents import Document

_MIN_CHARACTERS = 4
_TO_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)  # str.lower() may change a text's length


class RecallConfig(Config):
    """How identifier recall over distance is measured."""

    edges_tokens: tuple[PositiveInt, ...] = Field(
        (100, 250, 500, 1000, 2000, 4000, 8000, 16000),
        min_length=2,
        description="bounds of the buckets of distance, tokens, ascending",
    )
    num_per_bucket: int = Field(50, gt=0, description="names in each bucket, at most")
    max_context: int | None = Field(
        None,
        gt=0,
        description="tokens read for one name, at most; the trained context if absent. Beyond it, buckets "
        "are marked",
    )
    batch_tokens: int = Field(8192, gt=0, description="tokens in one forward pass, if one text has no more")

    @field_validator("edges_tokens")
    @classmethod
    def _ascend(cls, edges: tuple[int, ...]) -> tuple[int, ...]:
        if any(low >= high for low, high in itertools.pairwise(edges)):
            raise ValueError("expected bounds that ascend")
        return edges


@dataclass(frozen=True)
class Bucket:
    """Distances from `low_tokens` up to, not including, `high_tokens`.

    Attributes:
        context_tokens: read for one name, at most.
        beyond_context: the context is longer than the model was trained with.
    """

    low_tokens: int
    high_tokens: int
    context_tokens: int
    beyond_context: bool


@dataclass(frozen=True)
class Place:
    """A name to be completed.

    Attributes:
        text: what is read before the name, from the beginning of a line.
        control: the same without the lines that have the name's characters.
        opens: the text begins where the file does.
        distance: from the definition's first token to the name's, tokens.
    """

    bucket: Bucket
    name: str
    text: str
    control: str
    opens: bool
    distance: int


def buckets(config: RecallConfig, trained_context: int) -> list[Bucket]:
    """The buckets whose distances fit into what is read.

    Beyond the trained context no more is read than the power of two that holds the bucket: every further
    token would take the model farther from what it knows.
    """
    longest, found = config.max_context or trained_context, []
    for low, high in itertools.pairwise(config.edges_tokens):
        beyond = high > trained_context
        if high <= longest:
            wanted = 1 << (high - 1).bit_length() if beyond else trained_context
            context = min(longest, wanted)
            found.append(Bucket(low, high, context, beyond))
    return found


def choose_places(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    config: RecallConfig,
    trained_context: int,
    rng: np.random.Generator,
) -> list[Place]:
    """Random places of every bucket, no file giving a second one before every file has given one.

    Raises:
        DataError: if there is none.
    """
    wanted = buckets(config, trained_context)
    found: dict[Bucket, list[list[Place]]] = {bucket: [] for bucket in wanted}
    encoded = tokenizer.encode_batch([document.content for document in documents])
    for document, ids in zip(documents, encoded, strict=True):
        own = list(_File(document, ids, tokenizer).places(wanted))
        for bucket, groups in found.items():
            groups.append([place for place in own if place.bucket == bucket])
    chosen = [place for groups in found.values() for place in take_turns(groups, config.num_per_bucket, rng)]
    if not chosen:
        raise DataError(
            "recall: no held-out file has a name that it defined so long before: "
            f"{config.edges_tokens[0]} tokens, of {config.max_context or trained_context} that are read"
        )
    return chosen


class _File:
    """One document and where its tokens are."""

    def __init__(self, document: Document, ids: Sequence[int], tokenizer: Tokenizer) -> None:
        self._text = document.content
        self._syntax: Syntax = syntax_of(document)
        self._folded = self._text.translate(_TO_LOWER)
        self._bytes = byte_offsets(self._text)
        sizes = [len(tokenizer.decode_bytes([token])) for token in ids]
        self._ends = np.cumsum(sizes)  # the byte after each token

    def places(self, wanted: Sequence[Bucket]) -> Iterator[Place]:
        """Every place of the wanted buckets, in order."""
        for definition, mention in self._returns():
            first = self._token_at(mention.start)
            last = int(np.searchsorted(self._ends, self._bytes[mention.end]))
            distance = first - self._token_at(definition.start)
            bucket = next((b for b in wanted if b.low_tokens <= distance < b.high_tokens), None)
            # A token that goes on after the name would make the answer depend on what follows.
            if bucket is None or self._ends[last] != self._bytes[mention.end]:
                continue
            begin = self._line_after_token(last + 1 - bucket.context_tokens)
            if begin <= self._line_of(definition.start):
                text = self._text[begin : mention.start]
                control = _without_lines(text, mention.name)
                yield Place(bucket, mention.name, text, control, begin == 0, distance)

    def _returns(self) -> Iterator[tuple[Mention, Mention]]:
        """Definitions, each with its next mention, where its characters stand nowhere between in any case."""
        latest: dict[str, Mention] = {}
        for mention in mentions(self._text, self._syntax):
            definition = latest.pop(mention.name, None)
            if mention.defines:
                latest[mention.name] = mention
            elif definition and self._is_recall(definition, mention):
                yield definition, mention

    def _is_recall(self, definition: Mention, mention: Mention) -> bool:
        name = mention.name
        return (
            len(name) >= _MIN_CHARACTERS
            and name.isascii()
            and name not in self._syntax.builtins
            and self._folded.rfind(name.translate(_TO_LOWER), 0, mention.start) == definition.start
            and "\n" in self._text[definition.end : mention.start]
        )

    def _token_at(self, character: int) -> int:
        return int(np.searchsorted(self._ends, self._bytes[character], side="right"))

    def _line_of(self, character: int) -> int:
        return self._text.rfind("\n", 0, character) + 1

    def _line_after_token(self, token: int) -> int:
        """Where the first line begins that lies after so many tokens; 0 if the file's beginning is read."""
        if token <= 0:
            return 0
        character = int(np.searchsorted(self._bytes, self._ends[token - 1]))
        return self._text.find("\n", character) + 1


def byte_offsets(text: str) -> npt.NDArray[np.int64]:
    """[len(text) + 1]: where each character begins in UTF-8, and where the text ends."""
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    sizes = 1 + (points > 0x7F) + (points > 0x7FF).astype(np.int64) + (points > 0xFFFF)
    return np.concatenate([[0], np.cumsum(sizes)])


def _without_lines(text: str, name: str) -> str:
    """The text without the lines in which a name's characters stand, in any case."""
    folded = name.translate(_TO_LOWER)
    return "\n".join(line for line in text.split("\n") if folded not in line.translate(_TO_LOWER))
