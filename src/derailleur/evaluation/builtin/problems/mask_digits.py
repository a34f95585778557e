def mask_digits(text: str, visible: int) -> str:
    """Replace the digits of a text by '*', all but the last visible ones. Other characters stay.
    >>> mask_digits('Card 1234-5678', 4)
    'Card ****-5678'
    """
    left = sum(character.isdigit() for character in text) - visible
    masked = ""
    for character in text:
        if character.isdigit():
            masked += "*" if left > 0 else character
            left -= 1
        else:
            masked += character
    return masked


def check(candidate):
    assert candidate("", 4) == ""
    assert candidate("Card 1234-5678", 4) == "Card ****-5678"
    assert candidate("12", 4) == "12"
    assert candidate("12", 0) == "**"
    assert candidate("a1b2c3", 1) == "a*b*c3"
    assert candidate("no digits", 2) == "no digits"
    assert candidate("9x8", 2) == "9x8"
    assert candidate("+49 30 901820", 3) == "+** ** ***820"
