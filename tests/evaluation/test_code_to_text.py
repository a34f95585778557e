"""Docstrings: what is asked, what counts of an answer, and BLEU as CodeXGLUE has it."""

import gzip
import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.cli.main import main
from derailleur.errors import DataError
from derailleur.evaluation.benchmark.run import Writer
from derailleur.evaluation.benchmark.writers import Writers
from derailleur.evaluation.bleu import smoothed_bleu
from derailleur.evaluation.code_to_text import (
    CodeToTextConfig,
    Prompt,
    code_to_text,
    detokenize,
    find_docstring,
    first_line,
    read_rows,
)
from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest

CODE = '''def area(width, height={1: 2}, *, unit: str = "m"):
    # comes first
    """Area of a box.

    More of it.
    """
    return width * height
'''
ROW = {"code": CODE, "docstring": "Area of a box.", "docstring_tokens": ["Area", "of", "a", "box", "."]}


def write(path: Path, *rows: object) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def slow_bleu(prediction: list[str], reference: list[str]) -> float:
    """By the book: count, clip, smooth, multiply."""
    product = 1.0
    for order in (1, 2, 3, 4):
        written = [prediction[i : i + order] for i in range(len(prediction)) if i + order <= len(prediction)]
        left = [reference[i : i + order] for i in range(len(reference)) if i + order <= len(reference)]
        matches, added = 0, 0 if order == 1 else 1
        for ngram in written:
            if ngram in left:
                left.remove(ngram)
                matches += 1
        tiny = sys.float_info.min
        product *= ((matches + added + tiny) / (len(written) + added + tiny)) ** 0.25
    ratio = (len(reference) + 1) / (len(prediction) + 1)
    return 100 * product * (math.exp(1 - ratio) if ratio > 1 else 1)


words = st.lists(st.sampled_from(["a", "b", "the", ",", "x2"]), max_size=12)


@given(prediction=words, reference=words)
def test_bleu_is_that_of_its_slow_twin(prediction: list[str], reference: list[str]) -> None:
    found = smoothed_bleu(" ".join(prediction), " ".join(reference))
    assert found == pytest.approx(slow_bleu(prediction, reference), rel=1e-9)


def test_bleu_of_known_cases() -> None:
    assert smoothed_bleu("Return the sum.", "return the SUM .") == pytest.approx(100)
    # p1 = 3/4, p2 = (1 + 1) / (3 + 1), p3 = 1 / 3, p4 = 1 / 2; as long as the reference
    expected = 100 * (3 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25
    assert smoothed_bleu("return a big sum", "return the big sum") == pytest.approx(expected)
    assert smoothed_bleu("nothing right here", "return the sum") < 1e-60
    assert smoothed_bleu("", "return the sum") == pytest.approx(100 * math.exp(1 - 4))
    assert smoothed_bleu("the sum\tand more", "the sum") == pytest.approx(100)
    assert smoothed_bleu("get_name(x)", "get _ name ( x )") == pytest.approx(100)


@pytest.mark.parametrize(
    ("style", "prompt"),
    [
        (Prompt.LEFT, CODE.partition('"""')[0] + '"""'),
        (
            Prompt.FULL,
            CODE.partition("\n    # comes")[0]
            + "\n    # comes first\n    return width * height\n"
            + '\n""" The goal of this function is to:\n',
        ),
    ],
)
@pytest.mark.parametrize("name", ["test.jsonl", "test.jsonl.gz"])
def test_a_row_is_asked(tmp_path: Path, style: Prompt, prompt: str, name: str) -> None:
    rows = read_rows(
        write(tmp_path / name, ROW, {**ROW, "code": "def f(): pass"}), CodeToTextConfig(prompt=style)
    )
    [problem] = rows.problems
    assert problem.prompt == prompt
    assert problem.reference == "Area of a box." and problem.id == "0"
    assert rows.num_without_docstring == 1


@pytest.mark.parametrize(
    ("code", "docstring"),
    [
        ("def f():\n    'one quote'\n    return 1", "'one quote'"),
        ("def f(a: int) -> Dict[str, int]:\n\n    r'''raw'''\n", "r'''raw'''"),
        ("@app(x=':')\nasync def f(a=lambda: 1): \"same line\"", '"same line"'),
        ("def f(x):\n    '''old''' \n    print x\n    exec 'y'", "'''old'''"),
        ("def f(x):\n    return 'no'", None),
        ("x = 'no'", None),
        ("", None),
    ],
)
def test_docstrings_are_found_in_any_python(code: str, docstring: str | None) -> None:
    found = find_docstring(code)
    assert (found.text if found else None) == docstring


def test_the_first_line_counts_up_to_the_end_of_the_docstring() -> None:
    assert first_line('\n  Return it. \n more """ x') == "Return it."
    assert first_line('Return it."""\n    return x') == "Return it."
    assert first_line("'''x") == "" and first_line(" \n ") == ""


def test_tokens_become_text() -> None:
    assert detokenize(("Do", "n't", "use", "(", "it", ")", ",", "it", "'s", "x", "[", "0", "]", ".")) == (
        "Don't use (it), it's x [0]."
    )
    assert detokenize(("r", "Return", "\n", "it")) == "Return it"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", ":2: not JSON"),
        ({"code": CODE}, ":2: key 'docstring_tokens' is missing"),
        ({**ROW, "code": 1}, ":2: code: expected a string, got int"),
        ({**ROW, "docstring_tokens": "Area"}, ":2: docstring_tokens: expected a list of strings"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, row: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_rows(write(tmp_path / "rows.jsonl", ROW, row), CodeToTextConfig())


def test_a_file_without_docstrings_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {**ROW, "code": "def f(): pass"})
    with pytest.raises(DataError, match=r"no row's 'code' has a docstring"):
        read_rows(file, CodeToTextConfig())


class Answering:
    """Answers in reverse, and only so many before it is killed."""

    def __init__(self, until: int = 99) -> None:
        self.asked: list[SampleRequest] = []
        self.until = until

    def complete(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[SampleRequest, Completion]]:
        self.asked = list(requests)
        for request in self.asked[::-1][: self.until]:
            yield request, Completion(f"Area {request.problem.id} of a box.\n\n  Far more", Finish.STOP)
        if len(self.asked) > self.until:
            raise KeyboardInterrupt


def test_a_killed_run_goes_on_and_keeps_its_predictions(tmp_path: Path) -> None:
    config = CodeToTextConfig(limit=4)
    rows = read_rows(write(tmp_path / "rows.jsonl", *[ROW] * 6), config)
    assert len(rows.problems) == 4

    def run(source: Answering, out: Path) -> dict[str, object]:
        return code_to_text(config, rows, Writers([Writer("full", "FF", source)], {}), out)

    with pytest.raises(KeyboardInterrupt):
        run(Answering(until=3), tmp_path / "killed")
    rest = Answering()
    resumed, whole = run(rest, tmp_path / "killed"), run(Answering(), tmp_path / "whole")
    assert [request.problem.id for request in rest.asked] == ["0"]
    assert (rest.asked[0].temperature, rest.asked[0].max_tokens) == (0, 64)
    assert resumed == whole
    lines = (tmp_path / "killed" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["3", "2", "1", "0"]
    row = json.loads(lines[0])
    assert (row["preset"], row["prediction"], row["reference"]) == (
        "full",
        "Area 3 of a box.",
        "Area of a box.",
    )
    assert row["bleu"] == smoothed_bleu("Area 3 of a box.", "Area of a box.")


def test_the_command_scores_every_preset(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {**ROW, "code": 'def f(a):\n    """Doc."""\n    return a\n'}
    file, out = write(tmp_path / "rows.jsonl", short, short), tmp_path / "out"
    command = ["evaluate", "code-to-text", str(file), str(model), "--max-tokens", "4", "--out", str(out)]
    assert main([*command, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(row["preset"], row["placement"]) for row in results["presets"]] == [
        ("full", "FF"),
        ("fast", "GS"),
    ]
    assert all(
        0 <= row["interval"][0] <= row["bleu"] <= row["interval"][1] <= 100 for row in results["presets"]
    )
    assert len((out / "predictions.jsonl").read_text().splitlines()) == 4
    assert main([*command, "--preset", "all-kda", "--prompt", "full"]) == 0
    assert "KK" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.jsonl", "nowhere"], "nowhere.jsonl: no such file"),
        (["nowhere.jsonl"], "MODEL_OR_URL"),
    ],
)
def test_a_wrong_call_of_code_to_text_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "code-to-text", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
