"""Which lines are taken out, and when an answer counts."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.engine import Engine, Generation
from derailleur.errors import DataError
from derailleur.evaluation.cuts import Cut
from derailleur.evaluation.infilling import choose_problems, score_infilling
from derailleur.evaluation.intervals import wilson_interval
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer
from derailleur.tokens.documents import Document

LINE = Cut.SINGLE_LINE
CODE = "import os\n\n# a comment\ndef f(a):\n    return [\n        a + 1,  \n    ]\n}\n  // no\r\n"
LINES = ["import os", "def f(a):", "return [", "a + 1,"]


def document(text: str) -> Document:
    return Document("", "", "heldout", text)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_lines_of_code_are_taken_out_without_their_indentation() -> None:
    problems = choose_problems([document(CODE)], LINE, 100, rng())
    assert sorted(problem.middle for problem in problems) == sorted(LINES)
    for problem in problems:
        assert problem.prefix + problem.middle + problem.suffix == CODE
    (inner,) = [problem for problem in problems if problem.middle == "a + 1,"]
    assert inner.prefix.endswith("\n        ") and inner.suffix.startswith("  \n    ]")


def test_every_file_gives_a_line_before_one_gives_two_and_the_seed_decides() -> None:
    documents = [document(CODE), document("one = 1\n"), document("# nothing\n{}\n")]
    first = choose_problems(documents, LINE, 2, rng())
    assert sorted(problem.prefix + problem.middle + problem.suffix for problem in first) == sorted(
        [CODE, "one = 1\n"]
    )
    assert first == choose_problems(documents, LINE, 2, rng())
    assert len({choose_problems(documents, LINE, 5, rng(seed))[2].middle for seed in range(20)}) > 1


def test_files_without_code_are_an_error() -> None:
    with pytest.raises(DataError, match="no held-out file has anything to fill in of kind 'single-line'"):
        choose_problems([document("# only\n\n)\n")], LINE, 5, rng())


class Answering:
    """An engine that says what it is told to; remembers what it was asked."""

    max_context = 48

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.answers = answers
        self.asked: dict[str, Any] = {}

    def generate(self, prompts: Sequence[Sequence[int]], **asked: Any) -> list[Generation]:
        self.asked = asked | {"prompts": prompts}
        return [Generation(tokens=list(tokens)) for tokens in self.answers]


def test_an_answer_counts_up_to_its_first_newline_or_control_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.fim is not None
    problems = [SimpleNamespace(prefix="a", middle="x = 1", suffix="b")] * 6
    right = tokenizer.encode("x = 1")
    answers = [
        right,
        tokenizer.encode("  x = 1 \nmore"),
        [*right, tokenizer.eos_id, *right],
        [*right, tokenizer.fim.pad_id],
        tokenizer.encode("x = 12"),
        tokenizer.encode("\nx = 1"),
    ]
    engine = Answering(answers)
    score = score_infilling(engine, tokenizer, problems, Placement("FF"), max_tokens=9, within_line=True)
    assert (score.num_correct, score.num_problems) == (4, 6)
    assert engine.asked["max_tokens"] == 9 and engine.asked["stop"] == ["\n"]


def test_prompts_leave_room_for_the_answer_and_keep_what_is_near_the_hole(tokenizer: Tokenizer) -> None:
    assert tokenizer.fim is not None
    problem = SimpleNamespace(prefix="far " * 90 + "near", middle="x", suffix="close" + " far" * 90)
    engine = Answering([[]])
    score_infilling(engine, tokenizer, [problem], Placement("FF"), max_tokens=8, within_line=True)
    (prompt,) = engine.asked["prompts"]
    assert len(prompt) == 48 - 8
    cut = prompt.index(tokenizer.fim.middle_id)
    assert tokenizer.decode(prompt[cut + 1 :]).endswith("near")
    assert tokenizer.decode(prompt[2:cut]).startswith("close")


def test_the_real_engine_answers_every_problem(engine: Engine, tokenizer: Tokenizer) -> None:
    problems = choose_problems([document(CODE)], LINE, 4, rng())
    done: list[tuple[float, float | None]] = []

    def progress(label: str, count: float, total: float | None, note: str = "") -> None:
        done.append((count, total))

    score = score_infilling(
        engine, tokenizer, problems, Placement("GS"), max_tokens=6, within_line=True, progress=progress
    )
    assert score.num_problems == 4 and 0 <= score.num_correct <= 4
    assert done[-1] == (4, 4)


@given(num_problems=st.integers(1, 500), data=st.data())
def test_wilson_intervals_hold_the_share_and_narrow_with_more_problems(
    num_problems: int, data: st.DataObject
) -> None:
    num_correct = data.draw(st.integers(0, num_problems))
    low, high = wilson_interval(num_correct, num_problems)
    assert 0 <= low <= num_correct / num_problems + 1e-12 and num_correct / num_problems - 1e-12 <= high <= 1
    narrower = wilson_interval(4 * num_correct, 4 * num_problems)
    assert narrower[1] - narrower[0] < high - low


def test_wilson_interval_of_a_known_case() -> None:
    # Newcombe (1998), table I: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
