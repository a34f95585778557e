"""The back end of namespaces of our own: the supervisor's side of the launcher."""

from collections.abc import Mapping
from pathlib import Path

from derailleur.evaluation.sandbox import root
from derailleur.evaluation.sandbox.launched import Launched

_GUESTS = Path(__file__).with_name("guests")


class Namespaces(Launched):
    """Boxes cloned by a launcher: user, process, mount and IPC namespaces each, seccomp, limits."""

    name = "namespaces"

    def __init__(self, *, binds: Mapping[str, str] | None = None, guest: Path | None = None) -> None:
        """Start the launcher.

        Args:
            binds: path inside by path on the host, read-only.
            guest: a Python file with a `main`, forked for the command `python -m guest`; default the
                package's own.

        Raises:
            RefusedError: where the kernel, or what contains us, does not allow namespaces.
        """
        guest = guest or _GUESTS / "python.py"
        bound = {str(_GUESTS): root.GUESTS} if _GUESTS.exists() else {}
        inner = f"{root.GUESTS}/python.py" if guest.parent == _GUESTS else "/opt/derailleur/guest.py"
        if guest.exists() and guest.parent != _GUESTS:
            bound[str(guest)] = inner
        super().__init__({"binds": bound | dict(binds or {}), "guest": inner if guest.exists() else None})
