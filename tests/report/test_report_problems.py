"""The tables of problem files."""

import re
from typing import Any

from derailleur.report import problems

RUNS = [{"temperature": 0.2, "k": [1]}, {"temperature": 0.8, "k": [10]}]


def score(metric: str, value: float | None, retention: float | None, rows: str = "all") -> dict[str, Any]:
    interval = None if value is None else [value - 0.1, value + 0.1]
    return {"metric": metric, "rows": rows, "value": value, "interval": interval, "retention": retention}


def results(scores: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    counts = {"sandbox": 1, "prompt_too_long": 0, "cut_at_max_tokens": 7}
    speed = [
        {"batch": 1, "context_tokens": 1024, "tokens_per_second": 10.0},
        {"batch": 16, "context_tokens": 8192, "tokens_per_second": 1234.0},
    ]
    return {
        "presets": [{"preset": name, "speed": speed} for name in scores],
        "problems": {
            "sets": [{"name": "humaneval-js", "num_problems": 161}],
            "settings": {"num_samples": 20, "runs": RUNS, "top_p": 0.95},
            "presets": [
                {
                    "preset": name,
                    "placement": placement,
                    "set": "humaneval-js",
                    "scores": own,
                    "counts": counts,
                }
                for (name, own), placement in zip(scores.items(), ("FFFF", "GSGS"), strict=True)
            ],
        },
    }


def text(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", html).replace("\N{NO-BREAK SPACE}", " ").split())


def test_a_row_a_preset_with_interval_retention_and_speed() -> None:
    own = {
        "full": [score("pass@1", 0.4, 1.0), score("pass@10", 0.6, 1.0)],
        "fast": [score("pass@1", 0.3, 0.75), score("pass@10", None, None)],
    }
    [table] = problems.tables(results(own))
    said = text(table)
    assert "humaneval-js: 161 problems" in said and "preset placement pass@1 pass@10 decode, tokens/s" in said
    assert "30.0 % [20, 40] 75.0 % –" in said
    assert said.count("1,234 16 × 8k") == 2
    assert (
        "20 samples of each problem, pass@1 at temperature 0.2, pass@10 at temperature 0.8, top-p 0.95"
        in said
    )
    assert "2 samples left out, since the sandbox failed. 14 cut at the longest length." in said


def test_lines_of_braces_are_apart() -> None:
    parts = [score("exact_match", 0.5, None, rows) for rows in ("all", "code", "braces")]
    [table] = problems.tables(results({"full": parts, "fast": parts}))
    assert table.count("<tr>") == 1 + 3 * 2
    assert "preset placement lines exact match decode" in text(table)


def test_nothing_where_no_problems_were_put() -> None:
    assert problems.tables({"presets": [], "problems": None}) == problems.tables({"presets": []}) == []
