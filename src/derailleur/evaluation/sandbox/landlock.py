"""The back end of Landlock: the lesser one, for machines that allow no namespaces at all.

A program reads what a root of `root.enter` would hold, writes to a folder of its own in the host's temporary
folder, makes no connections and signals no process of others. Else it is not isolated: it sees which files
exist, and its files are limited one by one but not together. It may not change the mode or the times of a
file, not even of its own.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from derailleur.evaluation.sandbox import root, ruleset
from derailleur.evaluation.sandbox.backend import RefusedError
from derailleur.evaluation.sandbox.kept import Kept, shared_python, with_guests

# What interpreters ask of the machine; of /proc nothing else, so that other processes stay out of reach.
_MACHINE = ("/proc/cpuinfo", "/proc/meminfo", "/proc/self", "/sys/devices/system/cpu")


class Landlock(Kept):
    """Programs that gave up files, connections and signals; those of root have a user id each."""

    name = "landlock"

    def __init__(self, *, binds: Mapping[str, str] | None = None, guest: Path | None = None) -> None:
        """See `Kept`."""
        version = ruleset.version()
        if not version:
            raise RefusedError("the kernel has no Landlock (Linux 5.13, enabled at boot)")
        if version < ruleset.SCOPES_SINCE and os.geteuid() != 0:
            raise RefusedError("Landlock before Linux 6.12 lets programs signal all processes of a user")
        python = shared_python()
        readable = [
            *root.readable(str(Path(python).parents[1])),
            *root.DEVICES,
            *_MACHINE,
            *with_guests(binds),
        ]
        super().__init__(binds=binds, guest=guest, python=python, readable=readable)
