"""How alike two texts are: one less the edit distance over the longer one's length."""


def edit_similarity(left: str, right: str) -> float:
    """1 for equal texts, 0 where no character can stay (Svyatkovskiy et al. 2020, arXiv:2005.08025)."""
    longest = max(len(left), len(right))
    return 1 - edit_distance(left, right) / longest if longest else 1.0


def edit_distance(left: str, right: str) -> int:
    """The fewest insertions, deletions and replacements of characters (Levenshtein 1966).

    Bit-parallel (Myers 1999, as in Hyyrö 2003): a whole column of the table is two integers, whose bits say
    where a cell is one more, or one less, than the cell above it.
    """
    if not left:
        return len(right)
    mask, last = (1 << len(left)) - 1, 1 << (len(left) - 1)
    where: dict[str, int] = {}
    for place, character in enumerate(left):
        where[character] = where.get(character, 0) | 1 << place
    more, less, distance = mask, 0, len(left)
    for character in right:
        equal = where.get(character, 0)
        diagonal = (((equal & more) + more) ^ more) | equal | less
        up, down = less | ~(diagonal | more) & mask, more & diagonal
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & mask, down << 1 & mask
        more, less = down | ~(diagonal | up) & mask, up & diagonal
    return distance
