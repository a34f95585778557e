def free_minutes(start: int, end: int, meetings: list[tuple[int, int]]) -> int:
    """Count the minutes of a working day that no meeting covers.
    The day goes from minute start up to, but not including, minute end. So does each meeting, given as a
    tuple of its start and its end. Meetings may overlap, and may begin or end outside of the day.
    >>> free_minutes(0, 60, [(10, 20), (15, 30)])
    40
    >>> free_minutes(60, 120, [(0, 70)])
    50
    """
    free = 0
    now = start
    for begin, finish in sorted(meetings):
        if begin > now:
            free += min(begin, end) - min(now, end)
        now = max(now, finish)
    return free + max(end - now, 0)


def check(candidate):
    assert candidate(0, 60, []) == 60
    assert candidate(0, 60, [(10, 20), (15, 30)]) == 40
    assert candidate(60, 120, [(0, 70)]) == 50
    assert candidate(0, 100, [(50, 60), (10, 20)]) == 80
    assert candidate(0, 100, [(20, 80), (30, 40)]) == 40
    assert candidate(540, 600, [(500, 700)]) == 0
    assert candidate(540, 600, [(100, 200), (590, 650), (700, 800)]) == 50
    assert candidate(0, 30, [(0, 10), (10, 20), (20, 30)]) == 0
