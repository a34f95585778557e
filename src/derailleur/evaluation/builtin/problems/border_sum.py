def border_sum(grid: list[list[int]]) -> int:
    """Add up the numbers on the border of a rectangular grid, each of them once.
    >>> border_sum([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    40
    """
    total = 0
    for row, values in enumerate(grid):
        for column, value in enumerate(values):
            if row in (0, len(grid) - 1) or column in (0, len(values) - 1):
                total += value
    return total


def check(candidate):
    assert candidate([]) == 0
    assert candidate([[7]]) == 7
    assert candidate([[1, 2, 3]]) == 6
    assert candidate([[1], [2], [3], [4]]) == 10
    assert candidate([[1, 2], [3, 4]]) == 10
    assert candidate([[1, 2, 3], [4, 5, 6], [7, 8, 9]]) == 40
    assert candidate([[1, 0, 0, 2], [0, 50, 60, 0], [3, 0, 0, -4]]) == 2
