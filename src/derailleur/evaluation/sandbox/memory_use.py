"""How much memory a program uses, where no control group says so."""

import re

from derailleur.evaluation.sandbox.processes import descendants


def memory_bytes(pidfd: int) -> int:
    """Resident bytes of a process and all below it; pages that several share count once in all.

    Args:
        pidfd: of the process; 0 where it has ended.
    """
    with open(f"/proc/self/fdinfo/{pidfd}") as stream:
        found = re.search(r"^Pid:\t(\d+)$", stream.read(), re.MULTILINE)
    pid = int(found[1]) if found else 0
    return sum(_proportional_bytes(each) for each in [pid, *descendants(pid)]) if pid else 0


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as stream:
            found = re.search(r"^Pss: +(\d+) kB$", stream.read(), re.MULTILINE)
    except OSError:  # ended since
        return 0
    return int(found[1]) * 1024 if found else 0
