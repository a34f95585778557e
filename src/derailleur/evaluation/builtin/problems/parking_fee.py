def parking_fee(minutes: int) -> int:
    """Return what parking costs for a number of minutes.
    The first 30 minutes are free. After that every started hour, counted from the beginning,
    costs 2, but never more than 15 in all.
    >>> parking_fee(30)
    0
    >>> parking_fee(61)
    4
    """
    if minutes <= 30:
        return 0
    hours = (minutes + 59) // 60
    return min(2 * hours, 15)


def check(candidate):
    assert candidate(0) == 0
    assert candidate(30) == 0
    assert candidate(31) == 2
    assert candidate(60) == 2
    assert candidate(61) == 4
    assert candidate(420) == 14
    assert candidate(421) == 15
    assert candidate(1440) == 15
