"""The command line: `derailleur COMMAND`. Commands import their stage only when they are called."""

from derailleur.cli.main import main

__all__ = ["main"]
