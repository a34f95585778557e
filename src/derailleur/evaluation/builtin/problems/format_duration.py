def format_duration(seconds: int) -> str:
    """Write a number of seconds as minutes and seconds, or as hours, minutes and seconds from one hour on.
    All parts but the first have two digits.
    >>> format_duration(65)
    '1:05'
    >>> format_duration(3600)
    '1:00:00'
    """
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def check(candidate):
    assert candidate(0) == "0:00"
    assert candidate(9) == "0:09"
    assert candidate(65) == "1:05"
    assert candidate(600) == "10:00"
    assert candidate(3599) == "59:59"
    assert candidate(3600) == "1:00:00"
    assert candidate(3725) == "1:02:05"
    assert candidate(360000) == "100:00:00"
