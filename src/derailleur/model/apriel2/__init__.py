"""The released Super Apriel layout (Fast-LLM's `apriel2`) <-> ours: configuration and tensor names.

Text only: a checkpoint with a vision encoder is read without it.
"""

from derailleur.model.apriel2.plans import released_plan
from derailleur.model.apriel2.reading import read
from derailleur.model.apriel2.sections import Released
from derailleur.model.apriel2.tensors import Part, parts
from derailleur.model.apriel2.writing import write

__all__ = ["Part", "Released", "parts", "read", "released_plan", "write"]
