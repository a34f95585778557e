"""Code-to-text in Python: a model writes the first line of a function's docstring, which is compared by BLEU.

Zero-shot on files in CodeXGLUE's layout (Lu et al. 2021, arXiv:2102.04664), with the prompts that SantaCoder
was measured with: `left` ends at the docstring's opening quotes; `full` is the function without its docstring
and asks for one after it.

predictions.jsonl   rows {"preset", "id", "prediction", "reference", "bleu"}, in the order of answering
"""

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from derailleur.config import Config
from derailleur.engine import EngineConfig
from derailleur.errors import DataError
from derailleur.evaluation.benchmark.run import Writer
from derailleur.evaluation.benchmark.writers import Writers
from derailleur.evaluation.bleu import smoothed_bleu
from derailleur.evaluation.generation.http import ServerConfig
from derailleur.evaluation.generation.request import SampleRequest
from derailleur.evaluation.json_lines import Record, read_records
from derailleur.evaluation.lexing import PYTHON, Kind, Lexeme, lex
from derailleur.evaluation.passing import bootstrap_interval
from derailleur.evaluation.problems import Problem
from derailleur.evaluation.programs import Language
from derailleur.io import Progress, silent
from derailleur.journal import Journal

VERSION = 1

PREDICTIONS = "predictions.jsonl"

_QUOTES = ('"""', "'''")
_REQUEST = '\n""" The goal of this function is to:\n'


class Prompt(StrEnum):
    """What a model reads: a function up to its docstring, or all of it but the docstring."""

    LEFT = "left"
    FULL = "full"


class CodeToTextConfig(Config):
    """How code-to-text is measured."""

    prompt: Prompt = Field(
        Prompt.LEFT, description="left: the function up to its docstring; full: all but its docstring"
    )
    limit: int | None = Field(None, gt=0, description="rows read, from the first on; all if absent")
    max_tokens: int = Field(64, gt=0, description="longest answer, tokens; its first line counts")
    presets: tuple[str, ...] = Field((), description="presets or placements; every preset if empty")
    engine: EngineConfig = Field(EngineConfig(), description="the engine that answers")
    server: ServerConfig = Field(ServerConfig(), description="how a server is asked")


@dataclass(frozen=True)
class Rows:
    """What a file asks.

    Attributes:
        problems: one a row, with the reference.
        num_without_docstring: rows whose code has none, which cannot be asked.
    """

    problems: Sequence[Problem]
    num_without_docstring: int


def read_rows(path: Path, config: CodeToTextConfig) -> Rows:
    """Read a file of {"code", "docstring_tokens", ...}, `.gz` or not.

    Raises:
        DataError: for a row that is malformed, and if no row has a docstring; names the row.
    """
    records = list(islice(read_records(path), config.limit))
    found = [_problem(record, number, config.prompt) for number, record in enumerate(records)]
    problems = [problem for problem in found if problem is not None]
    if not problems:
        raise DataError(f"{path}: no row's 'code' has a docstring to be written")
    return Rows(problems, len(found) - len(problems))


def code_to_text(
    config: CodeToTextConfig, rows: Rows, writers: Writers, out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Ask every preset for every docstring; what predictions.jsonl holds already is not asked again.

    Returns:
        What was asked, and for each preset the mean BLEU with its 95 % interval over rows.
    """
    out.mkdir(parents=True, exist_ok=True)
    journal = Journal(out / PREDICTIONS)
    results = [_score(config, rows.problems, writer, journal, progress) for writer in writers.writers]
    return {
        "model": dict(writers.described),
        "prompt": config.prompt,
        "max_tokens": config.max_tokens,
        "rows": len(rows.problems),
        "without_docstring": rows.num_without_docstring,
        "presets": results,
    }


def _score(
    config: CodeToTextConfig,
    problems: Sequence[Problem],
    writer: Writer,
    journal: Journal,
    progress: Progress,
) -> dict[str, Any]:
    scores = {row["id"]: row["bleu"] for row in journal.rows if row["preset"] == writer.name}
    missing = [_request(problem, config) for problem in problems if problem.id not in scores]
    for request, completion in writer.source.complete(missing):
        problem = request.problem
        assert problem.reference is not None
        prediction = first_line(completion.text)
        scores[problem.id] = bleu = smoothed_bleu(prediction, problem.reference)
        journal.append(
            {
                "preset": writer.name,
                "id": problem.id,
                "prediction": prediction,
                "reference": problem.reference,
                "bleu": bleu,
            }
        )
        progress(f"code-to-text {writer.name}", len(scores), len(problems))
    found = [scores[problem.id] for problem in problems]
    return {
        "preset": writer.name,
        "placement": writer.placement,
        "bleu": statistics.fmean(found),
        "interval": list(bootstrap_interval(found, seed=0)),
    }


def _request(problem: Problem, config: CodeToTextConfig) -> SampleRequest:
    return SampleRequest(problem, temperature=0.0, top_p=1.0, max_tokens=config.max_tokens, index=0, seed=0)


def _problem(record: Record, number: int, prompt: Prompt) -> Problem | None:
    code, words = record.text("code"), record.texts("docstring_tokens")
    docstring = find_docstring(code)
    if docstring is None:
        return None
    before, after = code[: docstring.start].rstrip(), code[docstring.end :]
    return Problem(
        id=str(number),
        language=Language.PYTHON,
        prompt=f'{code[: docstring.start]}"""' if prompt is Prompt.LEFT else before + after + _REQUEST,
        tests="",
        stop=_QUOTES,
        reference=detokenize(words),
    )


def find_docstring(code: str) -> Lexeme | None:
    """The literal that is the first statement of a function, in whatever Python it is written."""
    lexemes = (lexeme for lexeme in lex(code, PYTHON) if lexeme.kind is not Kind.COMMENT)
    body = _body(lexemes)
    first = next((lexeme for lexeme in body if lexeme.kind is not Kind.NEWLINE), None)
    return first if first is not None and first.kind is Kind.STRING else None


def _body(lexemes: Iterator[Lexeme]) -> Iterator[Lexeme]:
    """What follows the colon of the first `def`."""
    depth = 0
    for lexeme in lexemes:
        if lexeme.text == "def":
            break
    for lexeme in lexemes:
        depth += (lexeme.kind is Kind.OPENING) - (lexeme.kind is Kind.CLOSING)
        if depth == 0 and lexeme.text == ":":
            break
    return lexemes


def first_line(text: str) -> str:
    """The first line of an answer that is not blank, up to a docstring's end."""
    end = min((text.find(quotes) for quotes in _QUOTES if quotes in text), default=len(text))
    return text[:end].strip().partition("\n")[0].strip()


def detokenize(words: Sequence[str]) -> str:
    """Text of tokenised English: punctuation joins the word that it belongs to.

    The prefix of a raw docstring, which CodeXGLUE took for its first word, goes.
    """
    text = " ".join(" ".join(words[words[:1] == ("r",) :]).split())
    text = re.sub(r" ([.,;:!?%)\]}]|n't\b|'(?:s|re|ve|ll|d|m)\b)", r"\1", text)
    return re.sub(r"([(\[{]) ", r"\1", text)
