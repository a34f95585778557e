"""Which parameters decay, which Muon updates, and the optimisers that do it.

Muon (Jordan et al. 2024) orthogonalises the update of a matrix. It is scaled by
0.2 * sqrt(max(rows, columns)) (Liu et al. 2025, arXiv:2502.16982), which gives its updates the size
of AdamW's, so that one learning rate serves both.
"""

from collections.abc import Iterable
from enum import StrEnum

import torch
from pydantic import Field
from torch import nn

from derailleur.config import Config
from derailleur.model import Decoder


class OptimizerName(StrEnum):
    """The rule for hidden matrices; everything else is always AdamW's."""

    ADAMW = "adamw"
    MUON = "muon"


class OptimizerConfig(Config):
    """AdamW, or Muon for the hidden matrices with AdamW for the rest."""

    name: OptimizerName = Field(OptimizerName.MUON, description="rule for hidden matrices: muon or adamw")
    learning_rate: float = Field(4e-3, gt=0, description="peak learning rate, for both rules")
    weight_decay: float = Field(
        0.1, ge=0, description="decoupled weight decay of hidden matrices; nothing else decays"
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: decay of the gradient's mean, per step")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW: decay of the gradient's square, per step")
    momentum: float = Field(0.95, ge=0, lt=1, description="Muon: decay of the Nesterov momentum, per step")

    def build(self, decoder: Decoder) -> list[torch.optim.Optimizer]:
        """Optimisers over the parameters of `decoder` that learn (`requires_grad`)."""
        hidden, others = split_parameters(decoder)
        betas = (self.beta1, self.beta2)
        groups = [{"params": others, "weight_decay": 0.0}]
        optimizers: list[torch.optim.Optimizer] = []
        if self.name is OptimizerName.ADAMW:
            groups.append({"params": hidden, "weight_decay": self.weight_decay})
        elif hidden:
            muon = torch.optim.Muon(
                hidden,
                lr=self.learning_rate,
                weight_decay=self.weight_decay,
                momentum=self.momentum,
                adjust_lr_fn="match_rms_adamw",
            )
            optimizers.append(muon)
        groups = [group for group in groups if group["params"]]
        if groups:
            optimizers.append(torch.optim.AdamW(groups, lr=self.learning_rate, betas=betas, fused=True))
        return optimizers


def split_parameters(decoder: Decoder) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Part what learns into hidden matrices (Muon, weight decay) and the rest (AdamW, no decay).

    The rest are norms, biases, convolutions, the gates' A_log and dt_bias, and both ends of the model:
    decaying an embedding would shrink the rows of tokens that a batch does not hold, and the head may
    be the embedding.
    """
    ends = {decoder.embed.weight, decoder.head.weight}
    learning = [weight for weight in decoder.parameters() if weight.requires_grad]
    hidden = [weight for weight in learning if weight.ndim == 2 and weight not in ends]
    others = [weight for weight in learning if weight.ndim != 2 or weight in ends]
    return hidden, others


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], learning_rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
