def share_sweets(bags: list[int], children: int) -> tuple[int, int]:
    """All sweets of some bags are shared among children so that each child gets as many as the others, and
    as many as possible. Return a tuple of what each child gets and what is left over. Without children, all
    sweets are left over.
    >>> share_sweets([5, 8], 4)
    (3, 1)
    """
    sweets = sum(bags)
    if children == 0:
        return (0, sweets)
    return (sweets // children, sweets % children)


def check(candidate):
    assert candidate([], 2) == (0, 0)
    assert candidate([5, 8], 4) == (3, 1)
    assert candidate([3], 0) == (0, 3)
    assert candidate([7, 7, 7], 7) == (3, 0)
    assert candidate([2], 5) == (0, 2)
    assert candidate([10, 0, 1], 1) == (11, 0)
