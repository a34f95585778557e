def stock_after(deliveries: list[tuple[str, int]]) -> dict[str, int]:
    """Return how many pieces of each article are in stock after deliveries, each a tuple of an article
    and a number that is negative when pieces are taken out. More than there is cannot be taken: the number
    stops at 0. Articles of which no piece is left are not in the result.
    >>> stock_after([('nut', 5), ('bolt', 2), ('nut', -1), ('bolt', -3)])
    {'nut': 4}
    """
    stock: dict[str, int] = {}
    for article, number in deliveries:
        stock[article] = max(stock.get(article, 0) + number, 0)
    return {article: number for article, number in stock.items() if number > 0}


def check(candidate):
    assert candidate([]) == {}
    assert candidate([("nut", 5), ("bolt", 2), ("nut", -1), ("bolt", -3)]) == {"nut": 4}
    assert candidate([("nut", -5), ("nut", 2)]) == {"nut": 2}
    assert candidate([("a", 1), ("b", 2), ("a", 3)]) == {"a": 4, "b": 2}
    assert candidate([("a", 3), ("a", -3)]) == {}
    assert candidate([("a", 3), ("a", -2)]) == {"a": 1}
    assert candidate([("a", 0)]) == {}
