def bus_passengers(stops: list[tuple[int, int]], seats: int) -> int:
    """A bus starts empty. At every stop first some passengers get off and then some people want to get on,
    given as a tuple of these two numbers. As many get on as there are free seats. Return how many people
    could not get on in all.
    >>> bus_passengers([(0, 3), (1, 4)], 5)
    1
    """
    passengers = 0
    refused = 0
    for off, on in stops:
        passengers += on - off
        if passengers > seats:
            refused += passengers - seats
            passengers = seats
    return refused


def check(candidate):
    assert candidate([], 5) == 0
    assert candidate([(0, 3), (1, 4)], 5) == 1
    assert candidate([(0, 9)], 4) == 5
    assert candidate([(0, 4), (4, 4)], 4) == 0
    assert candidate([(0, 6), (2, 3), (0, 1)], 5) == 3
    assert candidate([(0, 10), (5, 0), (0, 5)], 8) == 2
    assert candidate([(0, 1)], 0) == 1
