"""Which language a file is written in: by its name, and where the name leaves it open, by its content."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from derailleur.corpus.languages.content import BY_CONTENT, UNNAMED
from derailleur.corpus.languages.hints import interpreted_language, modeline_language
from derailleur.corpus.languages.table import LANGUAGES


def _candidates() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for language in LANGUAGES.values():
        for extension in language.extensions:
            found[extension].append(language.name)
    return {extension: tuple(names) for extension, names in found.items()}


_BY_NAME = {name: language.name for language in LANGUAGES.values() for name in language.names}

CANDIDATES = _candidates()
"""The languages that claim an extension."""

_TEMPLATE = ".in"  # config.h.in is made into config.h


def language_of(path: str, data: bytes | None = None) -> str | None:
    """The language of a file, or None where nothing tells it.

    A whole file name decides first, then the longest extension of the name that is known. Where several
    languages share it, or none has it, the content decides: `#!` line, modeline, then what only one language
    would say.

    Args:
        data: the file's text; None answers by the name alone, with the commonest language of an extension.
    """
    name = path.rpartition("/")[2]
    if language := _BY_NAME.get(name):
        return language
    extension = next((end for end in _extensions(name) if end in CANDIDATES), "")
    rules = BY_CONTENT.get(extension)
    if extension and rules is None:
        return CANDIDATES[extension][0]
    if not extension and name.endswith(_TEMPLATE):
        return language_of(name.removesuffix(_TEMPLATE), data)
    rules = rules or UNNAMED
    if data is None:
        return rules.otherwise
    return interpreted_language(data) or modeline_language(data) or rules.decide(data)


def _extensions(name: str) -> Iterator[str]:
    """`.tar.gz`, then `.gz`; a leading dot begins a hidden file's name, not an extension."""
    name = name.lower()
    dot = name.find(".", 1)
    while dot > 0:
        yield name[dot:]
        dot = name.find(".", dot + 1)
