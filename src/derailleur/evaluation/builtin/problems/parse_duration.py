def parse_duration(text: str) -> int:
    """Return the number of seconds in a text such as '2h30m', made of numbers that are followed by
    a unit: d for days, h for hours, m for minutes, s for seconds. The units come in any order.
    >>> parse_duration('2m5s')
    125
    >>> parse_duration('1d')
    86400
    """
    seconds_in = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    total = 0
    number = 0
    for character in text:
        if character.isdigit():
            number = 10 * number + int(character)
        else:
            total += number * seconds_in[character]
            number = 0
    return total


def check(candidate):
    assert candidate("") == 0
    assert candidate("45s") == 45
    assert candidate("2m5s") == 125
    assert candidate("1d") == 86400
    assert candidate("2h30m") == 9000
    assert candidate("10s1h") == 3610
    assert candidate("0h12m0s") == 720
    assert candidate("1d1h1m1s") == 90061
