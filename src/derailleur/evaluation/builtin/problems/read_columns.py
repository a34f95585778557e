def read_columns(message: str, width: int) -> str:
    """Write a message into rows of a given width, and read it column by column, from the first column on.
    The last row may be shorter.
    >>> read_columns('HELLOWORLD', 4)
    'HOLEWDLOLR'
    """
    return "".join(message[column::width] for column in range(width))


def check(candidate):
    assert candidate("", 3) == ""
    assert candidate("HELLOWORLD", 4) == "HOLEWDLOLR"
    assert candidate("abc", 1) == "abc"
    assert candidate("abc", 5) == "abc"
    assert candidate("abcdef", 2) == "acebdf"
    assert candidate("abcdef", 3) == "adbecf"
    assert candidate("a b c d", 2) == "abcd   "
