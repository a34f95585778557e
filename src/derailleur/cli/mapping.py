"""How a plan's tensors are shown: those that differ in their layer alone are one line."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LAYER_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def mapping_lines(tensors: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a mapping.

    Args:
        tensors: each with `source`, `shape` and `dtype` (None where they are not known) and `targets`.
    """
    for line, count in Counter(map(_line, tensors)).items():
        yield f"{count:>5} x {line}"


def _line(tensor: Mapping[str, Any]) -> str:
    targets = [_LAYER_NUMBER.sub("*", target) for target in tensor["targets"]]
    shape = f" {list(tensor['shape'])} {tensor['dtype']}" if tensor["shape"] is not None else ""
    return f"{_LAYER_NUMBER.sub('*', tensor['source'])}{shape} -> {', '.join(targets) or 'left out'}"
