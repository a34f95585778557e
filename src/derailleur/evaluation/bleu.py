"""Smoothed sentence BLEU as CodeXGLUE's code-to-text script computes it (Lu et al. 2021, arXiv:2102.04664).

What sets it apart from other BLEUs, all of which published scores rest on: lower case; punctuation, `_` among
it, stands alone; one is added to matches and candidates of 2- to 4-grams but not of single words (Lin and Och
2004); the brevity penalty counts one more word on both sides; a corpus scores the mean of its sentences.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence

_MAX_ORDER = 4
_TOKEN = re.compile(r"[^\W_]+|_|[^\s\w]")


def smoothed_bleu(prediction: str, reference: str) -> float:
    """From 0 to 100; what follows a tab in either is ignored, as that script does."""
    written, wanted = _tokens(prediction), _tokens(reference)
    logs = [_log_precision(order, written, wanted) for order in range(1, _MAX_ORDER + 1)]
    brevity = min(0.0, 1 - (len(wanted) + 1) / (len(written) + 1))
    return 100 * math.exp(sum(logs) / _MAX_ORDER + brevity)


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.strip().partition("\t")[0].lower())


def _log_precision(order: int, written: Sequence[str], wanted: Sequence[str]) -> float:
    """Of the written n-grams of one order, each matched at most as often as it is wanted.

    The least float stands for none, so that a sentence without a right word scores next to nothing, and one
    without a word at all has only its brevity against it.
    """
    candidates = _ngrams(written, order)
    matches = (candidates & _ngrams(wanted, order)).total()
    added = (order > 1) + sys.float_info.min
    return math.log(matches + added) - math.log(candidates.total() + added)


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))
