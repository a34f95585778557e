def expand_pages(pages: str) -> list[int]:
    """List the pages that a print dialog's text stands for, in the order of the text.
    Parts are separated by commas, and a part is a page or a range of pages, both ends included.
    Spaces do not matter. An empty text stands for no page.
    >>> expand_pages('2, 5-7')
    [2, 5, 6, 7]
    """
    numbers = []
    for part in pages.replace(" ", "").split(","):
        if "-" in part:
            first, last = part.split("-")
            numbers.extend(range(int(first), int(last) + 1))
        elif part:
            numbers.append(int(part))
    return numbers


def check(candidate):
    assert candidate("") == []
    assert candidate(" ") == []
    assert candidate("4") == [4]
    assert candidate("2, 5-7") == [2, 5, 6, 7]
    assert candidate("9-11,1") == [9, 10, 11, 1]
    assert candidate("3-3") == [3]
    assert candidate(" 1 - 2 , 4 ") == [1, 2, 4]
    assert candidate("10,10") == [10, 10]
