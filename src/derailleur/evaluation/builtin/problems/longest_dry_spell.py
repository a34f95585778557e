def longest_dry_spell(rain: list[float], limit: float) -> int:
    """Return the largest number of days in a row with less rain than limit.
    >>> longest_dry_spell([0.0, 4.5, 0.5, 0.0, 2.0], 1.0)
    2
    """
    longest = 0
    days = 0
    for amount in rain:
        days = days + 1 if amount < limit else 0
        longest = max(longest, days)
    return longest


def check(candidate):
    assert candidate([], 1.0) == 0
    assert candidate([5.0, 3.0], 1.0) == 0
    assert candidate([0.0, 4.5, 0.5, 0.0, 2.0], 1.0) == 2
    assert candidate([1.0, 0.5], 1.0) == 1
    assert candidate([0.0, 0.0, 0.0], 0.5) == 3
    assert candidate([0.0, 0.0, 9.0, 0.0], 1.0) == 2
    assert candidate([9.0, 0.0, 9.0, 0.0, 0.25, 0.5, 0.0], 1.0) == 4
