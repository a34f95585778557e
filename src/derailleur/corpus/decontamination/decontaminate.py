"""Decides whether a document holds a passage of a benchmark."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from derailleur.config import Config
from derailleur.corpus.decontamination.benchmarks import BenchmarkConfig, Passage, read_passages
from derailleur.corpus.decontamination.ngrams import NgramIndex
from derailleur.corpus.decontamination.normal_form import count_words, normalise, offsets_in
from derailleur.corpus.decontamination.substrings import SubstringIndex
from derailleur.corpus.ledger import Verdict

Kind = Literal["substring", "ngrams"]


class DecontaminationConfig(Config):
    """Against which benchmarks, and what counts as a copy."""

    benchmarks: tuple[BenchmarkConfig, ...] = Field((), description="benchmark files: path, columns")
    min_characters: int = Field(
        32, ge=8, description="shortest passage looked for as a whole, bytes in normal form"
    )
    min_words: int = Field(10, ge=1, description="the same, words")
    ngram_words: int = Field(6, ge=2, description="words in an n-gram")
    min_ngram_share: float = Field(
        0.5, gt=0, le=1, description="share of a passage's n-grams that makes a copy"
    )
    min_ngrams: int = Field(10, ge=1, description="fewest n-grams of a passage looked for by them")
    max_passages_per_ngram: int = Field(
        64, ge=1, description="an n-gram of more passages is boilerplate and does not count"
    )

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        return (value,) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class Match:
    """Why a document is contaminated.

    Attributes:
        benchmark, row: where the passage is from.
        passage: which passage of the row: docstring, solution, prompt, problem, tests or a column.
        kind: the whole passage was found (`substring`), or a share of its n-grams.
        share: of the passage's n-grams; 1 for a whole passage.
        start, end: of the text found, bytes of the document; of n-grams the longest stretch without a gap.
        text: what stands there.
    """

    benchmark: str
    row: str
    passage: str
    kind: Kind
    share: float
    start: int
    end: int
    text: str

    @property
    def verdict(self) -> Verdict:
        """The whole document is dropped; the detail names the benchmark and the row."""
        share = "" if self.kind == "substring" else f", {self.share:.0%} of its n-grams"
        return Verdict("dropped", "contaminated", f"{self.benchmark} {self.row} ({self.passage}{share})")


class Decontaminator:
    """Checks documents against passages of benchmarks; holds no state between documents.

    Passages that are equal in normal form are one, named by the first.
    """

    def __init__(self, passages: Iterable[Passage], config: DecontaminationConfig) -> None:
        self._config = config
        self._passages = list(passages)
        by_normal_form: dict[bytes, int] = {}
        for index, passage in enumerate(self._passages):
            by_normal_form.setdefault(normalise(passage.text.encode()), index)
        self._owners = list(by_normal_form.values())
        normal = list(by_normal_form)
        self._whole = [index for index, form in enumerate(normal) if self._tells(form)]
        self._substrings = SubstringIndex([normal[i] for i in self._whole], window=config.min_characters)
        self._ngrams = NgramIndex(
            normal,
            words=config.ngram_words,
            min_ngrams=config.min_ngrams,
            max_needles=config.max_passages_per_ngram,
        )

    @classmethod
    def load(cls, config: DecontaminationConfig) -> "Decontaminator":
        """Read the benchmarks that the configuration names.

        Raises:
            DataError: naming the file, and the row or key.
        """
        passages = (passage for benchmark in config.benchmarks for passage in read_passages(benchmark))
        return cls(passages, config)

    def check(self, content: bytes) -> Match | None:
        """The passage that a UTF-8 document holds, or None: whole ones first, then by n-grams."""
        text = normalise(content)
        if found := self._substrings.find(text):
            needle = self._whole[found.needle]
            return self._match(content, needle, "substring", 1.0, found.start, found.end)
        if overlap := self._ngrams.find(text, min_share=self._config.min_ngram_share):
            return self._match(content, overlap.needle, "ngrams", overlap.share, overlap.start, overlap.end)
        return None

    def _tells(self, normal: bytes) -> bool:
        """Whether finding the whole passage tells anything: `return x + y` is anybody's."""
        return len(normal) >= self._config.min_characters and count_words(normal) >= self._config.min_words

    def _match(
        self, content: bytes, needle: int, kind: Kind, share: float, normal_start: int, normal_end: int
    ) -> Match:
        passage = self._passages[self._owners[needle]]
        offsets = offsets_in(content)
        start, end = int(offsets[normal_start]), int(offsets[normal_end - 1]) + 1
        return Match(
            passage.benchmark,
            passage.row,
            passage.kind,
            kind,
            share,
            start,
            end,
            content[start:end].decode(errors="replace"),
        )
