def temperature_spread(readings: dict[str, list[float]]) -> dict[str, float]:
    """Given a dictionary from cities to lists of temperatures, return a dictionary from each city to the
    difference between its highest and its lowest temperature. Cities without temperatures are left out.
    >>> temperature_spread({'Oslo': [-4.5, 1.0, -2.0], 'Rome': [12.0], 'Bern': []})
    {'Oslo': 5.5, 'Rome': 0.0}
    """
    return {city: max(values) - min(values) for city, values in readings.items() if values}


def check(candidate):
    assert candidate({}) == {}
    assert candidate({"Bern": []}) == {}
    assert candidate({"Oslo": [-4.5, 1.0, -2.0], "Rome": [12.0], "Bern": []}) == {"Oslo": 5.5, "Rome": 0.0}
    assert candidate({"a": [1.0, 2.0], "b": [2.0, 0.5]}) == {"a": 1.0, "b": 1.5}
    assert candidate({"x": [-1.0, -3.25]}) == {"x": 2.25}
    assert candidate({"y": [5.0, 5.0, 5.0]}) == {"y": 0.0}
