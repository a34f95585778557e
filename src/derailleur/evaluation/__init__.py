"""Evaluation: bits per byte, next-token accuracy, infilling and decode speed of every preset.

Names are looked up when they are used, so that parts that need no torch do not import it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derailleur.evaluation.stage import VERSION, EvaluateConfig, Task, evaluate

__all__ = ["VERSION", "EvaluateConfig", "Task", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("derailleur.evaluation.stage"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
