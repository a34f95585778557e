def is_newer_version(version: str, other: str) -> bool:
    """Tell whether a version is newer than another one. Versions are numbers that are separated by dots, the
    first number weighs most, and a number that is missing at the end counts as 0.
    >>> is_newer_version('1.10', '1.9.3')
    True
    >>> is_newer_version('2.0', '2')
    False
    """
    one = [int(part) for part in version.split(".")]
    two = [int(part) for part in other.split(".")]
    length = max(len(one), len(two))
    one += [0] * (length - len(one))
    two += [0] * (length - len(two))
    return one > two


def check(candidate):
    assert candidate("1.10", "1.9.3") == True
    assert candidate("1.9.3", "1.10") == False
    assert candidate("2.0", "2") == False
    assert candidate("2", "2.0.0") == False
    assert candidate("2.0.1", "2") == True
    assert candidate("3", "2.99.99") == True
    assert candidate("0.0.9", "0.1") == False
    assert candidate("1.2.3", "1.2.3") == False
    assert candidate("1.2.4", "1.2.3") == True
