def tree_levels(parents: list[int]) -> int:
    """Return the number of levels of a tree. Its nodes are numbered from 0, and entry i of the list is the
    parent of node i, or -1 if node i is the root. A list without nodes has 0 levels.
    >>> tree_levels([-1, 0, 0, 1])
    3
    """

    def level(node: int) -> int:
        return 0 if node == -1 else 1 + level(parents[node])

    return max((level(node) for node in range(len(parents))), default=0)


def check(candidate):
    assert candidate([]) == 0
    assert candidate([-1]) == 1
    assert candidate([-1, 0, 0, 1]) == 3
    assert candidate([1, 2, 3, -1]) == 4
    assert candidate([4, 4, 4, 4, -1]) == 2
    assert candidate([2, 0, -1, 2, 1, 3, 4]) == 5
