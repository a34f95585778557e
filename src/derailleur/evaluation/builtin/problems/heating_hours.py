def heating_hours(temperatures: list[float], low: float, high: float) -> list[bool]:
    """Say for every hour whether a heating is on. It is off at first, goes on in an hour whose temperature
    is below low, stays on until an hour whose temperature is above high, and is off in that hour.
    >>> heating_hours([19.0, 17.5, 19.0, 21.5, 20.0], 18.0, 21.0)
    [False, True, True, False, False]
    """
    hours = []
    is_on = False
    for temperature in temperatures:
        if temperature < low:
            is_on = True
        elif temperature > high:
            is_on = False
        hours.append(is_on)
    return hours


def check(candidate):
    assert candidate([], 18.0, 21.0) == []
    assert candidate([19.0, 17.5, 19.0, 21.5, 20.0], 18.0, 21.0) == [False, True, True, False, False]
    assert candidate([18.0, 21.0], 18.0, 21.0) == [False, False]
    assert candidate([17.0, 18.0, 21.0, 21.5], 18.0, 21.0) == [True, True, True, False]
    assert candidate([25.0, 10.0], 18.0, 21.0) == [False, True]
    assert candidate([10.0, 25.0, 20.0, 10.0], 18.0, 21.0) == [True, False, False, True]
