"""What a file's licence is, from all that speaks of it, and whether a policy wants the file.

Sources, the most specific first: the file's own header, the nearest licence file above it, the nearest
package description, the table of repositories. The first that says something is *the* licence. Where a later
one says otherwise (an MIT header in a GPL repository), `conflicts: strictest` asks that the policy allow
both: to lose a file costs little, to train on one against its licence may cost much.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from derailleur.config import Config, read_yaml, validate
from derailleur.corpus.ledger import Verdict
from derailleur.corpus.licences.catalogue import UNKNOWN, catalogue, is_known, licence_class
from derailleur.corpus.licences.classes import LICENCE_CLASSES
from derailleur.corpus.licences.expression import Leaf, evaluate, parse

LicenceSource = Literal["header", "file", "declared", "metadata"]
Conflicts = Literal["strictest", "nearest"]

_CUSTOM = "LicenseRef-"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one source says of a file's licence.

    Attributes:
        licences: SPDX expressions that all apply.
        detail: where exactly, e.g. `LICENSE (0.98)`; empty for the file's own header.
    """

    licences: tuple[str, ...]
    source: LicenceSource
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FileLicence:
    """The licence of one file as the ledger records it.

    Attributes:
        licences: SPDX expressions that all apply; empty where nothing says anything.
        source: who says so, e.g. `header` or, where they differ, `header+file`; empty for none.
        detail: the places, in the same order.
    """

    licences: tuple[str, ...] = ()
    source: str = ""
    detail: str = ""


class LicencePolicy(Config):
    """Which licences are wanted, by identifier or class.

    An identifier counts before its class, deny before allow. OR needs one side allowed, AND all of them.
    """

    allow: tuple[str, ...] = Field((), description="SPDX identifiers, with or without WITH, and classes")
    deny: tuple[str, ...] = Field((), description="the same, refused; what is in neither list is refused too")
    unknown: Literal["keep", "drop"] = Field(
        "drop", description="files under a licence that is not recognised"
    )
    no_licence: Literal["keep", "drop"] = Field("drop", description="files of which nothing states a licence")
    conflicts: Conflicts = Field(
        "strictest",
        description="where sources differ: all of them must be allowed, or the most specific alone",
    )

    @field_validator("allow", "deny")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(name) for name in names)


class LicenceConfig(Config):
    """Whether licences are only recorded, or decide which files are kept."""

    policy: str = Field(
        "record",
        description="record (drops nothing), permissive (public domain too), or the path of a YAML file",
    )

    def load(self) -> LicencePolicy:
        """The policy itself.

        Raises:
            ConfigError: if the file is missing, or a key or an identifier in it is unknown.
        """
        if self.policy == "record":
            return LicencePolicy(allow=LICENCE_CLASSES, unknown="keep", no_licence="keep")
        if self.policy == "permissive":
            return LicencePolicy(allow=("permissive", "public_domain"))
        return validate(LicencePolicy, read_yaml(Path(self.policy)), source=self.policy)


def file_licence(statements: Sequence[Statement], conflicts: Conflicts = "strictest") -> FileLicence:
    """Settle what a file's licence is.

    Args:
        statements: the most specific source first; those without licences say nothing.

    Returns:
        The first statement, and under `strictest` what later ones add. A licence that is not
        recognised counts only where nothing else is known.
    """
    known = [
        statement for statement in statements if statement.licences and UNKNOWN not in statement.licences
    ]
    speaking = known or [statement for statement in statements if statement.licences]
    if conflicts == "nearest":
        speaking = speaking[:1]
    licences: dict[str, None] = {}
    telling = []
    for statement in speaking:
        if not licences or not _implied(statement, licences):
            telling.append(statement)
            licences.update(dict.fromkeys(statement.licences))
    return FileLicence(
        tuple(licences),
        "+".join(statement.source for statement in telling),
        "; ".join(statement.detail for statement in telling if statement.detail),
    )


def judge_licence(licence: FileLicence, policy: LicencePolicy) -> Verdict | None:
    """The reason to drop a file for its licence, or None.

    Reasons are `no_licence`, `licence_unknown` and `licence_not_allowed`.
    """
    if not licence.licences:
        return None if policy.no_licence == "keep" else Verdict("dropped", "no_licence")
    answer = min(_answer(text, policy) for text in licence.licences)
    if answer is _Answer.ALLOWED or (answer is _Answer.UNKNOWN and policy.unknown == "keep"):
        return None
    reason = "licence_unknown" if answer is _Answer.UNKNOWN else "licence_not_allowed"
    where = f" ({licence.source}: {licence.detail})" if licence.detail else f" ({licence.source})"
    return Verdict("dropped", reason, " AND ".join(licence.licences) + where)


class _Answer(IntEnum):
    """Kleene's three values: AND is the least of its sides, OR the greatest."""

    DENIED = 0
    UNKNOWN = 1
    ALLOWED = 2


def _answer(text: str, policy: LicencePolicy) -> _Answer:
    expression = parse(text)
    if expression is None:
        return _Answer.UNKNOWN
    return evaluate(expression, lambda leaf: _answer_leaf(leaf, policy), every=min, some=max)


def _answer_leaf(leaf: Leaf, policy: LicencePolicy) -> _Answer:
    kind = licence_class(leaf.licence, leaf.exception)
    for name in (str(leaf), leaf.licence, leaf.licence.removesuffix("+"), kind):
        if name in policy.deny:
            return _Answer.DENIED
        if name in policy.allow and name != "unknown":
            return _Answer.ALLOWED
    return _Answer.UNKNOWN if kind == "unknown" else _Answer.DENIED


def _implied(statement: Statement, licences: dict[str, None]) -> bool:
    """Whether a further statement adds no licence: it names the same ones, perhaps with less said of them."""
    said = {leaf for text in licences for leaf in _names(text)}
    return all(_names(text) <= said for text in statement.licences)


def _names(text: str) -> frozenset[str]:
    """The licences of an expression, `-only` and `-or-later` alike: a licence text cannot tell them apart."""
    expression = parse(text)
    if expression is None:
        return frozenset([text])
    return evaluate(
        expression,
        lambda leaf: frozenset([leaf.licence.removesuffix("-only").removesuffix("-or-later")]),
        every=lambda parts: frozenset().union(*parts),
        some=lambda parts: frozenset().union(*parts),
    )


def _checked(name: str) -> str:
    if name in LICENCE_CLASSES or name.startswith(_CUSTOM):
        return name
    expression = parse(name)
    if not isinstance(expression, Leaf) or not is_known(expression.licence):
        known = (*LICENCE_CLASSES, *catalogue())
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise ValueError(f"unknown licence or class '{name}'; did you mean '{near[0]}'?")
    return str(expression)
