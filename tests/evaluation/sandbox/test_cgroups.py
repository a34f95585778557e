"""The control group of a worker, in hierarchies of plain files, and in the machine's own where it lets us."""

import os
import subprocess
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import Limits, cgroups
from derailleur.evaluation.sandbox.cgroups import Group

MIB = 1 << 20
LIMITS = Limits(memory_bytes=100 * MIB, processes=10)


@pytest.fixture
def hierarchies(tmp_path, monkeypatch):
    """Sets hierarchies up: own folders below the top by controllers, and the files that a new group has."""

    def set_up(own: dict[str, str], files: dict[str, str]) -> None:
        made = Path.mkdir

        def mkdir(folder: Path, *arguments, **keywords) -> None:
            made(folder, *arguments, **keywords)
            for name in files.get(folder.parent.name, "").split():
                (folder / name).write_text("oom_kill 0\n" if "event" in name or "oom" in name else "")

        places = [
            (set(controllers.split()), tmp_path / controllers.replace(" ", "-") / path)
            for controllers, path in own.items()
        ]
        for _, folder in places:
            folder.mkdir(parents=True)
        monkeypatch.setattr(
            cgroups, "_hierarchies", lambda: [(names, folder, tmp_path) for names, folder in places]
        )
        monkeypatch.setattr(cgroups, "_REMOVAL_SECONDS", 0.0)  # plain files stay in their folder
        monkeypatch.setattr(Path, "mkdir", mkdir)

    return set_up


def test_version_1_limits_memory_swap_and_processes(hierarchies, tmp_path):
    memory = "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.oom_control cgroup.procs"
    hierarchies({"memory": "own", "cpu pids": "ours"}, {"own": memory, "ours": "pids.max cgroup.procs"})
    group = Group.of_worker(4711)
    assert group is not None
    folder, processes = tmp_path / "memory/own/derailleur-4711", tmp_path / "cpu-pids/ours/derailleur-4711"
    assert (folder / "cgroup.procs").read_text() == (processes / "cgroup.procs").read_text() == "4711"

    first, second = group.share(LIMITS), group.share(LIMITS)
    allowed = str(2 * 100 * MIB + 64 * MIB)
    assert (folder / "memory.limit_in_bytes").read_text() == allowed
    assert (folder / "memory.memsw.limit_in_bytes").read_text() == allowed
    assert (processes / "pids.max").read_text() == str(2 * 10 + 8)
    assert first.give_back() is False
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert second.give_back() is True
    assert group.share(LIMITS).give_back() is False
    assert (folder / "memory.limit_in_bytes").read_text() == str(164 * MIB)


def test_version_2_is_made_where_a_group_may_have_limits(hierarchies, tmp_path):
    files = "memory.max memory.swap.max memory.events pids.max cgroup.procs"
    hierarchies({"": "slice/session"}, {"slice": files})
    group = Group.of_worker(4711)
    assert group is not None
    folder = tmp_path / "slice/derailleur-4711"
    assert not (tmp_path / "slice/session/derailleur-4711").exists()
    assert (folder / "cgroup.procs").read_text() == "4711"
    assert (folder / "memory.swap.max").read_text() == "0"
    share = group.share(LIMITS)
    assert (folder / "memory.max").read_text() == str(164 * MIB)
    assert (folder / "pids.max").read_text() == "18"
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    assert share.give_back() is True


def test_where_memory_cannot_be_limited_there_is_none(hierarchies, tmp_path):
    hierarchies({"pids": "ours", "": "slice/session"}, {"ours": "pids.max cgroup.procs"})
    group = Group.of_worker(4711)
    assert group is None


def test_groups_of_dead_workers_are_removed(hierarchies, tmp_path):
    hierarchies({"memory": "own"}, {"own": "memory.limit_in_bytes memory.oom_control cgroup.procs"})
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = tmp_path / f"memory/own/derailleur-{ended.pid}"
    alive = tmp_path / f"memory/own/derailleur-{os.getpid()}"
    subprocess.run(["mkdir", dead, alive], check=True)
    assert Group.of_worker(4711) is not None
    assert not dead.exists()
    assert alive.exists()


def test_a_closed_worker_leaves_no_group(open_namespaces):
    with open_namespaces() as sandbox:
        group = sandbox.back_end._group
        if group is None:
            pytest.skip("needs a memory controller that this user may use")
        assert all(folder.is_dir() for folder in group.folders)
    assert not any(folder.exists() for folder in group.folders)
    assert group.kills() == 0
