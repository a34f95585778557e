def wrap_words(text: str, width: int) -> list[str]:
    """Break a text into lines of at most width characters, with as many words on each line as fit.
    Words are separated by one space; a word that is longer than width gets a line of its own.
    >>> wrap_words('to be or not to be', 6)
    ['to be', 'or not', 'to be']
    """
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def check(candidate):
    assert candidate("", 5) == []
    assert candidate("word", 10) == ["word"]
    assert candidate("to be or not to be", 6) == ["to be", "or not", "to be"]
    assert candidate("a bb ccc", 4) == ["a bb", "ccc"]
    assert candidate("a bb ccc", 3) == ["a", "bb", "ccc"]
    assert candidate("incomprehensibilities are rare", 8) == ["incomprehensibilities", "are rare"]
    assert candidate("one two three", 100) == ["one two three"]
    assert candidate("x y z", 1) == ["x", "y", "z"]
