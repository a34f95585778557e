def card_is_valid(card: str) -> bool:
    """Check the number of a bank card by the Luhn rule. Going from the last digit to the first, every second
    digit is doubled, and 9 is taken off what is more than 9 then. The card is valid if the sum of all is
    divisible by 10. Spaces do not count, and a card without digits is not valid.
    >>> card_is_valid('4539 1488 0343 6467')
    True
    >>> card_is_valid('4539 1488 0343 6468')
    False
    """
    digits = [int(character) for character in reversed(card) if character != " "]
    total = 0
    for place, digit in enumerate(digits):
        if place % 2 == 1:
            digit *= 2
            if digit > 9:
                digit -= 9
        total += digit
    return len(digits) > 0 and total % 10 == 0


def check(candidate):
    assert candidate("") == False
    assert candidate("0") == True
    assert candidate("18") == True
    assert candidate("81") == False
    assert candidate("59") == True
    assert candidate("4539 1488 0343 6467") == True
    assert candidate("4539 1488 0343 6468") == False
    assert candidate("8273 1232 7352 0569") == False
    assert candidate("7992 7398 713") == True
