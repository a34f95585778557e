def alone_in_room(log: list[str]) -> str | None:
    """Return the name of the person who is alone in a room in the end, or None if nobody is there or
    several people are. The room is empty at first. An entry of the log is '+' and a name for a person who
    comes in, or '-' and a name for one who leaves.
    >>> alone_in_room(['+Ida', '+Max', '-Ida'])
    'Max'
    >>> alone_in_room(['+Ida', '+Max'])
    None
    """
    inside = []
    for entry in log:
        if entry[0] == "+":
            inside.append(entry[1:])
        else:
            inside.remove(entry[1:])
    return inside[0] if len(inside) == 1 else None


def check(candidate):
    assert candidate([]) == None
    assert candidate(["+Ida"]) == "Ida"
    assert candidate(["+Ida", "+Max", "-Ida"]) == "Max"
    assert candidate(["+Ida", "+Max"]) == None
    assert candidate(["+Ida", "-Ida"]) == None
    assert candidate(["+a", "-a", "+b", "+a", "-b"]) == "a"
    assert candidate(["+a", "+b", "+c", "-b", "-a"]) == "c"
