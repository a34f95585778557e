def multiplication_steps(number: int) -> int:
    """Replace a number by the product of its digits until it has one digit, and return how many times that
    took.
    >>> multiplication_steps(39)
    3
    >>> multiplication_steps(7)
    0
    """
    steps = 0
    while number > 9:
        product = 1
        while number > 0:
            product *= number % 10
            number //= 10
        number = product
        steps += 1
    return steps


def check(candidate):
    assert candidate(0) == 0
    assert candidate(7) == 0
    assert candidate(9) == 0
    assert candidate(10) == 1
    assert candidate(25) == 2
    assert candidate(39) == 3
    assert candidate(999) == 4
    assert candidate(6788) == 6
