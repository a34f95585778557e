"""How unlike words a string is: the mean surprise of its letter pairs under a model of identifiers.

The model is a table of counts in gibberish.json; gibberish_training.py makes it.
"""

import json
import math
import string
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

ALPHABET = string.ascii_letters + "0"
"""What is told apart: letters with their case; a digit is a digit."""

_SMOOTHING = 10  # added to each count

_DIGITS = str.maketrans("123456789", "000000000")
_SYMBOLS = {letter: number for number, letter in enumerate(ALPHABET)}


def surprise(value: str) -> float:
    """Mean of -ln P(letter | letter before) over `value`'s pairs of ASCII letters and digits, in nats.

    Pairs of two digits say nothing and are left out; 0 if no pair is left.
    """
    table = _surprises()
    pairs = symbol_pairs(value)
    return sum(table[first][second] for first, second in pairs) / len(pairs) if pairs else 0.0


def symbol_pairs(value: str) -> list[tuple[int, int]]:
    """Places in the alphabet of each two neighbours that are letters or digits, and not both digits."""
    pairs = pairwise(map(_SYMBOLS.get, value.translate(_DIGITS)))
    digit = len(ALPHABET) - 1
    return [
        (first, second)
        for first, second in pairs
        if first is not None and second is not None and not first == second == digit
    ]


def count_pairs(words: Iterable[str]) -> NDArray[np.int64]:
    """How often each letter follows each."""
    counts = np.zeros((len(ALPHABET), len(ALPHABET)), np.int64)
    for word in words:
        for pair in symbol_pairs(word):
            counts[pair] += 1
    return counts


@cache
def _surprises() -> list[list[float]]:
    model = json.loads((files(__package__) / "gibberish.json").read_text(encoding="utf-8"))
    assert model["alphabet"] == ALPHABET, "gibberish.json is of another alphabet"
    smoothed = np.array(model["counts"], np.float64) + _SMOOTHING
    rows: list[list[float]] = (-np.log(smoothed / smoothed.sum(axis=1, keepdims=True))).tolist()
    return rows


def entropy(value: str) -> float:
    """Shannon entropy of the characters of `value`, in bits a character."""
    counts = [value.count(character) for character in set(value)]
    return math.log2(len(value)) - sum(count * math.log2(count) for count in counts) / len(value)
