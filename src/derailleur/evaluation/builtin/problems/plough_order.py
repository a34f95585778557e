def plough_order(field: list[list[int]]) -> list[int]:
    """Return the numbers of a field in the order of a plough: the first row from left to right, the second
    from right to left, and so on, turning at the end of every row.
    >>> plough_order([[1, 2], [3, 4], [5, 6]])
    [1, 2, 4, 3, 5, 6]
    """
    order = []
    for number, row in enumerate(field):
        order.extend(row if number % 2 == 0 else row[::-1])
    return order


def check(candidate):
    assert candidate([]) == []
    assert candidate([[5, 6, 7]]) == [5, 6, 7]
    assert candidate([[1], [2], [3]]) == [1, 2, 3]
    assert candidate([[1, 2], [3, 4], [5, 6]]) == [1, 2, 4, 3, 5, 6]
    assert candidate([[1, 2, 3], [4, 5, 6]]) == [1, 2, 3, 6, 5, 4]
    assert candidate([[1, 2], [3, 4], [5, 6], [7, 8]]) == [1, 2, 4, 3, 5, 6, 8, 7]
    assert candidate([[0, -1], [9, 8, 7]]) == [0, -1, 7, 8, 9]
