"""The benchmark of the corpus stage without its peers: inputs, the exact join, our own runs, the tables."""

import sys
from itertools import combinations
from pathlib import Path

import corpus_contender
import corpus_inputs
import pytest
from corpus_process import Usage, run
from corpus_quality import Pair, exact_join, judge, shingle_set
from hypothesis import given
from hypothesis import strategies as st

import corpus as benchmark

LINES = [
    f"def function_{number}(left, right): return left + right * {number} - offset" for number in range(40)
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> corpus_inputs.Corpus:
    folder = tmp_path_factory.mktemp("sources") / "small"
    folder.mkdir()
    (folder / "a.py").write_text("\n".join(LINES[:20]))
    (folder / "b.py").write_text("\n".join([*LINES[:19], "x = 1"]))
    (folder / "c.py").write_text("\n".join(f"class Name{line} of({line}): pass" for line in range(30)))
    (folder / "copy.py").write_text("\n".join(LINES[:20]))
    (folder / "secret.py").write_text("# write to ada@lovelace.org and to nobody else, please, at any time\n")
    (folder / "short.py").write_text("x = 1")
    (folder / "latin.py").write_bytes(b"# caf\xe9 " * 20)
    return corpus_inputs.load(folder, tmp_path_factory.mktemp("scratch"))


def test_what_is_too_short_or_not_utf8_takes_no_part(corpus: corpus_inputs.Corpus) -> None:
    assert corpus.names == ["a.py", "b.py", "c.py", "copy.py", "secret.py"]
    assert [(name, len(text)) for name, text in corpus_contender.rows(corpus.parts)] == [
        (name, len(path.read_text())) for name, path in zip(corpus.names, corpus.paths(), strict=True)
    ]
    assert corpus.num_bytes == sum(path.stat().st_size for path in corpus.paths())
    assert corpus.paths(1) == []


def test_our_own_runs_fill_the_tables(corpus: corpus_inputs.Corpus, tmp_path: Path) -> None:
    (near,) = benchmark.interleaved({benchmark.OURS: sys.executable}, corpus, corpus.parts, 1)
    assert near.result == ["a.py", "c.py", "secret.py"]
    assert "| derailleur | 0 |" in benchmark.near_dedup_table([near])
    files = tmp_path / "files"
    files.write_text("\n".join(map(str, corpus.paths())))
    scan = benchmark.measured(benchmark.OUR_PII, sys.executable, corpus, files)
    assert scan.result == 1
    assert "| 1x |" in benchmark.pii_table([scan])


def test_every_contender_has_its_row_of_the_table() -> None:
    assert corpus_contender.CONTENDERS.keys() == benchmark.SEMANTICS.keys()
    assert benchmark.VERSIONS.keys() | {benchmark.OURS} <= benchmark.SEMANTICS.keys()
    assert set(benchmark.SLOW) < benchmark.VERSIONS.keys()


def test_a_peer_of_another_version_is_refused(
    corpus: corpus_inputs.Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {
        "version": "rensa 0.4.9",
        "import_seconds": 0,
        "cpu_seconds": 1,
        "wall_seconds": 1,
        "result": [],
    }
    monkeypatch.setattr(benchmark, "ask", lambda *_: (answer, Usage(1, 1, ())))
    with pytest.raises(SystemExit, match=r"rensa 0\.4\.9 in python; these tables are of 0\.5\.0"):
        benchmark.measured("rensa", "python", corpus, corpus.parts)


def test_arguments() -> None:
    words = ["--small", "x", "--peer", "rensa=env/bin/python", "--only", "pii"]
    assert benchmark.parse(words).peer == [("rensa", "env/bin/python")]
    with pytest.raises(SystemExit):
        benchmark.parse(["--small", "x", "--peer", "minhasher=python"])


sets = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2),
    st.frozensets(st.tuples(st.binary(max_size=1)), max_size=8),
    max_size=8,
)


@given(sets, st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_the_join_is_exact(sets: dict[str, frozenset[tuple[bytes, ...]]], threshold: float) -> None:
    expected = []
    for left, right in combinations(sorted(sets), 2):
        both = sets[left] | sets[right]
        similarity = len(sets[left] & sets[right]) / len(both) if both else 0
        if similarity >= threshold:
            expected.append(Pair(left, right, similarity))
    assert exact_join(sets, threshold) == expected


def test_survivors_are_judged() -> None:
    assert shingle_set(b"a b, c\td", 3) == {(b"a", b"b", b"c"), (b"b", b"c", b"d")}
    pairs = [Pair("a", "b", 0.97), Pair("a", "c", 0.72), Pair("d", "e", 0.7)]
    found = judge(pairs, set("abcdef"), set("acd"))
    assert (found.num_pairs, found.both_stayed, found.num_dropped, found.unjustified) == (3, 1, 3, 1)
    assert found.bins[0.95] == (1, 1)
    assert found.bins[0.7] == (2, 1)
    table = benchmark.quality_table({"ours": set("acd")}, pairs, set("abcdef"))
    assert "| ours | 3 | 1 (33.33%) | 1 of 3 | 50.0% |" in table


def test_the_tree_of_processes_is_measured() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}], check=True); print('done')"
    work = "import time; held = b'x' * 60_000_000; time.sleep(0.5)"
    output, usage = run([sys.executable, "-c", child.format(work)], sample=True)
    assert output == "done\n"
    assert usage.wall_seconds > 0.5
    assert 0 < usage.cpu_seconds < usage.wall_seconds * 2
    assert len(usage.peak_bytes) == 2
    assert usage.peak_bytes[1] > 60_000_000
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run([sys.executable, "-c", "1 / 0"])


def test_processes_that_outlive_their_parent_are_accounted_for() -> None:
    work = "import time; begin = time.process_time()\nwhile time.process_time() < begin + 0.4: pass"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {work!r}])"
    _, usage = run([sys.executable, "-c", parent])
    assert usage.cpu_seconds > 0.4


def test_speed_up_is_that_of_wall_seconds() -> None:
    usages = {1: [Usage(10, 9, (100,))], 2: [Usage(5, 9, (100, 2_000_000))]}
    table = benchmark.stage_table(usages, Usage(1, 1, (1,)), 16_000_000)
    assert "| 1.6 | 1.8 | 2.0 | 1.00x | 0 |" in table
    assert "| 3.2 | 1.8 | 2.0 | 2.00x | 2 |" in table
