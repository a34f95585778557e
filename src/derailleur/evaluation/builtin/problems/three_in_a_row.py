def three_in_a_row(board: list[str]) -> str:
    """Return 'X' or 'O', whichever has three in a row on a board of three rows with three characters each:
    in a row, in a column or along a diagonal. Return '-' if none has. Empty cells are '.'.
    >>> three_in_a_row(['XO.', 'XO.', 'X..'])
    'X'
    """
    columns = ["".join(column) for column in zip(*board)]
    diagonals = ["".join(board[i][i] for i in range(3)), "".join(board[i][2 - i] for i in range(3))]
    for line in board + columns + diagonals:
        if line in ("XXX", "OOO"):
            return line[0]
    return "-"


def check(candidate):
    assert candidate(["...", "...", "..."]) == "-"
    assert candidate(["XO.", "XO.", "X.."]) == "X"
    assert candidate(["X.X", "OOO", "X.."]) == "O"
    assert candidate(["X.O", ".XO", "..X"]) == "X"
    assert candidate(["..O", ".O.", "O.X"]) == "O"
    assert candidate(["XOX", "XOO", "OXX"]) == "-"
    assert candidate([".XO", ".XO", "..O"]) == "O"
    assert candidate(["OO.", "...", "XXX"]) == "X"
    assert candidate(["OOX", "XXO", "OXX"]) == "-"
    assert candidate([".O.", "XOX", ".O."]) == "O"
    assert candidate(["XXX", "OO.", "..."]) == "X"
