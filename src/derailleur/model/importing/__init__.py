"""Checkpoints of other families as teachers of ours. A new family is a module here and one import line."""

from derailleur.model.importing import apriel2, gpt_bigcode, llama, mistral, qwen, starcoder2
from derailleur.model.importing.family import FAMILIES, Foreign, Made, register
from derailleur.model.importing.importer import import_checkpoint
from derailleur.model.importing.plan import ImportPlan, plan_import

__all__ = [
    "FAMILIES",
    "Foreign",
    "ImportPlan",
    "Made",
    "apriel2",
    "gpt_bigcode",
    "import_checkpoint",
    "llama",
    "mistral",
    "plan_import",
    "qwen",
    "register",
    "starcoder2",
]
