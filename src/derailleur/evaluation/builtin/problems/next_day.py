def next_day(year: int, month: int, day: int) -> tuple[int, int, int]:
    """Return the year, the month and the day of the date that follows a date of the Gregorian calendar.
    A year is a leap year if 4 divides it, except that of those that 100 divides only every fourth is one.
    >>> next_day(2023, 2, 28)
    (2023, 3, 1)
    >>> next_day(1999, 12, 31)
    (2000, 1, 1)
    """
    lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        lengths[1] = 29
    if day < lengths[month - 1]:
        return (year, month, day + 1)
    if month < 12:
        return (year, month + 1, 1)
    return (year + 1, 1, 1)


def check(candidate):
    assert candidate(2023, 2, 28) == (2023, 3, 1)
    assert candidate(1999, 12, 31) == (2000, 1, 1)
    assert candidate(2024, 2, 28) == (2024, 2, 29)
    assert candidate(2024, 2, 29) == (2024, 3, 1)
    assert candidate(1900, 2, 28) == (1900, 3, 1)
    assert candidate(2000, 2, 28) == (2000, 2, 29)
    assert candidate(2021, 1, 30) == (2021, 1, 31)
    assert candidate(2021, 1, 31) == (2021, 2, 1)
    assert candidate(2021, 3, 30) == (2021, 3, 31)
    assert candidate(2021, 3, 31) == (2021, 4, 1)
    assert candidate(2021, 4, 30) == (2021, 5, 1)
    assert candidate(2021, 5, 30) == (2021, 5, 31)
    assert candidate(2021, 5, 31) == (2021, 6, 1)
    assert candidate(2021, 6, 30) == (2021, 7, 1)
    assert candidate(2021, 7, 30) == (2021, 7, 31)
    assert candidate(2021, 7, 31) == (2021, 8, 1)
    assert candidate(2021, 8, 30) == (2021, 8, 31)
    assert candidate(2021, 8, 31) == (2021, 9, 1)
    assert candidate(2021, 9, 30) == (2021, 10, 1)
    assert candidate(2021, 10, 31) == (2021, 11, 1)
    assert candidate(2021, 11, 30) == (2021, 12, 1)
