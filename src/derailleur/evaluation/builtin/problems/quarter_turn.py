def quarter_turn(picture: list[str]) -> list[str]:
    """Turn a picture, given as rows of equal length, by a quarter clockwise.
    >>> quarter_turn(['ab', 'cd'])
    ['ca', 'db']
    """
    return ["".join(column) for column in zip(*reversed(picture))]


def check(candidate):
    assert candidate([]) == []
    assert candidate(["x"]) == ["x"]
    assert candidate(["ab", "cd"]) == ["ca", "db"]
    assert candidate(["abc"]) == ["a", "b", "c"]
    assert candidate(["a", "b", "c"]) == ["cba"]
    assert candidate(["..#", ".#."]) == ["..", "#.", ".#"]
    assert candidate(["123", "456", "789"]) == ["741", "852", "963"]
