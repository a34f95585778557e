def top_customers(orders: list[tuple[str, int]], count: int) -> list[str]:
    """Return the names of the customers who spent the most in all of their orders, at most count of them.
    The one who spent the most comes first; of two who spent the same, the first by alphabet.
    >>> top_customers([('bo', 5), ('al', 3), ('al', 4), ('cy', 5)], 2)
    ['al', 'bo']
    """
    spent: dict[str, int] = {}
    for name, amount in orders:
        spent[name] = spent.get(name, 0) + amount
    ranked = sorted(spent, key=lambda name: (-spent[name], name))
    return ranked[:count]


def check(candidate):
    assert candidate([], 3) == []
    assert candidate([("bo", 5), ("al", 3), ("al", 4), ("cy", 5)], 2) == ["al", "bo"]
    assert candidate([("bo", 5), ("al", 5)], 5) == ["al", "bo"]
    assert candidate([("a", 1), ("b", 2), ("c", 3)], 1) == ["c"]
    assert candidate([("a", 1), ("b", 2), ("c", 3)], 0) == []
    assert candidate([("x", 10), ("y", 4), ("y", 7), ("z", 100)], 3) == ["z", "y", "x"]
