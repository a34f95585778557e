"""What makes a run another one, and texts whose encoding has to be decided before anything else is."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from derailleur.corpus import VERSION, CurateConfig, curate, open_sources, stage_inputs
from derailleur.runs import Stage, fingerprint


def run_fingerprint(sources: list[Path], **keys: Any) -> str:
    config = CurateConfig.model_validate(keys)
    opened = open_sources(sources, config, out=sources[0].parent / "out")
    inputs, fingerprints = stage_inputs(config, opened)
    return fingerprint(Stage("curate", VERSION, config, inputs, lambda out: {}, fingerprints))


def test_a_source_called_like_a_field_hides_no_change_of_it(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("filters", "near_dedup", "repositories")]
    for folder in folders:
        folder.mkdir()
        (folder / "a.py").write_text("x = 1\n")
    (tmp_path / "table.csv").write_text("repository,stars\nfilters,1\n")
    fingerprints = {
        run_fingerprint(folders),
        run_fingerprint(folders, filters={"profile": "opencoder"}),
        run_fingerprint(folders, near_dedup={"threshold": 0.9}),
        run_fingerprint(folders, repositories=tmp_path / "table.csv"),
    }
    assert len(fingerprints) == 4
    assert run_fingerprint(folders) == run_fingerprint(folders[::-1])


def test_wide_text_is_decoded_before_its_language_and_licence_are_told(tmp_path: Path) -> None:
    header = "#include <vector>\ntemplate <class T> class Holder { std::vector<T> held; };\n"
    files = {
        "wide.h": header.encode("utf-16"),
        "tool": "#!/usr/bin/env python3\nprint('a tool')\n".encode("utf-16-le"),
        "REUSE.py.license": "SPDX-License-Identifier: MIT\n".encode("utf-16"),
        "REUSE.py": b"REUSED = True\n",
    }
    (tmp_path / "repo").mkdir()
    for name, data in files.items():
        (tmp_path / "repo" / name).write_bytes(data)
    config = CurateConfig()
    out = tmp_path / "out"
    curate(config, open_sources([tmp_path / "repo"], config, out=out), out, workers=1)
    rows = {row["path"]: row for row in pq.read_table(out / "ledger-00000.parquet").to_pylist()}
    assert (rows["wide.h"]["language"], rows["wide.h"]["encoding"]) == ("C++", "utf-16-le")
    assert (rows["tool"]["language"], rows["tool"]["encoding"]) == ("Python", "utf-16-le")
    assert rows["REUSE.py"]["licences"] == ["MIT"]


def test_a_rows_own_licences_are_written_as_spdx_writes_them(tmp_path: Path) -> None:
    stated = ["apache-2.0", ["mit", "Apache Software License"], "no such licence", None]
    rows = [
        {"path": f"{n}.py", "content": f"VALUE = {n}\n", "license": name} for n, name in enumerate(stated)
    ]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = CurateConfig()
    out = tmp_path / "out"
    curate(config, open_sources([tmp_path / "table.jsonl"], config, out=out), out, workers=1)
    ledger = pq.read_table(out / "ledger-00000.parquet").sort_by("path").to_pylist()
    assert [row["licences"] for row in ledger] == [
        ["Apache-2.0"],
        ["MIT", "Apache-2.0"],
        ["LicenseRef-unknown"],
        [],
    ]
