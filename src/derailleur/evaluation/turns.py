"""A fair random choice: no file gives a second problem before every file has given one."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_Problem = TypeVar("_Problem")


def take_turns(groups: Sequence[Sequence[_Problem]], number: int, rng: np.random.Generator) -> list[_Problem]:
    """At most `number` problems, the groups in a random order giving one after the other.

    Args:
        groups: the problems of each file.
    """
    shuffled = []
    for index in rng.permutation(len(groups)):
        group = groups[index]
        shuffled.append([(group[problem],) for problem in rng.permutation(len(group))])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
    return [problem for turn in itertools.islice(filter(None, turns), number) for problem in turn]
