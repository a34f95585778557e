def split_record(line: str) -> list[str]:
    """Split a line of a table into its fields at the commas. A field may stand between double quotes, which
    are not part of it; commas between the quotes are, and two double quotes stand for one there.
    >>> split_record('7,"x, y",ok')
    ['7', 'x, y', 'ok']
    """
    fields = [""]
    is_quoted = False
    place = 0
    while place < len(line):
        character = line[place]
        if character == '"' and is_quoted and line[place + 1 : place + 2] == '"':
            fields[-1] += '"'
            place += 1
        elif character == '"':
            is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            fields.append("")
        else:
            fields[-1] += character
        place += 1
    return fields


def check(candidate):
    assert candidate("") == [""]
    assert candidate("a") == ["a"]
    assert candidate("a,b,,c") == ["a", "b", "", "c"]
    assert candidate('7,"x, y",ok') == ["7", "x, y", "ok"]
    assert candidate('"",1') == ["", "1"]
    assert candidate('"say ""hi""",2') == ['say "hi"', "2"]
    assert candidate(",") == ["", ""]
    assert candidate('"a,b","c,d"') == ["a,b", "c,d"]
