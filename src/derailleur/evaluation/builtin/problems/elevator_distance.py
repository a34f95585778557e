def elevator_distance(floors: list[int]) -> int:
    """Return how many floors an elevator travels, up and down together, when it starts at floor 0, goes to
    the floors of a list in their order, and comes back to floor 0.
    >>> elevator_distance([3, 1])
    6
    """
    distance = 0
    floor = 0
    for stop in [*floors, 0]:
        distance += abs(stop - floor)
        floor = stop
    return distance


def check(candidate):
    assert candidate([]) == 0
    assert candidate([0]) == 0
    assert candidate([5]) == 10
    assert candidate([3, 1]) == 6
    assert candidate([-2, 4]) == 12
    assert candidate([2, 2, 7, 1]) == 14
    assert candidate([-1, -3, -2]) == 6
