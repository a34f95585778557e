def seats_together(row: str, people: int) -> int | None:
    """Return the number of the first seat from which on a group of people finds free seats next to each
    other in a row of a cinema. Seats are numbered from 1, a free one is '.', a taken one is 'x'.
    Return None if there is no room for the group.
    >>> seats_together('x..x...', 3)
    5
    >>> seats_together('.x.', 2)
    None
    """
    free = 0
    for number, seat in enumerate(row, start=1):
        free = free + 1 if seat == "." else 0
        if free == people:
            return number - people + 1
    return None


def check(candidate):
    assert candidate("", 1) == None
    assert candidate(".", 1) == 1
    assert candidate("x", 1) == None
    assert candidate("x..x...", 3) == 5
    assert candidate("x..x...", 2) == 2
    assert candidate("x..x...", 4) == None
    assert candidate(".x.", 2) == None
    assert candidate("....", 4) == 1
    assert candidate("xx.x.x..", 2) == 7
