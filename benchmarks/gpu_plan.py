"""What `engine_gpu.py` measures, and what it must come to: presets, decoders, memory, bandwidth floors.

Nothing here computes anything on a device: decoders are on the meta device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from derailleur.errors import ArgumentError
from derailleur.kernels import PAGE_TOKENS
from derailleur.model import (
    MAX_TRACE_TOKENS,
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
)
from derailleur.placement import Placement
from derailleur.placement.placement import MIXERS

DEVICES = {"H200": (4.8e12, 139), "NVL": (3.9e12, 93), "PCIe": (2.0e12, 79), "H100": (3.35e12, 79)}
"""By a word of its name: a device's bandwidth, bytes/s by the data sheet, and its memory, GiB."""


@dataclass(frozen=True)
class Machine:
    """A device.

    Attributes:
        bandwidth: bytes/s.
        memory_bytes: for weights, states and everything else.
    """

    name: str
    bandwidth: float
    memory_bytes: int

    @classmethod
    def of(cls, name: str, *, bandwidth: float | None = None, memory_bytes: int | None = None) -> "Machine":
        """A known device, or one whose figures are given."""
        known = next((figures for word, figures in DEVICES.items() if word in name.split()), None)
        if known is None and (bandwidth is None or memory_bytes is None):
            raise ArgumentError(
                f"device '{name}': none of {', '.join(DEVICES)}; give its --bandwidth and --memory too"
            )
        usual_bandwidth, gibibytes = known or (0.0, 0)
        return cls(name, bandwidth or usual_bandwidth, memory_bytes or gibibytes << 30)


@dataclass(frozen=True)
class Preset:
    """A preset of arXiv:2604.19877.

    Attributes:
        counts: layers with FA, SWA, KDA, GDN.
        paper: its speed over all-FA's at 16k and at 32k tokens.
    """

    name: str
    counts: tuple[int, int, int, int]
    paper: tuple[float, float]

    @property
    def placement(self) -> Placement:
        """Its mixers spread evenly: which layers the paper gave them is not known."""
        return spread(self.counts)


PRESETS = (  # what is worth most first: that is the order in which they are measured
    Preset("all-FA", (48, 0, 0, 0), (1.0, 1.0)),
    Preset("Reg-10", (0, 10, 5, 33), (4.2, 10.69)),
    Preset("Reg-26", (12, 26, 6, 4), (1.5, 2.85)),
    Preset("Reg-18", (3, 25, 4, 16), (2.2, 4.76)),
    Preset("Reg-13", (0, 16, 13, 19), (2.7, 6.9)),
    Preset("Idealized-All-18", (13, 32, 1, 2), (1.1, 1.99)),
    Preset("Idealized-Lklhd-6", (0, 30, 5, 13), (2.4, 6.2)),
    Preset("Idealized-All-6", (0, 30, 5, 13), (2.5, 6.13)),
)
RECURRENT = "KG"
"""The mixers whose state does not grow; the others hold keys and values."""

TARGET, DRAFT = Placement.uniform("F", 48), Placement.uniform("G", 48)
"""Of speculation: the draft that paid best in the paper."""

DRAFTED = (0, 4, 8, 2)
"""Drafted tokens of a step, what is worth most first."""

ACCEPTANCE = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def spread(counts: Sequence[int]) -> Placement:
    """Layers sorted by where they want to stand: the i-th of a mixer's n at (i + 1/2) / n of the depth."""
    wanted = [
        ((i + 0.5) / count, letter)
        for letter, count in zip(MIXERS, counts, strict=True)
        for i in range(count)
    ]
    return Placement.of(letter for _, letter in sorted(wanted))


@dataclass(frozen=True)
class Scale:
    """A decoder and how it is run.

    Attributes:
        contexts: what stands for the paper's 16k and 32k tokens.
        work_bytes: memory that activations, logits and workspaces need.
    """

    name: str
    config: DecoderConfig
    dtype: torch.dtype
    contexts: tuple[int, int]
    prefill_tokens: int
    work_bytes: int


SUPER_APRIEL = Scale(
    name="Super Apriel 15B",
    config=DecoderConfig(
        vocab_size=131_072,
        hidden_size=5120,
        num_layers=48,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=14_336,
        max_positions=262_144,
        rope_theta=1e9,
        tie_embeddings=False,
        mixers=MixersConfig(
            S=SlidingWindowConfig(window_tokens=4096),
            K=KdaConfig(gate_bias=False),
            G=GdnConfig(num_key_heads=8, gate_bias=False),
        ),
    ),
    dtype=torch.bfloat16,
    contexts=(16_384, 32_768),
    prefill_tokens=2048,
    work_bytes=5 << 30,
)
TINY = Scale(
    name="tiny",
    config=DecoderConfig(
        vocab_size=256,
        hidden_size=64,
        num_layers=48,
        num_heads=4,
        num_kv_heads=1,
        head_dim=16,
        intermediate_size=64,
        max_positions=1024,
        tie_embeddings=False,
        mixers=MixersConfig(S=SlidingWindowConfig(window_tokens=64), K=KdaConfig(), G=GdnConfig()),
    ),
    dtype=torch.float32,
    contexts=(512, 1024),
    prefill_tokens=512,
    work_bytes=0,
)


class Footprint:
    """What decoders of a scale hold and what their steps move, by the mixers that they have.

    Every layer has the same sizes, so a decoder of one layer tells them all.
    """

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        meta = torch.device("meta")
        with meta:
            decoder = Decoder(scale.config.model_copy(update={"num_layers": 1}))
        layer = decoder.layers[0]
        mixers = {letter: layer.mixer(letter) for letter in MIXERS}
        self._in_mixer = {letter: _num_parameters(mixer) for letter, mixer in mixers.items()}
        in_layer = _num_parameters(layer)
        self._embeddings = _num_parameters(decoder.embed)
        self._beside_mixers = _num_parameters(decoder) - in_layer
        self._beside_mixers += scale.config.num_layers * (in_layer - sum(self._in_mixer.values()))
        self._in_slot = {
            letter: mixers[letter].new_pool(1, 1, dtype=scale.dtype, device=meta).bytes_per_slot
            for letter in RECURRENT
        }

    def num_parameters(self, *placements: Placement) -> int:
        """Of a decoder with the mixers of these placements and no others."""
        in_mixers = sum(self._in_mixer[letter] for bank in banks(placements) for letter in bank)
        return self._beside_mixers + in_mixers

    def weight_bytes(self, *placements: Placement) -> int:
        """Memory of its weights."""
        return self.num_parameters(*placements) * self.scale.dtype.itemsize

    def state_budget(self, machine: Machine, *placements: Placement) -> int:
        """Bytes that it leaves to states."""
        return max(machine.memory_bytes - self.weight_bytes(*placements) - self.scale.work_bytes, 0)

    def held_bytes(self, placement: Placement, num_tokens: int, *, scratch: bool = False) -> int:
        """State of a row; where it drafts, recurrent layers have a second one that runs ahead."""
        total = 0
        for letter in placement:
            if letter in RECURRENT:
                total += self._in_slot[letter] * (2 if scratch else 1)
            else:
                kept = self._visible_tokens(letter, num_tokens, beyond=MAX_TRACE_TOKENS)
                total += -(-kept // PAGE_TOKENS) * PAGE_TOKENS * self._token_bytes
        return total

    def moved_bytes(self, placement: Placement, context: int) -> int:
        """State of a row that a step moves: keys and values are read, recurrent states read and written."""
        return sum(
            2 * self._in_slot[letter]
            if letter in RECURRENT
            else self._visible_tokens(letter, context) * self._token_bytes
            for letter in placement
        )

    def floor_seconds(self, machine: Machine, placement: Placement, batch: int, context: int) -> float:
        """What a step takes at the least: weights once, without embeddings, and the state of every row."""
        weights = self.weight_bytes(placement) - self._embeddings * self.scale.dtype.itemsize
        return (weights + batch * self.moved_bytes(placement, context)) / machine.bandwidth

    @property
    def _token_bytes(self) -> int:
        """Key and value of one token in one layer."""
        config = self.scale.config
        return 2 * config.num_kv_heads * config.head_dim * self.scale.dtype.itemsize

    def _visible_tokens(self, letter: str, num_tokens: int, *, beyond: int = 0) -> int:
        window = self.scale.config.mixers.settings(letter).window_tokens
        return num_tokens if window is None else min(num_tokens, window + beyond)


def _num_parameters(module: nn.Module) -> int:
    return sum(x.numel() for x in module.parameters())


def banks(placements: Sequence[Placement]) -> tuple[str, ...]:
    """The mixers that each layer needs for these placements, as `DecoderConfig.banks`."""
    return tuple("".join(x for x in MIXERS if x in layer) for layer in zip(*placements, strict=True))


@dataclass(frozen=True)
class DecodePlan:
    """Decoding under one placement, as many rows as fit.

    Attributes:
        num_added: tokens that each row adds to its context.
    """

    footprint: Footprint
    machine: Machine
    placement: Placement
    context: int
    num_added: int

    @property
    def key(self) -> str:
        """What results call it; presets of one placement share it."""
        return f"{self.placement} {self.context}"

    @property
    def budget_bytes(self) -> int:
        """What the rows' states share."""
        return self.footprint.state_budget(self.machine, self.placement)

    @property
    def row_bytes(self) -> int:
        """State of a row."""
        return self.footprint.held_bytes(self.placement, self.context + self.num_added)

    @property
    def batch(self) -> int:
        """Rows that fit; 0 where not even one does."""
        return self.budget_bytes // self.row_bytes

    def floor_speed(self, batch: int) -> float:
        """Tokens/s that so many rows cannot exceed."""
        return batch / self.footprint.floor_seconds(self.machine, self.placement, batch, self.context)


@dataclass(frozen=True)
class SpeculationPlan:
    """All-GDN drafts for all-FA, at the longest context: there a draft costs least beside its target."""

    footprint: Footprint
    machine: Machine

    @staticmethod
    def key(num_drafted: int) -> str:
        """What results call steps with so many drafted tokens."""
        return f"{num_drafted} drafted"

    @property
    def context(self) -> int:
        """Tokens of a row."""
        return self.footprint.scale.contexts[-1]

    @property
    def budget_bytes(self) -> int:
        """What the rows' states share."""
        return self.footprint.state_budget(self.machine, TARGET, DRAFT)

    @property
    def batches(self) -> list[int]:
        """Rows: as many as fit, half, a quarter of them, and one; the most first."""
        row = self.footprint.held_bytes(TARGET, self.context)
        row += self.footprint.held_bytes(DRAFT, self.context, scratch=True)
        most = self.budget_bytes // row
        return sorted({most, most // 2, most // 4, min(most, 1)} - {0}, reverse=True)

    def floor_seconds(self, batch: int, num_drafted: int) -> float:
        """Of the drafts and their verification, which reads what a step without drafts reads."""
        target, draft = (
            self.footprint.floor_seconds(self.machine, placement, batch, self.context)
            for placement in (TARGET, DRAFT)
        )
        return target + num_drafted * draft


def expected_tokens(acceptance: float, num_drafted: int) -> float:
    """Tokens that a verify step adds (arXiv:2211.17192, eq. 1)."""
    return sum(acceptance**n for n in range(num_drafted + 1))


def net_speed(seconds: Mapping[int, float], acceptance: float) -> tuple[float, int]:
    """Speed over that without drafts, at the best number of drafted tokens, and that number.

    Args:
        seconds: of a step, by the number of drafted tokens; 0 is among them, and others.
    """
    plain = seconds[0]
    return max((expected_tokens(acceptance, n) * plain / taken, n) for n, taken in seconds.items() if n)
