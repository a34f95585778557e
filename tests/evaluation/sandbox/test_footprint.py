"""What the sandbox imports: little, and the process from which programs are forked next to nothing."""

import subprocess
import sys
from pathlib import Path

PACKAGE = "derailleur.evaluation.sandbox"
ALLOWED = {"derailleur", "derailleur.errors", "derailleur.io", "derailleur.config", "derailleur.evaluation"}


def imported(modules: str, *options: str) -> set[str]:
    source = Path(__file__).parents[3] / "src"
    code = f"import sys; sys.path.insert(0, {str(source)!r}); import {modules}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_sandbox_imports_nothing_of_ours_but_the_ground_floor():
    names = imported(f"{PACKAGE}.sandbox, {PACKAGE}.namespaces, {PACKAGE}.bubblewrap, {PACKAGE}.landlock")
    ours = {name for name in names if name.split(".")[0] == "derailleur" and not name.startswith(PACKAGE)}
    assert ours <= ALLOWED
    assert not names & {"torch", "numpy", "numba"}


def test_the_launcher_needs_no_packages():
    ours = {name for name in imported(f"{PACKAGE}.launcher", "-I", "-S") if name.startswith("derailleur")}
    assert ours - ALLOWED == {
        PACKAGE,
        *(f"{PACKAGE}.{name}" for name in ("confinement", "inside", "launcher", "linux", "root", "seccomp")),
    }
