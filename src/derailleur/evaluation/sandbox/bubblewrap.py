"""The back end of bubblewrap, for machines where `bwrap` may make namespaces and we may not."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from derailleur.evaluation.sandbox import root
from derailleur.evaluation.sandbox.backend import RefusedError
from derailleur.evaluation.sandbox.kept import Kept, shared_python, with_guests

_ISOLATION = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
    *("--uid", str(root.USER), "--gid", str(root.USER), "--hostname", "box"),
    *("--die-with-parent", "--new-session"),
)


class Bubblewrap(Kept):
    """Programs with a root and user, process, network, IPC and name namespaces of their own, made by `bwrap`.

    The guest is started, not forked. The size of files is limited, their number is not.
    """

    name = "bubblewrap"

    def __init__(self, *, binds: Mapping[str, str] | None = None, guest: Path | None = None) -> None:
        """Find `bwrap`; see `Kept`."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise RefusedError("bwrap is not installed (package bubblewrap)")
        python = shared_python()
        wrapper = [bwrap, *_ISOLATION, *_root(python, with_guests(binds))]
        super().__init__(binds=binds, guest=guest, python=python, wrapper=wrapper)


def _root(python: str, binds: Mapping[str, str]) -> Iterator[str]:
    """The options for the root that `root.enter` makes; the keeper adds what differs between programs."""
    for path in root.readable(str(Path(python).parents[1])):
        yield from ("--ro-bind", path, path)
    for host, inside in binds.items():
        yield from ("--ro-bind", host, inside)
    for path in root.DEVICES:
        yield from ("--dev-bind", path, path)
    for link, target in root.links(python).items():
        yield from ("--symlink", target, link)
    yield from ("--proc", "/proc")
