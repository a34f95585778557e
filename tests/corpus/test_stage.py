"""The whole stage on a small tree in which every fate of a file occurs."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from derailleur.corpus import CurateConfig, curate, open_sources, read_documents
from derailleur.corpus.database_errors import plain_errors
from derailleur.corpus.decontamination import DecontaminationConfig
from derailleur.corpus.sources import is_heldout
from derailleur.corpus.substrings import SubstringConfig
from derailleur.errors import DataError, DerailleurError

CONFIG = CurateConfig(languages=("Python",), heldout_fraction=0.3, max_file_bytes=20_000)
SECRET = "ghp_" + "a1B2" * 9

NAMES = [f"m{number}.py" for number in range(100)]
HELDOUT = [name for name in NAMES if is_heldout(name, fraction=0.3, salt="")]
TRAIN = [name for name in NAMES if name not in HELDOUT]


def code(begin: int, end: int) -> str:
    return "".join(f"def function_{n}(argument):\n    return argument * {n}\n" for n in range(begin, end))


# name -> (content, action, reason); repository "one"
FATES: dict[str, tuple[bytes, str, str]] = {
    TRAIN[0]: (code(0, 50).encode(), "kept", ""),
    TRAIN[1]: (code(0, 50).encode(), "dropped", "exact_duplicate"),
    TRAIN[2]: (code(0, 48).encode(), "dropped", "near_duplicate"),
    TRAIN[3]: (code(100, 148).encode(), "dropped", "near_duplicate_of_heldout"),
    TRAIN[4]: (f"MAIL, KEY = 'alice@corp.com', '{SECRET}'\r\n".encode(), "kept", ""),
    TRAIN[5]: (b"", "dropped", "empty"),
    TRAIN[6]: (b"x" * 20_001, "dropped", "too_large"),
    TRAIN[7]: (b"x = 1\0", "quarantined", "binary"),
    TRAIN[8]: (b"x = '\xff\xfe\xfd\x81\x8d\x90\x9d'", "quarantined", "not_utf8"),
    TRAIN[9]: (b"x" * 1001 + b"\n" + b"y = 1\n" * 99, "dropped", "long_line"),
    TRAIN[10]: ((b"z" * 200 + b"\n") * 3, "dropped", "mean_line_length"),
    TRAIN[11]: (b"(((((())))))\n" * 9 + b"a = b\n", "dropped", "alphanumeric_share"),
    TRAIN[12]: (b"\xef\xbb\xbfmark = 'byte order'\n", "kept", ""),
    HELDOUT[0]: (code(100, 150).encode(), "kept", ""),
    HELDOUT[1]: (code(100, 149).encode(), "dropped", "near_duplicate"),
    "notes.xyz": (b"text", "dropped", "unknown_language"),
    "script.js": (b"let x = 1;", "dropped", "other_language"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("sources")
    for name, (content, _, _) in FATES.items():
        (root / "one").mkdir(exist_ok=True)
        (root / "one" / name).write_bytes(content)
    (root / "one/link.py").symlink_to(root / "one" / TRAIN[0])
    (root / "two/deep").mkdir(parents=True)
    (root / "two/deep" / TRAIN[0]).write_text("MAIL = 'alice@corp.com'  # in another repository\n")
    return [root / "one", root / "two"]


def run(sources: list[Path], out: Path, config: CurateConfig = CONFIG, **options: Any) -> dict[str, Any]:
    return curate(config, open_sources(sources, config, out=out), out, **({"workers": 1} | options))


@pytest.fixture(scope="module")
def out(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    run(sources, folder)
    return folder


def ledger(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("ledger-*")) for row in pq.read_table(path).to_pylist()]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_every_file_has_its_fate(out: Path) -> None:
    fates = {row["path"]: (row["action"], row["reason"]) for row in ledger(out) if row["repository"] == "one"}
    expected = {name: (action, reason) for name, (_, action, reason) in FATES.items()}
    assert fates == expected | {"link.py": ("dropped", "symbolic_link")}


def test_the_ledger_says_why(out: Path) -> None:
    details = {row["path"]: row["detail"] for row in ledger(out) if row["repository"] == "one"}
    assert details[TRAIN[1]] == f"one/{TRAIN[0]}"
    assert details[TRAIN[3]].startswith(f"one/{HELDOUT[0]} (0.9")
    assert details[TRAIN[6]] == "20001 bytes"
    assert details[TRAIN[9]] == "1001 characters"
    assert details["script.js"] == "JavaScript"


def test_counts_add_up(out: Path, sources: list[Path]) -> None:
    results = json.loads((out / "results.json").read_text())
    rows = ledger(out)
    on_disk = [
        path for source in sources for path in source.rglob("*") if path.is_file() or path.is_symlink()
    ]
    assert results["files_seen"] == len(rows) == len(on_disk)
    actions = Counter(row["action"] for row in rows)
    assert results["kept"] == actions["kept"] == 5
    assert sum(results["dropped"].values()) == actions["dropped"]
    assert sum(results["quarantined"].values()) == actions["quarantined"] == 2
    documents = list(read_documents(out))
    assert results["kept"] == len(documents)
    assert results["bytes_kept"] == sum(len(document.content) for document in documents)
    for split, counts in results["splits"].items():
        chosen = list(read_documents(out, split))
        assert counts == {"files": len(chosen), "bytes": sum(len(document.content) for document in chosen)}
        assert counts["files"] > 0
    assert results["languages"] == {"Python": 5}
    assert {tag: number for tag, number in results["pii"].items() if number} == {"EMAIL": 2, "KEY": 1}


def test_documents_are_redacted_and_keep_their_line_ends(out: Path) -> None:
    documents = {(d.repository, d.path): d.text for d in read_documents(out)}
    text = documents["one", TRAIN[4]]
    assert "corp.com" not in text
    assert SECRET not in text
    assert text.endswith("'\r\n")
    assert documents["one", TRAIN[12]] == "mark = 'byte order'\n"
    [email] = [line for line in redactions(out) if line["path"] == TRAIN[4] and line["tag"] == "EMAIL"]
    assert (email["start"], email["end"]) == (13, 27)
    assert f"'{email['replacement']}'" in text
    [other] = [line for line in redactions(out) if line["repository"] == "two"]
    assert other["replacement"] != email["replacement"], "another repository, another replacement"


def redactions(out: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, (out / "redactions-00000.jsonl").read_text().splitlines())


def test_no_secret_is_in_any_file_written(out: Path) -> None:
    everything = b"".join(path.read_bytes() for path in out.iterdir())
    everything += "".join(document.text for document in read_documents(out)).encode()
    assert SECRET.encode() not in everything
    assert b"alice@corp.com" not in everything
    assert not (out / ".scratch").exists()


def test_the_result_is_the_same_byte_for_byte(out: Path, sources: list[Path], tmp_path: Path) -> None:
    for number, (order, workers) in enumerate([(sources, 1), (sources[::-1], 2)]):
        run(order, tmp_path / str(number), workers=workers)
        assert contents(tmp_path / str(number)) == contents(out)


def test_where_and_when_the_sources_were_written_does_not_matter(
    out: Path, sources: list[Path], tmp_path: Path
) -> None:
    copies = [
        shutil.copytree(source, tmp_path / source.name, symlinks=True, copy_function=shutil.copyfile)
        for source in sources
    ]
    run(copies, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(out)


def test_a_killed_run_goes_on(out: Path, sources: list[Path], tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from derailleur.corpus import CurateConfig, curate, open_sources\n"
        "def progress(label, done, total, note=''):\n"
        "    if label == sys.argv[3]: os.kill(os.getpid(), 9)\n"
        "config, out = CurateConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2])\n"
        "sources = open_sources(sys.argv[4:], config, out=out)\n"
        "curate(config, sources, out, progress=progress, workers=1)\n"
    )
    folder = tmp_path / "run"
    for phase in ("plan", "read", "judge", "rank", "join", "resolve", "finish"):
        arguments = [CONFIG.model_dump_json(), str(folder), phase, *map(str, sources)]
        killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
        assert killed.returncode == -9
        assert not (folder / "results.json").exists()
    done = {path: path.stat().st_mtime_ns for path in (folder / ".scratch").rglob("*.done.json")}
    assert len(done) >= 7, "what was done is still there"
    run(sources, folder)
    assert contents(folder) == contents(out)


def test_an_older_run_leaves_nothing(out: Path, sources: list[Path], tmp_path: Path) -> None:
    (tmp_path / "documents-00007.parquet").write_bytes(b"of an older run")
    run(sources, tmp_path)
    assert contents(tmp_path) == contents(out)


def test_small_shards_hold_the_same_documents(out: Path, sources: list[Path], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"shard_bytes": 2000, "row_group_bytes": 1000})
    results = run(sources, tmp_path, config)
    assert results["shards"] == len(list(tmp_path.glob("documents-*.parquet"))) > 1
    assert set(read_documents(tmp_path)) == set(read_documents(out))
    rows = {(row["repository"], row["path"]): row for row in ledger(tmp_path)}
    assert rows == {(row["repository"], row["path"]): row for row in ledger(out)}


def test_too_much_bad_input_fails_and_loses_nothing(sources: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        DerailleurError, match=r"2 of 19 files had to be quarantined .* more than --max-bad 1"
    ):
        run(sources, tmp_path, max_bad=1)
    with pytest.raises(DerailleurError, match=r"more than --max-bad 0\.05"):
        run(sources, tmp_path, max_bad=0.05)
    assert run(sources, tmp_path, max_bad=2)["quarantined"] == {"binary": 1, "not_utf8": 1}


def test_what_is_repeated_verbatim_is_reported(sources: list[Path], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    own = "\n".join(f"print('line {number} of this file alone')" for number in range(60))
    (tmp_path / "more" / TRAIN[0]).write_text(code(0, 12) + own)
    config = CONFIG.model_copy(update={"substrings": SubstringConfig(enabled=True), "shard_bytes": 2000})
    results = run([*sources, tmp_path / "more"], tmp_path / "out", config)
    repeated = len(code(0, 12).encode())
    assert 2 * repeated <= results["repeats"]["repeated_bytes"] <= 2 * repeated + 20
    [top] = pq.read_table(tmp_path / "out/repeats.parquet").to_pylist()
    assert {place["file"] for place in top["places"]} == {f"one/{TRAIN[0]}", f"more/{TRAIN[0]}"}


def test_what_is_wrong_with_an_input_is_told_before_the_work(sources: list[Path], tmp_path: Path) -> None:
    (tmp_path / "corrupt.jsonl").write_text("{")
    config = CONFIG.model_copy(
        update={"decontamination": DecontaminationConfig(benchmarks=[tmp_path / "corrupt.jsonl"])}
    )
    with pytest.raises(DataError, match=r"corrupt\.jsonl"):
        run(sources, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def test_a_second_run_in_this_process_reads_its_lists_anew(sources: list[Path], tmp_path: Path) -> None:
    asked, benchmark = tmp_path / "asked.txt", tmp_path / "benchmark.jsonl"
    config = CONFIG.model_copy(
        update={
            "opt_out": (asked,),
            "decontamination": DecontaminationConfig.model_validate(
                {"benchmarks": [{"path": benchmark, "columns": ["content"]}]}
            ),
        }
    )
    for number, (owner, passage, reasons) in enumerate(
        [
            ("two", "nothing that any of the files holds, in words enough to tell", {"opted_out"}),
            ("nobody", code(0, 50), {"contaminated"}),
        ]
    ):
        asked.write_text(owner)
        benchmark.write_text(json.dumps({"content": passage}))
        results = run(sources, tmp_path / f"out{number}", config)
        assert {"opted_out", "contaminated"} & set(results["dropped"]) == reasons


def test_errors_of_the_database_are_those_of_python() -> None:
    for theirs, ours in (
        (duckdb.OutOfMemoryException("failed to allocate"), MemoryError),
        (duckdb.InterruptException("interrupted"), KeyboardInterrupt),
        (duckdb.IOException("Could not write file: No space left on device"), OSError),
        (duckdb.IOException("Could not read"), duckdb.IOException),
    ):
        with pytest.raises(ours), plain_errors():
            raise theirs


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no files found"):
        run([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(DataError, match="no such file or folder"):
        run([tmp_path / "missing"], tmp_path / "out")


def test_licences_stars_and_opt_outs(tmp_path: Path) -> None:
    rows = [
        {"repository": name, "path": f"{number}.py", "content": code(1000 * number, 1000 * number + 20)}
        for number, name in enumerate(["a/kept", "b/gone", "c/copyleft", "d/none"])
    ]
    rows.append(
        {
            "repository": "c/copyleft",
            "path": "own.py",
            "content": f"# SPDX-License-Identifier: MIT\n{code(0, 9)}",
        }
    )
    rows.append({"repository": "d/none", "path": "zero.py", "content": code(0, 20)})  # as a/kept has it
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "stars.csv").write_text(
        "repository,stars,license,opted_out\nA/kept,7,mit,\nb/gone,9,mit,true\nc/copyleft,1,GPL-3.0-only,\nd/none,99,,\n"
    )
    (tmp_path / "asked.txt").write_text("e\n")
    config = CurateConfig.model_validate(
        {
            "languages": ["Python"],
            "repositories": tmp_path / "stars.csv",
            "opt_out": [tmp_path / "asked.txt"],
            "licences": {"policy": "permissive"},
        }
    )
    run([tmp_path / "rows.jsonl"], tmp_path / "out", config)
    fates = {(row["repository"], row["path"]): row for row in ledger(tmp_path / "out")}
    assert {name: row["reason"] for name, row in fates.items()} == {
        ("a/kept", "0.py"): "",
        ("b/gone", "1.py"): "opted_out",
        ("c/copyleft", "2.py"): "licence_not_allowed",
        ("c/copyleft", "own.py"): "licence_not_allowed",
        ("d/none", "3.py"): "no_licence",
        ("d/none", "zero.py"): "no_licence",
    }, "what may not be kept cannot stand for a copy that may"
    assert fates["a/kept", "0.py"]["licences"] == ["MIT"]
    assert fates["a/kept", "0.py"]["stars"] == 7


def test_importing_the_corpus_does_not_import_torch() -> None:
    script = "import sys, derailleur.corpus, derailleur.cli.curate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
