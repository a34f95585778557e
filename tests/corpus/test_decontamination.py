"""Decontamination against plain Python twins, planted copies of benchmark files, and code that holds none."""

import gzip
import json
import os
import re
import sysconfig
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.config import load_config, validate
from derailleur.corpus.decontamination import (
    DecontaminationConfig,
    Decontaminator,
    Match,
    Passage,
    read_passages,
)
from derailleur.corpus.decontamination.benchmarks import BenchmarkConfig
from derailleur.corpus.decontamination.ngrams import NgramIndex
from derailleur.corpus.decontamination.normal_form import count_words, normalise, offsets_in
from derailleur.corpus.decontamination.substrings import SubstringIndex
from derailleur.errors import ConfigError, DataError

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[3] / "shared/data/eval"))
"""Benchmark files are not part of the project: they lie beside it, or where the variable says."""


def normalise_twin(text: bytes) -> bytes:
    text = re.sub(rb"(?:\A|(?<=[\n\r]))(?:[ \t\f\v]*[/#*])+", b" ", text)
    text = re.sub(rb"[ \t\n\r\f\v]+", b" ", text.lower().replace(b"'", b'"'))
    word = rb"[0-9a-z_\x80-\xff]"
    return re.sub(rb" (?!%b)|(?<!%b) " % (word, word), b"", text)


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.sampled_from("aB9_ \t\n\r\v/#*'\"+é漢")))
def test_normal_form_equals_plain_python(text: str) -> None:
    assert normalise(text.encode()) == normalise_twin(text.encode())


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.sampled_from("aB9_ \n/#*'+é")))
def test_offsets_lead_back_to_the_text(text: str) -> None:
    content = text.encode()
    normal, offsets = normalise(content), offsets_in(content)
    assert len(offsets) == len(normal)
    assert all(np.diff(offsets) > 0)
    for byte, offset in zip(normal, offsets.tolist(), strict=True):
        assert bytes([byte]) == (b" " if byte == 32 else normalise(b"x" + content[offset : offset + 1])[1:])


def test_formatting_does_not_matter() -> None:
    python = b'def f(a,b):\n    """Adds two\n    numbers."""\n    return a+b\n'
    assert normalise(python) == normalise(
        b"def f( a, b ):\n\t'''\n\tAdds  two numbers.\n\t'''\r\n\treturn a + b"
    )
    assert (
        normalise(b"// Adds two\n  // numbers.")
        == normalise(b"/* Adds two\n * numbers.")
        == b"adds two numbers."
    )


def substring_twin(text: bytes, needles: list[bytes]) -> set[int]:
    return {index for index, needle in enumerate(needles) if text.find(needle) >= 0}


@settings(deadline=None, max_examples=300)
@given(
    needles=st.lists(st.text("ab", min_size=4, max_size=12).map(str.encode), max_size=8),
    text=st.text("abc", max_size=60).map(str.encode),
)
def test_substrings_equal_str_find(needles: list[bytes], text: bytes) -> None:
    found = SubstringIndex(needles, window=4).find(text)
    expected = substring_twin(text, needles)
    assert (found is None) == (not expected)
    if found:
        assert found.needle in expected
        assert text[found.start : found.end] == needles[found.needle]


def words_of(text: bytes) -> list[bytes]:
    return re.findall(rb"[0-9a-z_\x80-\xff]+", text)


def ngram_twin(
    text: bytes, needles: list[bytes], words: int, max_needles: int, least: int
) -> dict[int, float]:
    """Share of each needle's n-grams that are in the text."""
    grams = [
        {tuple(w[i : i + words]) for i in range(len(w) - words + 1)} for w in map(words_of, [text, *needles])
    ]
    owners: dict[tuple[bytes, ...], int] = defaultdict(int)
    for found in grams[1:]:
        for gram in found:
            owners[gram] += 1
    sets = [{gram for gram in found if owners[gram] <= max_needles} for found in grams[1:]]
    return {i: len(s & grams[0]) / len(s) for i, s in enumerate(sets) if len(s) >= least}


some_words = st.lists(st.sampled_from(["a", "b", "cc", "+"]), max_size=30).map(" ".join).map(str.encode)


@settings(deadline=None, max_examples=300)
@given(needles=st.lists(some_words, max_size=5), text=some_words, least=st.integers(1, 3))
def test_ngrams_equal_sets_of_tuples(needles: list[bytes], text: bytes, least: int) -> None:
    index = NgramIndex(needles, words=3, min_ngrams=least, max_needles=2)
    shares = ngram_twin(text, needles, 3, 2, least)
    found = index.find(text, min_share=0.5)
    best = max(shares.values(), default=0)
    if best < 0.5:
        assert found is None
        return
    assert found is not None
    assert found.share == pytest.approx(best)
    assert found.needle == min(i for i, share in shares.items() if share == best)
    run = words_of(text[found.start : found.end])
    assert len(run) >= 3
    assert b" ".join(run) in b" ".join(words_of(text))


PROMPT = (
    "Given the heights of all towers along one street, count how many of them you can see from its far end"
)
SOLUTION = """
    seen, tallest = 0, None
    for height in reversed(heights):
        if tallest is None or height > tallest:
            seen, tallest = seen + 1, height
    return seen
"""


@pytest.fixture(scope="module")
def towers() -> Decontaminator:
    passages = [
        Passage("towers", "towers/0", "docstring", PROMPT),
        Passage("towers", "towers/0", "solution", SOLUTION),
    ]
    return Decontaminator(
        [*passages, Passage("towers", "towers/1", "solution", "return x + y")], DecontaminationConfig()
    )


def test_match_says_what_was_found_and_where(towers: Decontaminator) -> None:
    content = f'# é\ndef f(x):\n    """{PROMPT.upper().replace(" ", chr(10) + "  ")}"""\n'.encode()
    match = towers.check(content)
    assert match is not None
    assert (match.benchmark, match.row, match.passage, match.kind) == (
        "towers",
        "towers/0",
        "docstring",
        "substring",
    )
    assert content[match.start : match.end].decode() == match.text == PROMPT.upper().replace(" ", "\n  ")
    assert (match.verdict.action, match.verdict.reason) == ("dropped", "contaminated")
    assert match.verdict.detail == "towers towers/0 (docstring)"


def test_edited_copies_are_found_by_their_ngrams(towers: Decontaminator) -> None:
    edited = f"// {PROMPT.replace('street,', 'street: then')}\nfunction f() {{}}\n".encode()
    match = towers.check(edited)
    assert match is not None
    assert match.kind == "ngrams"
    assert 0.5 <= match.share < 1
    assert match.text == edited[match.start : match.end].decode()
    assert match.verdict.detail == f"towers towers/0 (docstring, {match.share:.0%} of its n-grams)"


def test_trivial_passages_are_not_looked_for(towers: Decontaminator) -> None:
    assert towers.check(b"def add(x, y):\n    return x + y\n") is None


def test_nothing_to_look_for() -> None:
    nothing = Decontaminator.load(DecontaminationConfig())
    assert nothing.check(b"import os\n" * 100) is None
    assert nothing.check(b"") is None


def test_the_same_boilerplate_in_many_passages_is_no_copy() -> None:
    imports = " ".join(f"import java.util.name{i};" for i in range(20))
    passages = [Passage("java", str(i), "prompt", f"{imports} class Problem{i} {{}}") for i in range(100)]
    decontaminator = Decontaminator(passages, DecontaminationConfig())
    assert decontaminator.check(f"{imports} class Other {{}}".encode()) is None
    match = decontaminator.check(f"{imports}\n\nclass Problem42 {{}}".encode())
    assert match is not None
    assert match.row == "42"


def test_a_hundred_thousand_passages() -> None:
    generator = np.random.default_rng(0)
    names = np.array([f"name{i}" for i in range(5000)])
    texts = [" ".join(row) for row in names[generator.integers(0, 5000, (100_000, 12))]]
    decontaminator = Decontaminator(
        (Passage("many", str(i), "text", t) for i, t in enumerate(texts)), DecontaminationConfig()
    )
    filler = " ".join(names[generator.integers(0, 5000, 20_000)])
    assert decontaminator.check(filler.encode()) is None
    for row in (0, 31_416, 99_999):
        match = decontaminator.check(f"{filler}\n{texts[row]}\n{filler}".encode())
        assert match is not None
        assert match.row == str(row)


@pytest.mark.parametrize(
    "content",
    [
        b"a" * 1_000_000,
        b"a " * 500_000,
        b"a b " * 250_000,
        b"/" * 1_000_000,
        b" " * 1_000_000,
        b"\n#" * 500_000,
    ],
)
def test_a_megabyte_made_to_be_slow(content: bytes) -> None:
    # Needles that agree with the text as far as they can, in every place.
    passages = [
        Passage("slow", "0", "text", "a" * 5000 + "b"),
        Passage("slow", "1", "text", "a b " * 2000 + "c"),
    ]
    decontaminator = Decontaminator(passages, DecontaminationConfig(min_words=1, min_ngram_share=1))
    assert decontaminator.check(content) is None


HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def helper():\n    """Helps."""\n\ndef f():\n    """The text."""\n',
    "canonical_solution": "    return 1\n",
    "test": "def check(f):\n    assert f() == 1\n",
}


def write_rows(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            HUMAN_EVAL,
            [("docstring", "The text."), ("solution", "    return 1\n"), ("tests", HUMAN_EVAL["test"])],
        ),
        (
            {**HUMAN_EVAL, "suffix": "# end\n"},
            [("docstring", "The text."), ("problem", HUMAN_EVAL["prompt"] + "    return 1\n# end\n")],
        ),
        (
            {"name": "HumanEval/0", "language": "js", "prompt": "//Text\nfunction f(){", "tests": "test();"},
            [("prompt", "//Text\nfunction f(){"), ("tests", "test();")],
        ),
        (
            {
                "task_id": "HumanEval/0",
                "text": "Write it.",
                "code": "x = 1",
                "test_list": ["assert x", "assert 1"],
            },
            [("prompt", "Write it."), ("solution", "x = 1"), ("tests", "assert x\nassert 1")],
        ),
    ],
)
def test_layouts(tmp_path: Path, row: dict, expected: list[tuple[str, str]]) -> None:
    path = write_rows(tmp_path / "bench.v1.jsonl", [row])
    passages = list(read_passages(BenchmarkConfig(path=path)))
    assert [(p.kind, p.text) for p in passages] == expected
    assert {(p.benchmark, p.row) for p in passages} == {("bench", "HumanEval/0")}


def test_named_columns_of_any_file(tmp_path: Path) -> None:
    rows = [
        {"question": "One?", "answers": ["a", "b"]},
        {"question": None, "answers": []},
        {"question": "Two?", "answers": ["c"]},
    ]
    parquet, listed, zipped = tmp_path / "q.parquet", tmp_path / "q.json", tmp_path / "q.jsonl.gz"
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    listed.write_text(json.dumps(rows))
    zipped.write_bytes(gzip.compress(write_rows(tmp_path / "plain", rows).read_bytes()))
    for path in (parquet, listed, zipped):
        passages = list(read_passages(BenchmarkConfig(path=path, columns=("question", "answers"))))
        assert [(p.row, p.kind, p.text) for p in passages] == [
            ("0", "question", "One?"),
            ("0", "answers", "a\nb"),
            ("2", "question", "Two?"),
            ("2", "answers", "c"),
        ]


@pytest.mark.parametrize(
    "given",
    [
        "a.jsonl, q.parquet",
        ["a.jsonl", {"path": "q.parquet"}],
        [{"path": "a.jsonl", "columns": "text, code"}, "q.parquet"],
        {"path": "a.jsonl", "columns": ["text", "code"]},
    ],
)
def test_benchmarks_in_short_and_in_long(given: Any) -> None:
    read = load_config(DecontaminationConfig, overrides=["--benchmarks", json.dumps(given)]).benchmarks
    assert read[0].path == Path("a.jsonl")
    assert read[0].columns in ((), ("text", "code"))
    assert [benchmark.path.name for benchmark in read[1:]] in ([], ["q.parquet"])
    with pytest.raises(ConfigError, match=r"benchmarks\.1\.path: expected a file"):
        load_config(DecontaminationConfig, overrides=["--benchmarks", "a.jsonl,,b.jsonl"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"x": 1}', "not a layout that is recognised, it has x; name the columns"),
        ("a.jsonl", "{", ":1: not JSON"),
        ("a.jsonl", "[1]", "row 0: expected an object, got list"),
        (
            "a.jsonl",
            json.dumps({**HUMAN_EVAL, "test": 3}),
            "row 0: 'tests': expected a text or a list of texts, got int",
        ),
        ("a.jsonl", json.dumps(HUMAN_EVAL) + '\n{"prompt": "p"}', "row 1: no key 'canonical_solution'"),
        ("a.jsonl", json.dumps({**HUMAN_EVAL, "prompt": 3}), "row 0: 'prompt': expected a text"),
        ("a.jsonl", '{"prompt": 3, "canonical_solution": "", "suffix": ""}', "row 0: 'prompt': expected"),
        ("a.jsonl", '{"prompt": "", "canonical_solution": 3, "suffix": ""}', "row 0: 'problem': expected"),
        ("a.jsonl", "[" * 100_000, ":1: not JSON: maximum recursion depth"),
        ("a.jsonl", "1" * 5000, ":1: not JSON: Exceeds the limit"),
        ("a.json", "[" * 100_000, "cannot be read: maximum recursion depth"),
        ("a.jsonl", "\n", "no rows"),
        ("a.json", "{}", "expected a list of rows, got dict"),
        ("a.parquet", "PAR1", "cannot be read"),
        ("a.jsonl.gz", "no gzip", "cannot be read"),
        ("a.txt", "x", "expected a .jsonl[.gz|.zst], .json or .parquet file"),
    ],
)
def test_bad_benchmarks_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        Decontaminator.load(DecontaminationConfig(benchmarks=(path,)))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_configuration(tmp_path: Path) -> None:
    short = validate(DecontaminationConfig, {"benchmarks": "a.jsonl,b.jsonl"})
    long = validate(DecontaminationConfig, {"benchmarks": [{"path": "a.jsonl"}, "b.jsonl"]})
    assert short == long == DecontaminationConfig.model_validate(short.model_dump())
    with pytest.raises(ConfigError):
        validate(DecontaminationConfig, {"benchmarks": [{"path": "a", "column": "x"}]})
    with pytest.raises(DataError, match="no such benchmark file"):
        Decontaminator.load(DecontaminationConfig(benchmarks=(tmp_path / "none.jsonl",)))


@pytest.fixture(scope="module")
def benchmarks() -> list[Path]:
    if not EVALUATION.is_dir():
        pytest.skip("no benchmark files here")
    return sorted(path for path in EVALUATION.rglob("*.jsonl*"))


@pytest.fixture(scope="module")
def real(benchmarks: list[Path]) -> Decontaminator:
    return Decontaminator.load(DecontaminationConfig(benchmarks=tuple(benchmarks)))


@pytest.fixture(scope="module")
def library() -> list[bytes]:
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return [path.read_bytes() for path in paths][:150]


def human_eval() -> list[dict]:
    with gzip.open(EVALUATION / "human-eval/HumanEval.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def found(decontaminator: Decontaminator, documents: list[bytes]) -> list[Match | None]:
    return [decontaminator.check(document) for document in documents]


def test_the_standard_library_is_clean(real: Decontaminator, library: list[bytes]) -> None:
    assert not [match for match in found(real, library) if match]


def test_planted_problems_are_found_inside_real_files(real: Decontaminator, library: list[bytes]) -> None:
    planted = []
    for row, host in zip(human_eval(), [*library, *library], strict=False):
        program = row["prompt"] + row["canonical_solution"]
        deeper = "class Solutions:\n" + re.sub(
            r"(?m)^ *", lambda m: "\t" + m[0].replace("    ", "\t"), program
        )
        planted.append(host + b"\n" + deeper.replace("\n", "\r\n").encode() + b"\n" + host)
    assert sum(match is not None for match in found(real, planted)) == len(planted)


def test_planted_solutions_are_found_but_for_the_trivial(real: Decontaminator, library: list[bytes]) -> None:
    rows = [row for row in human_eval() if count_words(normalise(row["canonical_solution"].encode())) >= 10]
    planted = [
        host + re.sub(r"\s+", " ", row["canonical_solution"]).encode()
        for row, host in zip(rows, [*library, *library], strict=False)
    ]
    missed = [row["task_id"] for row, match in zip(rows, found(real, planted), strict=True) if match is None]
    assert len(rows) > 140
    assert len(missed) <= 2  # of ten words, but of less than 32 characters


@pytest.mark.parametrize("language", ["js", "java"])
def test_planted_prompts_of_multipl_e(real: Decontaminator, library: list[bytes], language: str) -> None:
    path = EVALUATION / f"multipl-e-deepseek-copy/humaneval-{language}.jsonl"
    prompts = [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
    as_block = [
        "/*\n" + re.sub(r"(?m)^(\s*)//", r"\1 *", prompt).replace("{", " {\n", 1) for prompt in prompts
    ]
    planted = [library[0] + text.encode() for text in as_block]
    assert sum(match is not None for match in found(real, planted)) >= 0.97 * len(planted)
