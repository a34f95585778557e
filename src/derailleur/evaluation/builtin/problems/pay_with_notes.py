def pay_with_notes(amount: int, notes: list[int]) -> list[int]:
    """Pay an amount with banknotes, always with the largest note that is not more than what is left to pay.
    Return the notes in the order of paying, without what is smaller than the smallest note.
    The notes are in no order, and there are enough of each.
    >>> pay_with_notes(85, [10, 50, 20])
    [50, 20, 10]
    """
    paid = []
    for note in sorted(notes, reverse=True):
        while note <= amount:
            paid.append(note)
            amount -= note
    return paid


def check(candidate):
    assert candidate(85, [10, 50, 20]) == [50, 20, 10]
    assert candidate(0, [5, 10]) == []
    assert candidate(4, [5, 10]) == []
    assert candidate(40, [20, 10]) == [20, 20]
    assert candidate(6, [4, 3, 1]) == [4, 1, 1]
    assert candidate(100, [100]) == [100]
    assert candidate(99, []) == []
    assert candidate(37, [5, 20, 10]) == [20, 10, 5]
