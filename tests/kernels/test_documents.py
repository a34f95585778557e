"""Where packed documents lie."""

import pytest
import torch

from derailleur.errors import ShapeError
from derailleur.kernels import document_positions, documents_of

X = torch.zeros(1, 7, 2)


def test_documents() -> None:
    assert documents_of(torch.zeros(3, 7), None) == [range(7)]
    assert documents_of(X, torch.tensor([0, 2, 2, 7])) == [range(0, 2), range(2, 2), range(2, 7)]


def test_positions_start_anew() -> None:
    assert document_positions(X, torch.tensor([0, 2, 2, 7])).tolist() == [0, 1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("bounds", [[0], [0, 6], [1, 7], [0, 5, 3, 7]], ids=str)
def test_bounds_must_fit(bounds: list[int]) -> None:
    with pytest.raises(ShapeError, match="expected cu_seqlens to rise from 0 to 7"):
        documents_of(X, torch.tensor(bounds))


def test_one_row() -> None:
    with pytest.raises(ShapeError, match="expected one row, got a batch of 2"):
        documents_of(torch.zeros(2, 7), torch.tensor([0, 7]))
