def query_values(address: str) -> dict[str, str]:
    """Return the parameters of a web address as a dictionary: what comes after the first '?' is made of parts
    that are separated by '&', each with a name, '=' and a value. A part without '=' has an empty value, and
    of parts with the same name the last one counts. There may be no '?' at all, or nothing after it.
    >>> query_values('http://x.org/find?q=bike&page=2')
    {'q': 'bike', 'page': '2'}
    """
    values = {}
    query = address.partition("?")[2]
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            values[name] = value
    return values


def check(candidate):
    assert candidate("http://x.org") == {}
    assert candidate("http://x.org/?") == {}
    assert candidate("http://x.org/find?q=bike&page=2") == {"q": "bike", "page": "2"}
    assert candidate("a?flag&n=1") == {"flag": "", "n": "1"}
    assert candidate("a?k=1&k=2") == {"k": "2"}
    assert candidate("a?e=m=c") == {"e": "m=c"}
    assert candidate("a?why=who?") == {"why": "who?"}
    assert candidate("a=b&c=d?e=f") == {"e": "f"}
