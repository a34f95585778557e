def keypad_digits(word: str) -> str:
    """Return the digits that spell a word on the keypad of a phone: 2 has abc, 3 def, 4 ghi, 5 jkl,
    6 mno, 7 pqrs, 8 tuv and 9 wxyz. Case does not matter; anything but a letter is kept as it is.
    >>> keypad_digits('Taxi-24')
    '8294-24'
    """
    keys = "22233344455566677778889999"
    digits = ""
    for character in word.lower():
        digits += keys[ord(character) - ord("a")] if "a" <= character <= "z" else character
    return digits


def check(candidate):
    assert candidate("") == ""
    assert candidate("Taxi-24") == "8294-24"
    assert candidate("abcdefghijklm") == "2223334445556"
    assert candidate("NOPQRSTUVWXYZ") == "6677778889999"
    assert candidate("hello world") == "43556 96753"
    assert candidate("{az}") == "{29}"
    assert candidate("09") == "09"
