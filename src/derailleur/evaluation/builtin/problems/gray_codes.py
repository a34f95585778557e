def gray_codes(bits: int) -> list[str]:
    """List all texts of '0' and '1' of length bits in the order of the reflected Gray code. The list for
    one bit more is the list with '0' put before each text, followed by the list in reverse order with '1'
    put before each text. The list for 0 bits holds the empty text alone.
    >>> gray_codes(2)
    ['00', '01', '11', '10']
    """
    if bits == 0:
        return [""]
    shorter = gray_codes(bits - 1)
    return ["0" + code for code in shorter] + ["1" + code for code in reversed(shorter)]


def check(candidate):
    assert candidate(0) == [""]
    assert candidate(1) == ["0", "1"]
    assert candidate(2) == ["00", "01", "11", "10"]
    assert candidate(3) == ["000", "001", "011", "010", "110", "111", "101", "100"]
    assert candidate(4) == [
        "0000",
        "0001",
        "0011",
        "0010",
        "0110",
        "0111",
        "0101",
        "0100",
        "1100",
        "1101",
        "1111",
        "1110",
        "1010",
        "1011",
        "1001",
        "1000",
    ]
    assert candidate(5) == [
        "00000",
        "00001",
        "00011",
        "00010",
        "00110",
        "00111",
        "00101",
        "00100",
        "01100",
        "01101",
        "01111",
        "01110",
        "01010",
        "01011",
        "01001",
        "01000",
        "11000",
        "11001",
        "11011",
        "11010",
        "11110",
        "11111",
        "11101",
        "11100",
        "10100",
        "10101",
        "10111",
        "10110",
        "10010",
        "10011",
        "10001",
        "10000",
    ]
