"""metrics.jsonl has every step once, whatever a killed run left in it."""

import json

from derailleur.training.metrics import MetricsLog


def steps(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_rows_after_the_checkpoint_are_dropped_before_they_come_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, last_step=0) as log:
        for step in range(1, 6):
            log.append({"step": step, "loss": 0.1})
    with MetricsLog(path, last_step=3) as log:
        assert log.last_row == {"step": 3, "loss": 0.1}
        assert steps(path) == [1, 2, 3]
        log.append({"step": 4})
        assert log.last_row == {"step": 4}
    assert steps(path) == [1, 2, 3, 4]


def test_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    with MetricsLog(path, last_step=5) as log:
        assert log.last_row == {"step": 2}
    assert steps(path) == [1, 2]


def test_a_row_is_readable_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, last_step=0) as log:
        assert log.last_row == {}
        log.append({"step": 1})
        log.sync()
        assert steps(path) == [1]
