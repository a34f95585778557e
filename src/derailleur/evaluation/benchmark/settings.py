"""How a benchmark samples: how many completions a problem gets, at which temperatures, how long."""

from collections.abc import Mapping
from typing import Self, TypeAlias

from pydantic import Field, PositiveInt, model_validator

from derailleur.config import Config
from derailleur.evaluation.problems import Gap
from derailleur.evaluation.programs.limits import LanguageLimits

Plan: TypeAlias = Mapping[float | None, tuple[int, ...]]
"""Which k the samples of each temperature are for; None where somebody else generated them."""

_PASS_AT_1_TEMPERATURE = 0.2
_PASS_AT_MANY_TEMPERATURE = 0.8
_MAX_TOKENS = {Gap.END: 512, Gap.SPAN: 512, Gap.LINE: 25}


class BenchmarkConfig(Config):
    """How problems are put to a model.

    Unless `temperature` says otherwise pass@1 comes from samples at 0.2 and every other pass@k from samples
    at 0.8, as MultiPL-E has it: where both are asked for there are two runs. A single sample is greedy.
    """

    problems: tuple[str, ...] = Field(
        (),
        description="files of problems; `builtin`: our own; `builtin-infilling`: lines of their references",
    )
    num_samples: int | None = Field(
        None,
        gt=0,
        description="completions of a problem at each temperature; the largest k if absent, or all in a file",
    )
    k: tuple[PositiveInt, ...] = Field((1,), min_length=1, description="the pass@k to estimate")
    temperature: float | None = Field(
        None, ge=0, le=2, description="of all samples; 0 is greedy; by k if absent: 0.2 for 1, else 0.8"
    )
    top_p: float = Field(0.95, gt=0, le=1, description="only the likeliest tokens that sum to this share")
    max_tokens: int | None = Field(
        None, gt=0, description="longest completion, tokens; 512, and 25 for a line to fill in, if absent"
    )
    seed: int = Field(0, ge=0, description="of every draw: each sample has a seed of its own made of it")
    limits: LanguageLimits = Field(LanguageLimits(), description="what a program may use")

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        if self.samples < (k := max(self.k)):
            raise ValueError(f"pass@{k} needs at least {k} samples of each problem, got {self.samples}")
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("temperature 0 writes the same completion every time; one sample is enough")
        return self

    @property
    def samples(self) -> int:
        """Completions of each problem at each temperature."""
        return self.num_samples or max(self.k)

    @property
    def plan(self) -> Plan:
        """Which k each temperature's samples are for."""
        if self.temperature is not None:
            return {self.temperature: self.k}
        if self.samples == 1:
            return {0.0: self.k}
        runs: dict[float | None, tuple[int, ...]] = {
            _PASS_AT_1_TEMPERATURE: tuple(k for k in self.k if k == 1),
            _PASS_AT_MANY_TEMPERATURE: tuple(k for k in self.k if k > 1),
        }
        return {temperature: ks for temperature, ks in runs.items() if ks}

    def longest(self, gap: Gap) -> int:
        """Tokens of a completion at most; SantaCoder's 25 for a line."""
        return self.max_tokens or _MAX_TOKENS[gap]
