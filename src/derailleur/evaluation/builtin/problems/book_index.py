def book_index(pages: dict[str, str]) -> dict[str, list[str]]:
    """Given a dictionary from the names of pages to their texts, return a dictionary from each word to the
    sorted list of the pages it is on. Words are separated by one space, and case does not matter: all words
    of the index are in lower case.
    >>> book_index({'p1': 'Red fox', 'p2': 'red red hen'})
    {'red': ['p1', 'p2'], 'fox': ['p1'], 'hen': ['p2']}
    """
    index: dict[str, list[str]] = {}
    for page in sorted(pages):
        for word in pages[page].lower().split():
            found = index.setdefault(word, [])
            if page not in found:
                found.append(page)
    return index


def check(candidate):
    assert candidate({}) == {}
    assert candidate({"p1": ""}) == {}
    assert candidate({"p1": "Red fox", "p2": "red red hen"}) == {
        "red": ["p1", "p2"],
        "fox": ["p1"],
        "hen": ["p2"],
    }
    assert candidate({"b": "tea", "a": "tea"}) == {"tea": ["a", "b"]}
    assert candidate({"x": "Go go GO"}) == {"go": ["x"]}
    assert candidate({"2": "one two", "1": "two three", "3": "two"}) == {
        "one": ["2"],
        "two": ["1", "2", "3"],
        "three": ["1"],
    }
