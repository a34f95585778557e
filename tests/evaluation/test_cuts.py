"""What each kind of hole takes out of a file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.evaluation.cuts import Cut, spans
from derailleur.evaluation.edit_similarity import edit_distance, edit_similarity
from derailleur.evaluation.infilling import choose_problems
from derailleur.tokens.documents import Document

PYTHON = """import os
# if comment(a): call(b)
def join(first, *rest):
    if first and os.path.isdir(first[0:2]):
        return join(rest[0], sep={1: 2})
    elif (not rest
          or first):
        raise Error("f(x) if y:")
    while len(rest) > 1: rest.pop()
    return lambda: print()

"""
JAVASCRIPT = """function walk(tree) {
  if (tree.left && walk(tree.left)) { return visit(tree, (node) => node.next); }
  while (true)
    step();
  // if (no) call(no);
}
"""


def cut_out(text: str, cut: Cut, language: str = "Python", seed: int = 0) -> list[str]:
    document = Document("", "", "heldout", text, language)
    return [text[begin:end] for begin, end in spans(document, cut, np.random.default_rng(seed))]


def test_arguments_of_calls_on_one_line() -> None:
    assert cut_out(PYTHON, Cut.ARGUMENTS) == [
        *("first[0:2]", "rest[0], sep={1: 2}", '"f(x) if y:"', "rest"),
    ]
    assert cut_out(JAVASCRIPT, Cut.ARGUMENTS, "JavaScript") == [
        *("tree.left", "tree, (node) => node.next"),
    ]


def test_conditions_on_one_line() -> None:
    assert cut_out(PYTHON, Cut.CONDITION) == ["first and os.path.isdir(first[0:2])", "len(rest) > 1"]
    assert cut_out(JAVASCRIPT, Cut.CONDITION, "JavaScript") == ["tree.left && walk(tree.left)", "true"]


@pytest.mark.parametrize("seed", range(5))
def test_the_rest_of_a_line_begins_behind_a_character_of_it(seed: int) -> None:
    lines = [line.strip() for line in PYTHON.splitlines()]
    rests = cut_out(PYTHON, Cut.REST_OF_LINE, seed=seed)
    assert len(rests) >= 4
    for rest in rests:
        assert any(line.endswith(rest) and line != rest for line in lines)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_are_two_to_four_lines_of_code(seed: int) -> None:
    lines = cut_out(PYTHON, Cut.SINGLE_LINE)
    for block in cut_out(PYTHON, Cut.MULTI_LINE, seed=seed):
        assert 2 <= sum(line.strip() in lines for line in block.split("\n")) <= 4
        assert block == block.strip()


def test_random_spans_are_short_and_anywhere() -> None:
    found = [span for seed in range(40) for span in cut_out(PYTHON, Cut.RANDOM_SPAN, seed=seed)]
    assert all(1 <= len(span) <= 100 for span in found)
    assert any("\n" in span for span in found) and any(span[0].isspace() for span in found)


@pytest.mark.parametrize("cut", Cut)
def test_the_same_seed_cuts_the_same_and_parts_give_the_file_back(cut: Cut) -> None:
    documents = [Document("", "", "heldout", text, "Python") for text in (PYTHON, PYTHON * 2)]
    first, again, other = (
        choose_problems(documents, cut, 6, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    for problem in first:
        assert problem.prefix + problem.middle + problem.suffix in (PYTHON, PYTHON * 2)
        assert cut.within_line <= ("\n" not in problem.middle)


@given(text=st.text("ab(){}[]:;=, \n\t\"'#if é", max_size=80), cut=st.sampled_from(Cut))
def test_any_text_can_be_cut(text: str, cut: Cut) -> None:
    for part in cut_out(text, cut, "JavaScript") + cut_out(text, cut, ""):
        assert any(map(str.isalnum, part)) and cut.within_line <= ("\n" not in part)


def slow_distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@given(left=st.text("abé\n", max_size=90), right=st.text("abé\n", max_size=90))
def test_the_edit_distance_is_that_of_the_whole_table(left: str, right: str) -> None:
    assert edit_distance(left, right) == slow_distance(left, right)


def test_edit_similarity_of_known_cases() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit_similarity("", "") == edit_similarity("x = 1", "x = 1") == 1
    assert edit_similarity("", "abc") == edit_similarity("xyz", "abc") == 0
