def name_badge(name: str) -> str:
    """Shorten a full name for a badge: the last word is kept in capital letters, and every word before it
    becomes its first letter, also capital, with a dot and a space behind it.
    >>> name_badge('ada king lovelace')
    'A. K. LOVELACE'
    """
    words = name.upper().split()
    initials = [word[0] + ". " for word in words[:-1]]
    return "".join(initials + words[-1:])


def check(candidate):
    assert candidate("") == ""
    assert candidate("plato") == "PLATO"
    assert candidate("ada king lovelace") == "A. K. LOVELACE"
    assert candidate("Grace Hopper") == "G. HOPPER"
    assert candidate("J R R Tolkien") == "J. R. R. TOLKIEN"
    assert candidate("ursula k. le guin") == "U. K. L. GUIN"
