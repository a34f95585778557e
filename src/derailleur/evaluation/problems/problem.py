"""One problem of a benchmark, and how a completion of it becomes a program with tests."""

from dataclasses import dataclass
from enum import StrEnum

from derailleur.evaluation.programs import Language, Row

STOPS = {
    Language.PYTHON: ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```"),
    Language.JAVASCRIPT: ("\nfunction ", "\n/*", "\n//", "\nconsole.log"),
    Language.JAVA: ("\n    }\n",),
}
"""What ends a completion of a function where the file does not say: HumanEval's and MultiPL-E's."""


class Gap(StrEnum):
    """What a completion fills.

    `END`: the rest of the function, after the prompt. `SPAN`: any characters between prompt and suffix.
    `LINE`: a whole line, whose newlines at both ends neither prompt nor suffix has (SantaCoder's files).
    """

    END = "end"
    SPAN = "span"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes:
        id: as its file has it; unique in the file.
        prompt: what is before the completion.
        suffix: what is after it; empty where the completion ends the function.
        tests: code behind the program that fails where it is wrong. Java's close the function and the class.
        stop: texts, each of which ends a completion and is not part of it.
        reference: a completion that passes, where the file has one.
        entry_point: the function under test, where the file names it.
    """

    id: str
    language: Language
    prompt: str
    tests: str
    suffix: str = ""
    gap: Gap = Gap.END
    stop: tuple[str, ...] = ()
    reference: str | None = None
    entry_point: str | None = None

    @property
    def is_brace_only(self) -> bool:
        """Whether the line to fill in is only brackets: nearly free, so reported apart."""
        return self.gap is Gap.LINE and not any(map(str.isalnum, self.reference or ""))

    def program(self, completion: str, *, row_id: str | None = None) -> Row:
        """The completion in its place, with the tests.

        Args:
            row_id: the row's id, the problem's own by default.
        """
        body = self._filled(completion)
        if self.gap is Gap.LINE and self.language is Language.JAVA:
            body = _reopened(body)
        program = body if body.endswith("\n") else body + "\n"
        return Row(id=row_id or self.id, language=self.language, program=program, tests=self.tests)

    def exact_match(self, completion: str) -> bool:
        """Whether the completion is the reference, white space at both ends aside."""
        return self.reference is not None and completion.strip() == self.reference.strip()

    def _filled(self, completion: str) -> str:
        if self.gap is not Gap.LINE:
            return self.prompt + completion + self.suffix
        before = "" if self.prompt.endswith("\n") or completion.startswith("\n") else "\n"
        after = "" if self.suffix.startswith("\n") or completion.endswith("\n") else "\n"
        return self.prompt + before + completion + after + self.suffix


def _reopened(body: str) -> str:
    """A Java class without the braces that close its last function and itself: the tests have them.

    A body that does not end so is left alone, and does not compile with the tests, as it should be.
    """
    outer = body.rstrip()
    inner = outer.removesuffix("}").rstrip()
    if not (outer.endswith("}") and inner.endswith("}")):
        return body
    return inner.removesuffix("}").rstrip(" ")
