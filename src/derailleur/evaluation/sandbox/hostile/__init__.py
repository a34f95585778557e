"""Programs that try what a sandbox must not allow, by what they are after."""

from derailleur.evaluation.sandbox.hostile import files, kernel, memory, network, output, processes, tools
from derailleur.evaluation.sandbox.hostile.case import Case, Language

__all__ = ["CASES", "Case", "Language"]

CASES: tuple[Case, ...] = (
    *processes.CASES,
    *memory.CASES,
    *output.CASES,
    *files.CASES,
    *network.CASES,
    *kernel.CASES,
    *tools.CASES,
)
