"""Finds the command, runs it, and turns errors into one line and an exit code."""

import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from derailleur import __version__
from derailleur.errors import DerailleurError, UserError

COMMANDS = {
    "run": ("derailleur.cli.run", "a whole recipe, from source files to a report"),
    "curate": ("derailleur.cli.curate", "source files -> training documents"),
    "dedup": ("derailleur.cli.dedup", "near-duplicates of a Parquet or JSONL file alone"),
    "pii": ("derailleur.cli.pii", "scan or redact personal data and secrets"),
    "tokenize": ("derailleur.cli.tokens", "documents -> tokenizer and packed shards"),
    "pretrain": ("derailleur.cli.training", "train a teacher"),
    "import": ("derailleur.cli.model", "a Hugging Face checkpoint as teacher"),
    "distill": ("derailleur.cli.training", "a teacher -> a supernet with four mixers in every layer"),
    "finetune": ("derailleur.cli.training", "train a supernet's mixers at chosen placements"),
    "place": ("derailleur.cli.placement", "find the best placements for every speed"),
    "evaluate": ("derailleur.cli.evaluation", "quality and speed of every preset, programs in a sandbox"),
    "sandbox": ("derailleur.cli.sandbox", "see that hostile programs are contained"),
    "export": ("derailleur.cli.export", "a checkpoint in another layout, or with fewer mixers"),
    "serve": ("derailleur.cli.serving", "an OpenAI-compatible server, a placement per request"),
    "report": ("derailleur.cli.report", "one HTML page about a run"),
}


_FULL = (errno.ENOSPC, errno.EDQUOT)


def usage() -> str:
    """The text of `derailleur --help`."""
    rows = "\n".join(f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items())
    return (
        "usage: derailleur COMMAND [options]\n\n"
        "From source repositories to one code model with many speeds.\n\n"
        f"{rows}\n\n"
        "derailleur COMMAND --help shows a command's options and an example.\n"
        "example: derailleur run recipes/quickstart.yaml --out runs/quickstart"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Each command module has `run(command, arguments) -> int`."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    command = rest.pop(0) if rest else "--help"
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command in ("-V", "--version"):
        print(f"derailleur {__version__}")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if command not in COMMANDS:
            raise UserError(f"unknown command '{command}'; known: {', '.join(COMMANDS)}")
        module = importlib.import_module(COMMANDS[command][0])
        return int(module.run(command, rest))
    except UserError as error:
        print(f"derailleur: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        print(f"derailleur: {error.filename}: {(error.strerror or '').lower()}", file=sys.stderr)
        return 2
    except DerailleurError as error:
        print(f"derailleur: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("derailleur: out of memory; what is done stays, and the same command resumes", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _FULL:
            raise
        print(
            f"derailleur: {error.filename or 'the disk'}: {(error.strerror or '').lower()}; what is done "
            "stays, and the same command resumes",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("derailleur: stopped; the same command resumes", file=sys.stderr)
        return 130
