"""The licence that a package's own description declares: package.json, pyproject.toml, Cargo.toml and others.

Names and expressions alone are taken: a licence file of the same folder says more.
"""

import configparser
import email.parser
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from derailleur.corpus.licences.catalogue import BSD, PROPRIETARY, PUBLIC_DOMAIN, UNKNOWN, is_known
from derailleur.corpus.licences.expression import Expression, Leaf, any_of, leaves, parse
from derailleur.corpus.licences.match import match_licence
from derailleur.corpus.licences.notices import stated_licence
from derailleur.corpus.licences.words import phrase_text

MAX_BYTES = 64 << 10
"""Descriptions are short; a longer one is cut, and says nothing where that breaks it."""

_LONG_NAME = 200  # characters; some put the whole text where its name belongs
_SAYS_NOTHING = frozenset(
    ["", "unknown", "none", "noassertion", "see license file", "other", "dual license", "licence", "license"]
)

_CLASSIFIERS = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": BSD,
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Common Development and Distribution License 1.0 (CDDL-1.0)": "CDDL-1.0",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License (GPL)": "GPL-1.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.0-or-later",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": PROPRIETARY,
    "Public Domain": PUBLIC_DOMAIN,
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
}


def is_description(path: str) -> bool:
    """Whether a file is a package description that may declare a licence."""
    return _reader(path) is not None


def declared_licences(path: str, data: bytes) -> tuple[str, ...]:
    """The SPDX expression that a package description declares; empty where it declares none."""
    reader = _reader(path)
    if reader is None:
        return ()
    try:
        stated = list(reader(data[:MAX_BYTES].decode("utf-8", "replace")))
    except (ValueError, configparser.Error, RecursionError):  # not what its name says
        return ()
    named = [expression for text in stated if (expression := named_licence(text)) is not None]
    return (str(any_of(named)),) if named else ()


def named_licence(text: str) -> Expression | None:
    """The licence of a free-text field: an expression, a name, a notice or the text itself."""
    text = text.strip()
    if " ".join(text.lower().split()) in _SAYS_NOTHING or text.lower().startswith(
        ("see license", "file:", "http")
    ):
        return None
    if len(text) > _LONG_NAME:
        found = match_licence(text.encode())
        return Leaf(UNKNOWN) if found is None else parse(found.spdx)
    if text in _CLASSIFIERS:
        return Leaf(_CLASSIFIERS[text])
    if text.lower() in ("unlicensed", "proprietary", "commercial"):  # npm's word for no licence at all
        return Leaf(PROPRIETARY)
    parsed = parse(text.replace("/", " OR "))
    if parsed is not None and all(is_known(leaf.licence) for leaf in leaves(parsed)):
        return parsed
    return stated_licence(phrase_text(f"license {text}".encode())) or Leaf(UNKNOWN)


def _package_json(text: str) -> Iterator[str]:
    value = json.loads(text)
    if not isinstance(value, dict):
        return
    for found in (value.get("license"), *_list(value.get("licenses"))):
        if isinstance(found, dict):
            found = found.get("type")
        if isinstance(found, str):
            yield found


def _composer_json(text: str) -> Iterator[str]:
    value = json.loads(text)
    if isinstance(value, dict):
        found = value.get("license")
        yield from (name for name in (found if isinstance(found, list) else [found]) if isinstance(name, str))


def _pyproject(text: str) -> Iterator[str]:
    value = tomllib.loads(text)
    for table in (value.get("project"), _table(value.get("tool")).get("poetry")):
        table = _table(table)
        found = table.get("license")
        found = found.get("text") if isinstance(found, dict) else found
        yield from _field_or_classifiers(found, _list(table.get("classifiers")))


def _cargo(text: str) -> Iterator[str]:
    value = tomllib.loads(text)
    for table in (value.get("package"), _table(value.get("workspace")).get("package")):
        found = _table(table).get("license")
        if isinstance(found, str):
            yield found


def _setup_cfg(text: str) -> Iterator[str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    if parser.has_section("metadata"):
        classifiers = parser.get("metadata", "classifiers", fallback="").splitlines()
        yield from _field_or_classifiers(parser.get("metadata", "license", fallback=None), classifiers)


def _core_metadata(text: str) -> Iterator[str]:
    headers = email.parser.HeaderParser().parsestr(text)
    if expression := headers.get("License-Expression"):
        yield expression
    else:
        yield from _field_or_classifiers(headers.get("License"), headers.get_all("Classifier", []))


def _r_description(text: str) -> Iterator[str]:
    found = email.parser.HeaderParser().parsestr(text).get("License")
    for name in (found or "").split("|"):
        name = re.sub(r"\+\s*file\s+LICEN[SC]E|\bfile\s+LICEN[SC]E", "", name).strip()
        versioned = re.fullmatch(r"([AL]?GPL)(?:-| \()?\s*(>=)?\s*([\d.]+)?\)?", name)
        if versioned:
            kind, later, version = versioned.groups()
            yield f"{kind} {version or ''}{' or later' if later else ''}".strip()
        elif name:
            yield name


def _pom(text: str) -> Iterator[str]:
    block = re.search(r"<licenses>(.{0,5000}?)</licenses>", text, re.DOTALL)
    if block:
        yield from re.findall(r"<name>([^<]{1,200})</name>", block[1])


def _gemspec(text: str) -> Iterator[str]:
    for line in re.findall(r"\.licenses?\s*=\s*([^\n]{1,200})", text):
        yield from re.findall(r"[\"']([^\"']+)[\"']", line)


_Reader = Callable[[str], Iterator[str]]
_READERS: Mapping[str, _Reader] = {
    "package.json": _package_json,
    "bower.json": _package_json,
    "composer.json": _composer_json,
    "pyproject.toml": _pyproject,
    "cargo.toml": _cargo,
    "setup.cfg": _setup_cfg,
    "pkg-info": _core_metadata,
    "metadata": _core_metadata,
    "description": _r_description,
    "pom.xml": _pom,
}


def _reader(path: str) -> _Reader | None:
    name = path.rpartition("/")[2].lower()
    return _gemspec if name.endswith(".gemspec") else _READERS.get(name)


def _field_or_classifiers(field: Any, classifiers: list[Any]) -> Iterator[str]:
    """The field, which says more than the families that classifiers name; else the classifiers."""
    if isinstance(field, str) and field.strip():
        yield field
        return
    for classifier in classifiers:
        parts = [part.strip() for part in str(classifier).split("::")]
        if parts[0] == "License" and parts[-1] not in ("License", "OSI Approved"):
            yield parts[-1]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
