def lit_windows(code: int) -> list[int]:
    """A house has windows that are numbered from 0. Window i is lit if bit i of code is 1, where bit 0 is
    the lowest bit. Return the numbers of the lit windows, the smallest first.
    >>> lit_windows(10)
    [1, 3]
    """
    windows = []
    window = 0
    while code >> window:
        if code >> window & 1:
            windows.append(window)
        window += 1
    return windows


def check(candidate):
    assert candidate(0) == []
    assert candidate(1) == [0]
    assert candidate(10) == [1, 3]
    assert candidate(7) == [0, 1, 2]
    assert candidate(64) == [6]
    assert candidate(1023) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert candidate(1048577) == [0, 20]
