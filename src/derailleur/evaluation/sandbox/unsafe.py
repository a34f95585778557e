"""No sandbox: limits, and whatever is left of a program is killed at its end. Only on explicit demand."""

from collections.abc import Mapping
from pathlib import Path

from derailleur.evaluation.sandbox.kept import Kept


class Unsafe(Kept):
    """Programs that may do all that we may."""

    name = "unsafe"

    def __init__(self, *, binds: Mapping[str, str] | None = None, guest: Path | None = None) -> None:
        """Start the keeper; see `Kept`."""
        super().__init__(binds=binds, guest=guest, private_user=False)
