def robot_position(commands: str) -> tuple[int, int]:
    """Return the x and the y of a robot that starts at (0, 0), facing up, after its commands:
    'F' moves it one step ahead, 'L' and 'R' turn it by a quarter to its left or right. Up is larger y.
    >>> robot_position('FRFF')
    (2, 1)
    """
    x, y = 0, 0
    dx, dy = 0, 1
    for command in commands:
        if command == "F":
            x, y = x + dx, y + dy
        elif command == "L":
            dx, dy = -dy, dx
        else:
            dx, dy = dy, -dx
    return (x, y)


def check(candidate):
    assert candidate("") == (0, 0)
    assert candidate("FFF") == (0, 3)
    assert candidate("FRFF") == (2, 1)
    assert candidate("LFF") == (-2, 0)
    assert candidate("LLF") == (0, -1)
    assert candidate("RRRF") == (-1, 0)
    assert candidate("FLFLFLF") == (0, 0)
    assert candidate("FRFRFFLF") == (2, -1)
