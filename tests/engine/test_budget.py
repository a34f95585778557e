"""What a machine has to spare, as Linux says it."""

from pathlib import Path

import pytest
import torch

from derailleur.engine import budget


def test_half_of_the_smaller_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:    4000 kB\n")
    cgroup.mkdir()
    monkeypatch.setattr(budget, "_MEMINFO", meminfo)
    monkeypatch.setattr(budget, "_CGROUP", cgroup)
    cpu = torch.device("cpu")
    assert budget.state_budget_bytes(cpu) == 2000 * 1024
    (cgroup / "memory.current").write_text("1000000\n")
    (cgroup / "memory.max").write_text("max\n")
    assert budget.state_budget_bytes(cpu) == 2000 * 1024
    (cgroup / "memory.max").write_text("3000000\n")
    assert budget.state_budget_bytes(cpu) == 1_000_000
    meminfo.unlink()
    assert budget.state_budget_bytes(cpu) == 1_000_000
    (cgroup / "memory.max").unlink()
    assert budget.state_budget_bytes(cpu) > 0
