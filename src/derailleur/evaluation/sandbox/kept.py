"""What the back ends share whose launcher is the keeper."""

import contextlib
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from derailleur.evaluation.sandbox import root
from derailleur.evaluation.sandbox.backend import RefusedError
from derailleur.evaluation.sandbox.keeper import Settings
from derailleur.evaluation.sandbox.launched import PYTHON, BoxProcess, Launched

GUESTS = Path(__file__).with_name("guests")


class KeptProcess(BoxProcess):
    """A program's warden."""

    def kill(self) -> None:
        """Have the warden end the program and all that it started."""
        with contextlib.suppress(OSError):  # it has ended
            self._life.shutdown(socket.SHUT_WR)


class Kept(Launched):
    """Programs that a keeper starts and clears away."""

    module = "keeper"
    process = KeptProcess

    def __init__(
        self,
        *,
        binds: Mapping[str, str] | None = None,
        guest: Path | None = None,
        python: str = PYTHON,
        wrapper: Sequence[str] = (),
        readable: Sequence[str] | None = None,
        private_user: bool = True,
    ) -> None:
        """Start the keeper.

        Args:
            binds: path that commands use by path on the host.
            guest: as of `Namespaces`.
            python: the interpreter of the keeper and of the programs.
            wrapper, readable, private_user: as of the keeper's `Settings`; only root can make users.

        Raises:
            RefusedError: where it cannot work.
        """
        guest = guest or GUESTS / "python.py"
        settings = Settings(
            guest=str(guest) if guest.exists() and not wrapper else None,
            wrapper=list(wrapper),
            readable=None if readable is None else list(readable),
            names={inside: host for host, inside in with_guests(binds).items()},
            private_user=private_user and os.geteuid() == 0,
        )
        super().__init__(settings.as_json(), python=python)


def with_guests(binds: Mapping[str, str] | None) -> dict[str, str]:
    """What is bound, our own guests first."""
    return {str(GUESTS): root.GUESTS} | dict(binds or {})


def shared_python() -> str:
    """A Python that programs may run: ours, or, for root, whose programs run as other users, one open to all.

    Raises:
        RefusedError: if there is none of our version.
    """
    name = Path(PYTHON).name
    if os.geteuid() != 0 or _is_for_everyone(Path(PYTHON)):
        return PYTHON
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if found is None or not _is_for_everyone(Path(found)):
        raise RefusedError(f"{PYTHON} is for root alone, and there is no {name} that other users may run")
    return found


def _is_for_everyone(path: Path) -> bool:
    real = path.resolve()
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (real, *real.parents))
