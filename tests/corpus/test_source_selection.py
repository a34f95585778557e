"""Which files of a source are wanted, which are held out."""

from pathlib import Path

import pytest

from derailleur.config import load_config
from derailleur.corpus.sources import SourceConfig, is_heldout, open_sources, read_unit
from derailleur.errors import ConfigError


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"a.py": None, "b.js": None, "d/e.py": None}),
        ({"include": ("*.py",)}, {"a.py": None, "b.js": "not_included", "d/e.py": "not_included"}),
        ({"include": ("**/*.py", "b.??")}, {"a.py": None, "b.js": None, "d/e.py": None}),
        ({"include": ("d/**",)}, {"a.py": "not_included", "b.js": "not_included", "d/e.py": None}),
        ({"max_file_bytes": 5}, {"a.py": "too_large", "b.js": "too_large", "d/e.py": "too_large"}),
        ({"exclude_folders": ("d",)}, {"a.py": None, "b.js": None}),
    ],
)
def test_selection(tmp_path: Path, keys: dict[str, object], expected: dict[str, str | None]) -> None:
    for name in ("a.py", "b.js", "d/e.py"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).write_text("x = 1\n")
    config = SourceConfig.model_validate(keys)
    [source] = open_sources([tmp_path / "s"], config, out=tmp_path / "out")
    entries = [entry for unit in source.units(1 << 20) for entry in read_unit(unit, config)]
    assert {entry.path: entry.verdict and entry.verdict.reason for entry in entries} == expected


def test_a_share_of_the_paths_is_held_out_and_the_salt_chooses_which() -> None:
    def chosen(salt: str) -> list[int]:
        return [n for n in range(4000) if is_heldout(f"{n}.py", fraction=0.1, salt=salt)]

    assert chosen("a") == chosen("a") != chosen("b")
    assert 0.08 < len(chosen("a")) / 4000 < 0.12
    assert not [n for n in range(100) if is_heldout(f"{n}.py", fraction=0.0, salt="")]


def test_languages_on_the_command_line() -> None:
    assert load_config(SourceConfig, None, ["--languages", "Python, Java"]).languages == ("Python", "Java")
    assert load_config(SourceConfig, None, ["--languages", "[C++]"]).languages == ("C++",)
    with pytest.raises(ConfigError, match="unknown language 'Jva'; did you mean 'Java'"):
        load_config(SourceConfig, None, ["--languages", "Jva"])
