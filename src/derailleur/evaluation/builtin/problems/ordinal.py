def ordinal(number: int) -> str:
    """Write a number from 1 with its English ending: 1st, 2nd, 3rd, 4th and so on. Numbers whose last two
    digits are 11, 12 or 13 end with th.
    >>> ordinal(22)
    '22nd'
    >>> ordinal(112)
    '112th'
    """
    endings = {1: "st", 2: "nd", 3: "rd"}
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{endings.get(number % 10, 'th')}"


def check(candidate):
    assert candidate(1) == "1st"
    assert candidate(2) == "2nd"
    assert candidate(3) == "3rd"
    assert candidate(4) == "4th"
    assert candidate(10) == "10th"
    assert candidate(11) == "11th"
    assert candidate(12) == "12th"
    assert candidate(13) == "13th"
    assert candidate(22) == "22nd"
    assert candidate(112) == "112th"
    assert candidate(1001) == "1001st"
    assert candidate(1013) == "1013th"
