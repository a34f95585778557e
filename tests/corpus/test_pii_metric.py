"""The one-to-one span metric against brute force, and its edge cases."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.corpus.pii.metric import Interval, Score, agree, match

INTERVALS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 25)).map(lambda pair: (pair[0], sum(pair))), max_size=5
)


def largest(found: list[Interval], annotated: list[Interval]) -> int:
    """Try every way to give each found span a partner of its own."""
    partners = [*range(len(annotated)), *[None] * len(found)]
    return max(
        sum(
            partner is not None and overlaps_enough(span, annotated[partner])
            for span, partner in zip(found, chosen, strict=True)
        )
        for chosen in set(permutations(partners, len(found)))
    )


def overlaps_enough(left: Interval, right: Interval) -> bool:
    common = set(range(*left)) & set(range(*right))
    return len(common) / (left[1] - left[0]) > 0.8 and len(common) / (right[1] - right[0]) > 0.8


@given(st.tuples(INTERVALS, INTERVALS))
def test_as_many_are_matched_as_can_be(both: tuple[list[Interval], list[Interval]]) -> None:
    found, annotated = both[0][:4], both[1][:4]
    pairs = match(found, annotated)
    assert len(pairs) == largest(found, annotated)
    assert len({left for left, _ in pairs}) == len({right for _, right in pairs}) == len(pairs)
    assert all(agree(found[left], annotated[right]) for left, right in pairs)


@given(INTERVALS, INTERVALS)
def test_agreement_is_the_share_of_common_characters(left: list[Interval], right: list[Interval]) -> None:
    for one in left:
        for other in right:
            assert agree(one, other) == agree(other, one) == overlaps_enough(one, other)


def test_an_annotation_is_used_once() -> None:
    assert match([(0, 10), (0, 10)], [(0, 10)]) in ([(0, 0)], [(1, 0)])


def test_taking_the_first_that_fits_would_not_do() -> None:
    assert sorted(match([(5, 105), (0, 90)], [(0, 100), (15, 115)])) == [(0, 1), (1, 0)]


def test_exactly_eight_tenths_are_too_little() -> None:
    assert not agree((0, 10), (2, 10))
    assert agree((0, 100), (19, 100))


@pytest.mark.parametrize(
    ("score", "precision", "recall", "f1"),
    [
        (Score(), 1.0, 1.0, 1.0),
        (Score(false_positives=2), 0.0, 0.0, 0.0),
        (Score(false_negatives=2), 0.0, 0.0, 0.0),
        (Score(6, 2, 6), 0.75, 0.5, 0.6),
    ],
)
def test_shares(score: Score, precision: float, recall: float, f1: float) -> None:
    assert (score.precision, score.recall) == (precision, recall)
    assert score.f1 == pytest.approx(f1)


def test_scores_add_up() -> None:
    assert Score(1, 2, 3) + Score(4, 5, 6) == Score(5, 7, 9)
