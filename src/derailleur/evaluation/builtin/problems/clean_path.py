def clean_path(path: str) -> str:
    """Simplify an absolute path: '.' stands for the folder itself, '..' for the folder above it, and
    several slashes are one. The folder above '/' is '/'. Only '/' itself ends with a slash.
    >>> clean_path('/a/./b//../c/')
    '/a/c'
    """
    folders: list[str] = []
    for part in path.split("/"):
        if part == "..":
            folders = folders[:-1]
        elif part not in ("", "."):
            folders.append(part)
    return "/" + "/".join(folders)


def check(candidate):
    assert candidate("/") == "/"
    assert candidate("/a/./b//../c/") == "/a/c"
    assert candidate("/..") == "/"
    assert candidate("/home/user/notes.txt") == "/home/user/notes.txt"
    assert candidate("//x///y") == "/x/y"
    assert candidate("/a/b/../../..//d") == "/d"
    assert candidate("/.hidden/...") == "/.hidden/..."
    assert candidate("/a/..") == "/"
