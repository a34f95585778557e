"""Measuring placements on the real model: the quality of each on the same text, the speed by decoding.

Every measurement is a line of a journal, so that a killed run goes on where it stopped.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt

from derailleur.config import Config
from derailleur.engine import Engine
from derailleur.errors import DataError
from derailleur.io import Progress, silent
from derailleur.journal import Journal
from derailleur.model import Decoder
from derailleur.placement.cost import Regime, Timing
from derailleur.placement.placement import Placement
from derailleur.tokens import TokenDataset

Windows = npt.NDArray[np.int64]

_TIMING_KEY = ("placement", "batch", "context", "use", "pass")

_LOGIT_TOKENS = 1024
"""Logits are made for this many tokens at a time, since they are the largest tensor by far."""


class QualityConfig(Config):
    """How the quality of placements is measured."""

    window_tokens: int = Field(1024, ge=2, description="length of a held-out window, tokens")
    num_windows: int = Field(16, ge=1, description="windows that every placement is measured on")
    windows_per_batch: int = Field(4, ge=1, description="windows in one forward pass")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of matrix products")
    num_random: int = Field(40, ge=0, description="random placements beside the uniform ones and the swaps")
    rounds: int = Field(3, ge=0, description="rounds of active learning")
    round_size: int = Field(8, ge=1, description="placements in a round")


class SpeedConfig(Config):
    """How the speed of placements is measured."""

    batches: tuple[PositiveInt, ...] = Field((1, 16), min_length=1, description="rows decoded together")
    contexts: tuple[PositiveInt, ...] = Field(
        (1024, 2048, 4096, 8192), min_length=1, description="tokens before the decoded one"
    )
    steps: int = Field(16, ge=1, description="decoding steps that the median is taken over")
    warmup: int = Field(2, ge=0, description="steps before these")
    passes: int = Field(
        2, ge=1, description="times that everything is timed, in turn; the fastest counts: load only slows"
    )
    num_mixed: int = Field(4, ge=0, description="random placements that the cost model is fitted to as well")
    num_heldout: int = Field(3, ge=0, description="random placements that it is only judged by")

    @property
    def regimes(self) -> list[Regime]:
        """Every batch with every context."""
        return [Regime(batch, context) for batch in self.batches for context in self.contexts]


@dataclass(frozen=True)
class HeldoutWindows:
    """Two disjoint sets of held-out windows, [num_windows, window_tokens + 1] each.

    Attributes:
        search: what placements are compared on.
        confirm: what the chosen are measured on again, since choosing by a measurement flatters it.
    """

    search: Windows
    confirm: Windows

    @classmethod
    def draw(
        cls, tokens: Path, config: QualityConfig, *, vocab_size: int, rng: np.random.Generator
    ) -> "HeldoutWindows":
        """Draw windows that do not overlap from the held-out split in a folder of stage `tokenize`.

        Raises:
            DataError: if there is too little held-out text, or it is not of this vocabulary.
        """
        dataset = TokenDataset(tokens, "heldout")
        available = (dataset.num_tokens - 1) // config.window_tokens
        needed = 2 * config.num_windows
        if available < needed:
            raise DataError(
                f"{tokens}: {dataset.num_tokens:,} held-out tokens make {available} windows of "
                f"{config.window_tokens}; {needed} are needed: "
                "lower quality.num_windows or quality.window_tokens"
            )
        starts = rng.permutation(available)[:needed] * config.window_tokens
        windows = np.stack([dataset.window(int(start), config.window_tokens + 1) for start in starts])
        if windows.max() >= vocab_size:
            raise DataError(
                f"{tokens}: token {windows.max()} is not in the model's vocabulary of {vocab_size}; "
                "tokenize with the model's tokenizer"
            )
        return cls(*np.split(windows, 2))


def mean_log_likelihood(
    decoder: Decoder, windows: Windows, placement: Placement, config: QualityConfig
) -> float:
    """Mean log-likelihood of the windows' tokens (their first apart), nats per token."""
    device = decoder.embed.weight.device
    total = 0.0
    with torch.inference_mode(), _autocast(config, device):
        for batch in torch.from_numpy(windows).split(config.windows_per_batch):
            tokens = batch.to(device)
            hidden = decoder.hidden(tokens[:, :-1], placement).flatten(0, 1)
            pieces = zip(
                hidden.split(_LOGIT_TOKENS), tokens[:, 1:].flatten().split(_LOGIT_TOKENS), strict=True
            )
            for piece, targets in pieces:
                logits = decoder.logits(piece).float()
                total -= float(F.cross_entropy(logits, targets, reduction="sum"))
    return total / windows[:, 1:].size


def _autocast(config: QualityConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16")


@dataclass(frozen=True)
class QualityMeter:
    """Measures placements on the same windows and keeps what it measured.

    Attributes:
        journal: rows {"placement", "log_likelihood", "tokens", "origin"}.
    """

    decoder: Decoder
    windows: Windows
    config: QualityConfig
    journal: Journal
    progress: Progress = silent

    def measured(self, origins: Sequence[str] | None = None) -> dict[Placement, float]:
        """What was measured so far, of these origins or of all."""
        return {
            Placement(row["placement"]): row["log_likelihood"]
            for row in self.journal.rows
            if origins is None or row["origin"] in origins
        }

    def measure(self, placements: Mapping[Placement, str], label: str) -> None:
        """Measure each placement, given with its origin, unless it was measured before.

        Raises:
            DataError: if a log-likelihood is not finite.
        """
        known = self.measured()
        for done, (placement, origin) in enumerate(placements.items()):
            self.progress(label, done, len(placements), str(placement))
            if placement in known:
                continue
            value = mean_log_likelihood(self.decoder, self.windows, placement, self.config)
            if not math.isfinite(value):
                raise DataError(f"placement {placement}: log-likelihood is {value}; the model is broken")
            row = {"placement": str(placement), "log_likelihood": value, "tokens": self.windows[:, 1:].size}
            self.journal.append({**row, "origin": origin})
        self.progress(label, len(placements), len(placements))


@dataclass(frozen=True)
class SpeedMeter:
    """Times placements by decoding and keeps what it timed.

    Attributes:
        journal: rows of what is timed ("placement", "batch", "context", "use", "pass") and the result
            ("seconds_per_step", the median over steps, and "tokens_per_second").
    """

    engine: Engine
    config: SpeedConfig
    journal: Journal
    progress: Progress = silent

    def measure(self, placements: Mapping[Placement, str], label: str) -> None:
        """Time each placement, given with its use, in every regime and pass that is not in the journal.

        The placements of a regime follow each other, so that a machine that slows down from regime to
        regime does not change their ratios.
        """
        known = [{key: row[key] for key in _TIMING_KEY} for row in self.journal.rows]
        # The largest regime first: if its states do not fit, that is known before anything is measured.
        regimes = sorted(self.config.regimes, reverse=True)
        plan = itertools.product(range(self.config.passes), regimes, placements.items())
        total = self.config.passes * len(self.config.regimes) * len(placements)
        for done, (number, regime, (placement, use)) in enumerate(plan):
            self.progress(label, done, total, str(regime))
            values = (str(placement), regime.batch, regime.context, use, number)
            key = dict(zip(_TIMING_KEY, values, strict=True))
            if key not in known:
                speed = self.engine.decode_speed(
                    placement,
                    regime.batch,
                    regime.context,
                    steps=self.config.steps,
                    warmup=self.config.warmup,
                )
                seconds = {"seconds_per_step": speed.seconds_per_step}
                self.journal.append({**key, **seconds, "tokens_per_second": speed.tokens_per_second})
        self.progress(label, total, total)

    def timings(self, use: str, placement: Placement | None = None) -> list[Timing]:
        """The fastest pass of each placement (or of one) that was timed for this use, by regime."""
        fastest: dict[tuple[Placement, Regime], float] = {}
        for row in self.journal.rows:
            key = Placement(row["placement"]), Regime(row["batch"], row["context"])
            if row["use"] == use and placement in (None, key[0]):
                fastest[key] = min(row["seconds_per_step"], fastest.get(key, math.inf))
        return [Timing(placement, regime, seconds) for (placement, regime), seconds in fastest.items()]
