"""Who may import whom: the contract of the design, held by import-linter."""

from importlinter.cli import lint_imports


def test_imports_run_downward() -> None:
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0
