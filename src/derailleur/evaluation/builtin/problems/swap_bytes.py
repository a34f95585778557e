def swap_bytes(number: int) -> int:
    """Return the number with its four bytes in reverse order. It is at least 0 and less than 2 to the power
    of 32.
    >>> swap_bytes(1)
    16777216
    >>> swap_bytes(258)
    33619968
    """
    swapped = 0
    for _ in range(4):
        swapped = swapped << 8 | number & 255
        number >>= 8
    return swapped


def check(candidate):
    assert candidate(0) == 0
    assert candidate(1) == 16777216
    assert candidate(258) == 33619968
    assert candidate(16777216) == 1
    assert candidate(255) == 4278190080
    assert candidate(4294967295) == 4294967295
    assert candidate(305419896) == 2018915346
    assert candidate(65280) == 16711680
