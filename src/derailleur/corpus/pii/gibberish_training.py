"""Trains the model of gibberish.py on the identifiers of source files, and says how well it tells keys.

`python -m derailleur.corpus.pii.gibberish_training FOLDER...` counts the letter pairs in the Python files
under the folders, writes gibberish.json beside this file and prints a table over identifiers that were
held out, against random strings. The same files give the same model.
"""

import argparse
import json
import re
import string
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import numpy as np

from derailleur.corpus.pii.gibberish import ALPHABET, count_pairs, surprise
from derailleur.io import write_bytes

_WORD = re.compile(r"(?<![\w\"'\\+/=])[A-Za-z_][A-Za-z0-9_]{2,59}(?![\w+/=])")
_MIN_FILES = 2  # a word of one file alone may be a key

_ALPHABETS = {
    "hexadecimal": "0123456789abcdef",
    "small letters and digits": string.ascii_lowercase + string.digits,
    "letters and digits": string.ascii_letters + string.digits,
    "base64": string.ascii_letters + string.digits + "+/",
    "small letters": string.ascii_lowercase,
}


def identifiers(folders: Iterable[Path]) -> list[str]:
    """The distinct words of the Python files under `folders` that are in more than one file."""
    files_with: dict[str, int] = {}
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        for word in set(_WORD.findall(path.read_text(encoding="utf-8", errors="ignore"))):
            files_with[word] = files_with.get(word, 0) + 1
    return sorted(word for word, count in files_with.items() if count >= _MIN_FILES)


def train(words: Iterable[str]) -> bytes:
    """The model as JSON."""
    model = {"alphabet": ALPHABET, "counts": count_pairs(words).tolist()}
    return json.dumps(model, separators=(",", ":")).encode() + b"\n"


def table(words: list[str]) -> Iterator[str]:
    """Rows of Markdown: how well random strings are told from `words` as long, by alphabet and length."""
    random = Random(0)
    yield "| alphabet | length | area under the ROC curve | found at 1 % of identifiers | found at 0.1 % |"
    yield "| --- | --- | --- | --- | --- |"
    for name, letters in _ALPHABETS.items():
        for length in (16, 24, 32):
            real = np.sort([surprise(word) for word in words if length - 4 <= len(word) <= length + 8])
            made = np.array(["".join(random.choices(letters, k=length)) for _ in range(2000)])
            scores = np.array([surprise(value) for value in made])
            area = float(np.mean(np.searchsorted(real, scores) / len(real)))
            found = [float(np.mean(scores > np.quantile(real, 1 - share))) for share in (0.01, 0.001)]
            yield f"| {name} | {length} | {area:.4f} | {found[0]:.1%} | {found[1]:.1%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    words = identifiers(parser.parse_args().folders)
    held_out = [word for word in words if zlib.crc32(word.encode()) % 10 == 0]
    write_bytes(
        Path(__file__).with_name("gibberish.json"),
        train(word for word in words if zlib.crc32(word.encode()) % 10),
    )
    print(f"{len(words)} identifiers, {len(held_out)} of them held out\n", *table(held_out), sep="\n")


if __name__ == "__main__":
    main()
