def collapse_numbers(numbers: list[int]) -> str:
    """Write a sorted list of distinct whole numbers from 0 as short as possible: three or more numbers
    in a row become a range with a hyphen, all parts are separated by commas without spaces.
    >>> collapse_numbers([1, 2, 3, 7])
    '1-3,7'
    >>> collapse_numbers([4, 5, 8])
    '4,5,8'
    """
    parts = []
    start = 0
    while start < len(numbers):
        end = start
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        if end - start >= 2:
            parts.append(f"{numbers[start]}-{numbers[end]}")
        else:
            parts.extend(str(number) for number in numbers[start : end + 1])
        start = end + 1
    return ",".join(parts)


def check(candidate):
    assert candidate([]) == ""
    assert candidate([6]) == "6"
    assert candidate([1, 2, 3, 7]) == "1-3,7"
    assert candidate([4, 5, 8]) == "4,5,8"
    assert candidate([0, 1, 2]) == "0-2"
    assert candidate([1, 2, 4, 5, 6, 7, 9]) == "1,2,4-7,9"
    assert candidate([8, 10, 12]) == "8,10,12"
    assert candidate([98, 99, 100, 102, 103, 104]) == "98-100,102-104"
