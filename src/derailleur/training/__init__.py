"""Training: a teacher from nothing, a supernet from a teacher, and fine-tuning at chosen placements."""

from derailleur.training.distill import VERSION as DISTILL_VERSION
from derailleur.training.distill import DistillConfig, distill
from derailleur.training.finetune import VERSION as FINETUNE_VERSION
from derailleur.training.finetune import FinetuneConfig, finetune
from derailleur.training.pretrain import VERSION as PRETRAIN_VERSION
from derailleur.training.pretrain import PretrainConfig, pretrain

__all__ = [
    "DISTILL_VERSION",
    "FINETUNE_VERSION",
    "PRETRAIN_VERSION",
    "DistillConfig",
    "FinetuneConfig",
    "PretrainConfig",
    "distill",
    "finetune",
    "pretrain",
]
