def final_grade(marks: list[tuple[float, int]]) -> float:
    """Return the mean of marks, each given as a tuple of the mark and its weight. Return 0.0 if the weights
    add up to 0.
    >>> final_grade([(2.0, 1), (4.0, 3)])
    3.5
    """
    weights = sum(weight for _, weight in marks)
    if weights == 0:
        return 0.0
    return sum(mark * weight for mark, weight in marks) / weights


def check(candidate):
    assert candidate([]) == 0.0
    assert candidate([(5.0, 0)]) == 0.0
    assert candidate([(1.5, 2)]) == 1.5
    assert candidate([(2.0, 1), (4.0, 3)]) == 3.5
    assert candidate([(1.0, 1), (2.0, 1)]) == 1.5
    assert candidate([(3.0, 2), (0.0, 2), (1.0, 0)]) == 1.5
    assert candidate([(6.0, 1), (2.5, 2), (1.0, 5)]) == 2.0
