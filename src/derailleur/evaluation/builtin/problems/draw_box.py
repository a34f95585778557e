def draw_box(lines: list[str]) -> list[str]:
    """Draw a box around lines of text, each padded with spaces to the length of the longest.
    Corners are '+', horizontal edges '-', vertical edges '|', and there is one space between a vertical
    edge and the text.
    >>> draw_box(['ab', 'c'])
    ['+----+', '| ab |', '| c  |', '+----+']
    """
    width = max((len(line) for line in lines), default=0)
    edge = "+" + "-" * (width + 2) + "+"
    return [edge, *(f"| {line:<{width}} |" for line in lines), edge]


def check(candidate):
    assert candidate([]) == ["+--+", "+--+"]
    assert candidate([""]) == ["+--+", "|  |", "+--+"]
    assert candidate(["ab", "c"]) == ["+----+", "| ab |", "| c  |", "+----+"]
    assert candidate(["x", "long"]) == ["+------+", "| x    |", "| long |", "+------+"]
    assert candidate(["a b"]) == ["+-----+", "| a b |", "+-----+"]
    assert candidate(["1", "22", "1"]) == ["+----+", "| 1  |", "| 22 |", "| 1  |", "+----+"]
