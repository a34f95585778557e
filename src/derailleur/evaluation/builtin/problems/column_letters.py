def column_letters(number: int) -> str:
    """Return the letters above a column of a spreadsheet, where columns are numbered from 1.
    After 'Z' comes 'AA', then 'AB', and after 'AZ' comes 'BA'.
    >>> column_letters(3)
    'C'
    >>> column_letters(28)
    'AB'
    """
    letters = ""
    while number > 0:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def check(candidate):
    assert candidate(1) == "A"
    assert candidate(26) == "Z"
    assert candidate(27) == "AA"
    assert candidate(28) == "AB"
    assert candidate(52) == "AZ"
    assert candidate(53) == "BA"
    assert candidate(702) == "ZZ"
    assert candidate(703) == "AAA"
