"""Local alignment: every mixer of every layer learns at once to do what the teacher's attention does.

One pass of the teacher gives each layer's mixer input and output. Each mixer sees the teacher's own
input, so its error does not depend on what the other layers' mixers do, and no gradient crosses a layer.
"""

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from derailleur.model import Decoder, DecoderLayer
from derailleur.placement import MIXER_NAMES
from derailleur.training.data import Batch
from derailleur.training.losses import relative_distance
from derailleur.training.trainer import Measured, PhaseConfig


class AlignmentConfig(PhaseConfig):
    """How long and how fast the mixers learn from the teacher's own inputs."""

    steps: int = Field(500, ge=0, description="optimiser steps; 0 leaves this phase out")


@dataclass(frozen=True)
class LocalAlignment:
    """Mean over layers and mixers of the distance to the teacher's mixer output, relative to its size.

    The distances are independent problems that share one batch. Dividing by the teacher's mean norm puts
    them on one scale (1 is what an output of zero has), so that layers with large outputs do not use up
    the clipped gradient, and layers and models can be compared.

    Attributes:
        decoder: the supernet.
        teacher: the same decoder, or another one with the same layers.
        letters: the mixers that learn.
    """

    decoder: Decoder
    teacher: Decoder
    letters: str

    def train(self, batch: Batch, step: int) -> Measured:
        """The distances of a batch."""
        return self.heldout(batch)

    def heldout(self, batch: Batch) -> Measured:
        """The same."""
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        with torch.no_grad():
            self.teacher.hidden(batch.tokens, collect=(inputs, outputs))
        rotary = self.decoder.rotary.sequence(batch.tokens.shape[1])
        metrics = {}
        for letter in self.letters:
            distances = []
            for layer, x, y in zip(self.decoder.layers, inputs, outputs, strict=True):
                assert isinstance(layer, DecoderLayer)
                distances.append(relative_distance(layer.mixer(letter)(x, rotary), y, batch.mask))
            metrics[f"layer_loss.{MIXER_NAMES[letter]}"] = torch.stack(distances)
        loss = torch.stack(list(metrics.values())).mean()
        by_mixer = {name.replace("layer", "mixer"): per_layer.mean() for name, per_layer in metrics.items()}
        return Measured(loss, {**by_mixer, **metrics})

    def notes(self, step: int) -> dict[str, Any]:
        """Nothing."""
        return {}
