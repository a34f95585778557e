"""Where a model that finds names plugs in, and the adapter for a Hugging Face token classifier.

A recognizer is opted into by `PiiConfig.recognizer`: a model folder, or the name of an installed package's
entry point. A configuration can thus start only what somebody installed as a recognizer, never any function
that Python can import. torch is imported when a model folder is used, and not before.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from derailleur.config import Config
from derailleur.corpus.pii.spans import Span, Tag
from derailleur.errors import ConfigError, DataError

ENTRY_POINTS = "derailleur.recognizers"
"""The group of entry points; each is called without arguments and returns a `Recognizer`."""


class Recognizer(Protocol):
    """Finds personal data in texts; for each text spans in characters, in any order."""

    def __call__(self, texts: Sequence[str], /) -> Sequence[Sequence[Span]]: ...


class RecognizerConfig(Config):
    """Which recognizer, and how a model folder is run."""

    model: Path | None = Field(None, description="folder of a Hugging Face token classifier (extra hf)")
    entry_point: str | None = Field(
        None, description=f"instead of a folder: an installed entry point of the group {ENTRY_POINTS}"
    )
    labels: dict[str, Tag] = Field(
        {"NAME": "NAME", "PER": "NAME", "PERSON": "NAME", "USERNAME": "USERNAME"},
        description="the model's labels, without B- or I-, and the tags they become; others are ignored",
    )
    threshold: float = Field(0.5, ge=0, le=1, description="mean probability of a span's tokens, at least")
    window_tokens: int = Field(512, ge=16, description="tokens that the model sees at once")
    overlap_tokens: int = Field(64, ge=0, description="tokens that a window shares with the next")
    batch_size: int = Field(8, ge=1, description="windows run at once")
    device: str = Field("cpu", description="where the model runs, e.g. cuda")

    @model_validator(mode="after")
    def _check(self) -> "RecognizerConfig":
        if (self.model is None) == (self.entry_point is None):
            raise ValueError("give either a model folder or an entry_point")
        if 2 * self.overlap_tokens >= self.window_tokens:
            raise ValueError("overlap_tokens must be less than half of window_tokens")
        return self


def load_recognizer(config: RecognizerConfig) -> Recognizer:
    """Load what a configuration names, once a process.

    Raises:
        ConfigError: if the entry point is not installed, or the extra is missing.
        DataError: if the folder holds no token classifier.
    """
    return _load(config.model_dump_json())


@lru_cache(maxsize=1)
def _load(dumped: str) -> Recognizer:
    config = RecognizerConfig.model_validate_json(dumped)
    if config.model is not None:
        return TokenClassifier(config, config.model)
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if config.entry_point not in installed:
        known = ", ".join(sorted(installed)) or "none is installed"
        raise ConfigError(f"recognizer.entry_point: no '{config.entry_point}'; known: {known}")
    made: Recognizer = installed[config.entry_point].load()()
    return made


@dataclass(frozen=True, slots=True)
class LabelledToken:
    """A token's place in its text, and what the model takes it for.

    Attributes:
        label: such as `B-NAME`, or `O`.
    """

    start: int
    end: int
    label: str
    probability: float


class TokenClassifier:
    """A Hugging Face token classifier over texts of any length, in windows that overlap."""

    def __init__(self, config: RecognizerConfig, folder: Path) -> None:
        try:
            import torch
            from transformers import AutoModelForTokenClassification, AutoTokenizer
        except ImportError:
            raise ConfigError("recognizer.model: needs the extra: pip install 'derailleur[hf]'") from None
        if not (folder / "config.json").is_file():
            raise DataError(f"{folder}: no config.json: not a Hugging Face model folder")
        self._config = config
        self._torch = torch
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForTokenClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: cannot be loaded: {str(error).strip().splitlines()[0]}") from None
        if not self._tokenizer.is_fast:
            raise DataError(f"{folder}: its tokenizer gives no offsets; a tokenizer.json is needed")
        self._model = model.eval().to(config.device)
        self._labels: Mapping[int, str] = model.config.id2label

    def __call__(self, texts: Sequence[str], /) -> list[list[Span]]:
        """The spans of each text."""
        windows = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._config.window_tokens,
            stride=self._config.overlap_tokens,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        best: list[dict[int, tuple[int, LabelledToken]]] = [{} for _ in texts]
        for number, labels, probabilities in self._predictions(windows):
            tokens = best[windows["overflow_to_sample_mapping"][number]]
            length = len(labels)
            for place, (start, end) in enumerate(windows["offset_mapping"][number]):
                margin = min(place, length - 1 - place)  # a token is judged where it has most around it
                special = windows["special_tokens_mask"][number][place] or start == end
                if not special and margin > tokens.get(start, (-1, None))[0]:
                    label = self._labels[int(labels[place])]
                    tokens[start] = margin, LabelledToken(start, end, label, float(probabilities[place]))
        return [
            list(spans_of([tokens[start][1] for start in sorted(tokens)], text, self._config))
            for text, tokens in zip(texts, best, strict=True)
        ]

    def _predictions(self, windows: Any) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
        """(window, the likeliest label of each token, its probability)."""
        ids = windows["input_ids"]
        for first in range(0, len(ids), self._config.batch_size):
            batch = ids[first : first + self._config.batch_size]
            padded = self._tokenizer.pad({"input_ids": batch}, return_tensors="pt").to(self._config.device)
            with self._torch.inference_mode():
                logits = self._model(**padded).logits  # [B, T, labels]
            probabilities, labels = (part.cpu().numpy() for part in logits.float().softmax(-1).max(-1))
            mask = padded["attention_mask"].cpu().numpy().astype(bool)  # the padding's side is the model's
            for row in range(len(batch)):
                yield first + row, labels[row][mask[row]], probabilities[row][mask[row]]


_PREFIX = re.compile(r"([BIESLU])[-_]")


def spans_of(tokens: Sequence[LabelledToken], text: str, config: RecognizerConfig) -> Iterator[Span]:
    """Join labelled tokens into spans: BIO, BIOES or BILOU labels, or bare ones.

    An I without a B before it starts a span too. Blanks at a span's ends do not belong to it.
    """
    entity: str | None = None
    group: list[LabelledToken] = []
    for token in (*tokens, LabelledToken(len(text), len(text), "O", 1.0)):
        prefix = _PREFIX.match(token.label)
        mark, name = (prefix[1], token.label[prefix.end() :]) if prefix else ("I", token.label)
        if group and (name != entity or mark in "BSU"):
            yield from _span(group, config.labels.get(entity or ""), text, config.threshold)
            group = []
        entity = name
        group.append(token)
        if mark in "ESLU":
            yield from _span(group, config.labels.get(name), text, config.threshold)
            group = []


def _span(tokens: Sequence[LabelledToken], tag: Tag | None, text: str, threshold: float) -> Iterator[Span]:
    start, end = tokens[0].start, tokens[-1].end
    start += len(text[start:end]) - len(text[start:end].lstrip())
    end -= len(text[start:end]) - len(text[start:end].rstrip())
    sure = float(np.mean([token.probability for token in tokens])) >= threshold
    if tag is not None and sure and start < end:
        yield Span(start, end, tag)
