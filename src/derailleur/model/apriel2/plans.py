"""Plans of checkpoints in the released layout."""

from collections.abc import Callable

from torch import Tensor

from derailleur.model.apriel2.tensors import Part, parts
from derailleur.model.apriel2.writing import write
from derailleur.model.config import DecoderConfig
from derailleur.model.plan import CheckpointPlan, Read


def released_plan(config: DecoderConfig) -> CheckpointPlan:
    """A checkpoint of ours in the released layout.

    Raises:
        CheckpointError: naming the first field for which the layout has no place.
    """
    description, released = write(config)
    return CheckpointPlan(description, {part.released: _cut(part) for part in parts(released)})


def _cut(part: Part) -> Callable[[Read], Tensor]:
    return lambda read: read(part.ours) if part.rows is None else read(part.ours)[part.rows]
