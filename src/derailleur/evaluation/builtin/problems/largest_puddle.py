def largest_puddle(yard: list[str]) -> int:
    """Return the size of the largest puddle in a yard of dry '.' and wet '~' cells, or 0 if all is dry.
    Wet cells that touch each other above, below, left or right belong to one puddle.
    >>> largest_puddle(['~~.', '..~', '.~~'])
    3
    """
    wet = {(row, column) for row, line in enumerate(yard) for column, cell in enumerate(line) if cell == "~"}
    largest = 0
    while wet:
        size = 0
        waiting = [wet.pop()]
        while waiting:
            row, column = waiting.pop()
            size += 1
            for near in [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]:
                if near in wet:
                    wet.remove(near)
                    waiting.append(near)
        largest = max(largest, size)
    return largest


def check(candidate):
    assert candidate([]) == 0
    assert candidate(["...", "..."]) == 0
    assert candidate(["~"]) == 1
    assert candidate(["~~.", "..~", ".~~"]) == 3
    assert candidate(["~.~", ".~.", "~.~"]) == 1
    assert candidate(["~~~", "~.~", "~~~"]) == 8
    assert candidate(["~..~", "~..~", "~~.~", "...~"]) == 4
    assert candidate([".~~~.", ".~.~.", "...~~"]) == 7
    assert candidate(["~.~", "~.~", "~~~"]) == 7
    assert candidate(["~~~", "~.~", "~.~"]) == 7
    assert candidate(["~..", "~.~", "~.~"]) == 3
    assert candidate([".~", "~~"]) == 3
    assert candidate(["~~", "~."]) == 3
    assert candidate(["~~", ".~"]) == 3
    assert candidate(["~~~~"]) == 4
    assert candidate(["~", ".", "~", ".", "~", ".", "~"]) == 1
