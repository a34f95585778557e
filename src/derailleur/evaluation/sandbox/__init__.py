"""Untrusted programs, run apart from the machine and from each other.

Names are looked up when they are used: the launcher imports modules of this package, and must stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derailleur.evaluation.sandbox.backend import RefusedError
    from derailleur.evaluation.sandbox.box import Box
    from derailleur.evaluation.sandbox.job import End, Job, Outcome
    from derailleur.evaluation.sandbox.limits import Limits
    from derailleur.evaluation.sandbox.sandbox import Sandbox, open_sandbox

_HOMES = {
    "Box": "box",
    "End": "job",
    "Job": "job",
    "Limits": "limits",
    "Outcome": "job",
    "RefusedError": "backend",
    "Sandbox": "sandbox",
    "open_sandbox": "sandbox",
}

__all__ = ["Box", "End", "Job", "Limits", "Outcome", "RefusedError", "Sandbox", "open_sandbox"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
