"""The licences that SPDX lists, with what others and we say of each. The data are made by `build`.

The class of a licence is ours (`classes`); it is a reading for the choice of training data, no legal advice.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from derailleur.corpus.licences.classes import LicenceClass, class_of_id, weakened

UNKNOWN = "LicenseRef-unknown"
"""There is a licence file or a notice, and it is none that we know."""
PROPRIETARY = "LicenseRef-proprietary"
"""The text keeps all rights or forbids to copy."""
BSD = "LicenseRef-BSD"
"""Some BSD licence; the text does not say which."""
RESTRICTED = "LicenseRef-use-restriction"
"""A known licence with an added limit of use, such as the Commons Clause."""
PUBLIC_DOMAIN = "LicenseRef-public-domain"
"""Given to the public in words of the author's own."""

_OWN: Mapping[str, LicenceClass] = {
    PROPRIETARY: "proprietary",
    BSD: "permissive",
    RESTRICTED: "restricted",
    PUBLIC_DOMAIN: "public_domain",
}

# What deprecated identifiers mean now: (identifier, exception).
_SUCCESSORS = {
    "GPL-2.0-with-autoconf-exception": ("GPL-2.0-only", "Autoconf-exception-2.0"),
    "GPL-2.0-with-bison-exception": ("GPL-2.0-only", "Bison-exception-2.2"),
    "GPL-2.0-with-classpath-exception": ("GPL-2.0-only", "Classpath-exception-2.0"),
    "GPL-2.0-with-font-exception": ("GPL-2.0-only", "Font-exception-2.0"),
    "GPL-2.0-with-GCC-exception": ("GPL-2.0-only", "GCC-exception-2.0"),
    "GPL-3.0-with-autoconf-exception": ("GPL-3.0-only", "Autoconf-exception-3.0"),
    "GPL-3.0-with-GCC-exception": ("GPL-3.0-only", "GCC-exception-3.1"),
    "eCos-2.0": ("GPL-2.0-or-later", "eCos-exception-2.0"),
    "wxWindows": ("LGPL-2.0-or-later", "WxWindows-exception-3.1"),
    "BSD-2-Clause-FreeBSD": ("BSD-2-Clause", ""),
    "BSD-2-Clause-NetBSD": ("BSD-2-Clause", ""),
    "StandardML-NJ": ("SMLNJ", ""),
    "bzip2-1.0.5": ("bzip2-1.0.6", ""),
}
_GNU = ("AGPL-", "GFDL-", "GPL-", "LGPL-")


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence of the SPDX list.

    Attributes:
        osi, fsf: approved by the Open Source Initiative; free by the Free Software Foundation.
        blue_oak: its grade in the Blue Oak Council's list of permissive licences, or empty.
    """

    id: str
    name: str
    osi: bool
    fsf: bool
    blue_oak: str
    deprecated: bool


@cache
def catalogue() -> Mapping[str, Licence]:
    """Every licence of the list, by identifier."""
    return {row["id"]: Licence(**row) for row in _data()["licences"]}


def licence_class(licence: str, exception: str = "") -> LicenceClass:
    """What kind of licence it is; `unknown` for one that is not listed."""
    licence = licence.removesuffix("+")
    listed = catalogue().get(licence)
    if listed is None:
        return _OWN.get(licence, "unknown")
    return weakened(class_of_id(licence, permissive=bool(listed.blue_oak)), exception)


def is_known(licence: str) -> bool:
    """Whether an identifier is listed, or one of ours."""
    return licence.removesuffix("+") in catalogue() or licence in _OWN


def canonical_id(name: str) -> tuple[str, str]:
    """An identifier as SPDX writes it now, and the exception that a deprecated one stands for."""
    base, plus = (name[:-1], "+") if name.endswith("+") else (name, "")
    known = _spellings().get(base.lower())
    if known is None:
        return name, ""
    if known in _SUCCESSORS:
        return _SUCCESSORS[known]
    if known.startswith(_GNU):
        stem = known.removesuffix("-only")
        if stem.endswith("-or-later"):
            return stem, ""
        return stem + ("-or-later" if plus else "-only"), ""
    return known + plus, ""


def canonical_exception(name: str) -> str:
    """An exception as SPDX writes it."""
    return _exceptions().get(name.lower(), name)


@cache
def _spellings() -> Mapping[str, str]:
    return {name.lower(): name for name in (*catalogue(), *_OWN, UNKNOWN)}


@cache
def _exceptions() -> Mapping[str, str]:
    return {name.lower(): name for name in _data()["exceptions"]}


@cache
def _data() -> Mapping[str, list]:
    return json.loads((files(__package__) / "data" / "licences.json").read_text(encoding="utf-8"))
