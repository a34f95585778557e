"""`derailleur evaluate TASK`: finds the task and runs it."""

import importlib

from derailleur.errors import UserError

TASKS = {
    "loss": ("derailleur.cli.scores", "bits per byte and next-token accuracy on held-out files"),
    "infill": ("derailleur.cli.benchmarks", "parts of held-out files filled in, or of problem files"),
    "recall": ("derailleur.cli.scores", "names completed that were defined long before, over distance"),
    "speed": ("derailleur.cli.scores", "decode tokens per second over batch and context"),
    "multipl-e": ("derailleur.cli.benchmarks", "functions of problem files completed: pass@k"),
    "programs": ("derailleur.cli.programs", "programs with tests, judged in a sandbox"),
    "code-to-text": ("derailleur.cli.code_to_text", "docstrings of Python functions, by BLEU"),
    "translate": ("derailleur.cli.translate", "Python problems in JavaScript or Java, as MultiPL-E has them"),
    "builtin": ("derailleur.cli.builtin", "our own problems written as files of MultiPL-E"),
}
"""Module and summary of each task. Each module has `run(command, arguments)`; command is `evaluate TASK`."""


def run(command: str, arguments: list[str]) -> int:
    """Run one task."""
    task = arguments[0] if arguments else ""
    if task in ("-h", "--help"):
        print(_usage(command))
        return 0
    if task not in TASKS:
        raise UserError(f"{command}: expected a task, got '{task}'; known: {', '.join(TASKS)}")
    module = importlib.import_module(TASKS[task][0])
    return int(module.run(f"{command} {task}", arguments[1:]))


def _usage(command: str) -> str:
    rows = "\n".join(f"  {task:<13} {summary}" for task, (_, summary) in TASKS.items())
    return (
        f"usage: derailleur {command} TASK ...\n\n{rows}\n\n"
        f"derailleur {command} TASK --help shows a task's options.\n"
        f"example: derailleur {command} loss runs/quickstart/model --corpus runs/quickstart/curate"
    )
