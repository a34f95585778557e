"""Prints the folder that lm-eval's `--include_path` takes."""

from pathlib import Path

print(Path(__file__).parent)
