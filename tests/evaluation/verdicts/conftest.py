"""A worker's sandbox, in which programs are judged for real."""

from collections.abc import Iterator

import pytest

from derailleur.evaluation.sandbox import RefusedError, Sandbox, open_sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The best sandbox that this machine has."""
    try:
        opened = open_sandbox()
    except RefusedError as refusal:
        pytest.skip(f"needs a sandbox: {refusal}")
    with opened:
        yield opened
