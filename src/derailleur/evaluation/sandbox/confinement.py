"""What a process gives up before an untrusted program takes it over; the same for every back end.

Standard library only: this runs inside, between the fork and the program.
"""

import os
import resource
from typing import TypedDict

from derailleur.evaluation.sandbox import linux

_RESERVED_BYTES = 32 << 30  # addresses that an interpreter may reserve; their page tables take 1/512


class Allowance(TypedDict):
    """`Limits` as plain numbers, which travel as JSON: the fields of the same names."""

    cpu_seconds: int
    memory_bytes: int
    processes: int
    disk_bytes: int


def limit_resources(limits: Allowance) -> None:
    """Set the kernel's limits of one process.

    Memory is RLIMIT_DATA, not RLIMIT_AS: node and java reserve far more addresses than they ever use. Some
    limit of addresses there must be, since the page tables of what is only read count as nobody's data.
    """
    for kind, value in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_DATA, limits["memory_bytes"]),
        (resource.RLIMIT_AS, limits["memory_bytes"] + _RESERVED_BYTES),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_FSIZE, limits["disk_bytes"]),
        (resource.RLIMIT_CORE, 1),  # with 0 a crash would still start the host's handler of crashes (core(5))
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def arrange_descriptors(descriptors: list[int], *, inherited: int) -> None:
    """Make `descriptors` 0, 1, 2, ... and close all others.

    Args:
        descriptors: each above its own new number.
        inherited: how many of them an executed program keeps.
    """
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number, inheritable=number < inherited)
    linux.close_from(len(descriptors))


def give_up_privileges(program: bytes) -> None:
    """Drop every capability and filter system calls; the last step, since it forbids much of the set-up.

    Args:
        program: the seccomp filter.
    """
    linux.drop_capabilities()
    linux.forbid_new_privileges()
    linux.install_filter(program)
