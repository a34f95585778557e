"""Which files of a repository speak of its licence, and for which folders.

A licence file counts for its folder and all below, until a deeper folder has one of its own. NOTICE files
count only where nothing else does: they mostly give credit. Files in `LICENSES/` (REUSE) are texts that
headers refer to, and count for the folder above only where no other file does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from derailleur.corpus.licences.catalogue import UNKNOWN
from derailleur.corpus.licences.expression import Leaf, all_of, any_of, parse
from derailleur.corpus.licences.match import LicenceMatch

_LICENCE_NAME = re.compile(
    r"(?:[\w.-]+[.-])?(?:un)?licen[sc]es?(?P<of>[.\-_][\w.+-]+)?|(?:[\w.-]+[.-])?copying(?:[.\-_][\w.+-]+)?|copyright(?:\.\w+)?"
    r"|notice(?:\.\w+)?|mit-license(?:\.\w+)?|eula(?:\.\w+)?|patents",
    re.IGNORECASE,
)
_NO_LICENCE_FILE = re.compile(
    r".*\.(?:py|pyi|js|mjs|cjs|ts|tsx|jsx|java|kt|go|rs|c|cc|cpp|h|hpp|cs|rb|php|sh|json|ya?ml|toml|xml|css|scss|"
    r"svg|png|gif|properties|gradle|in|tmpl|sql|swift|scala|lua|pl|pm|el|vue|lock|csv|pdf)|.*\.license",
    re.IGNORECASE,
)
_NOTICE = re.compile(r"(?:notice|copyright|patents)(?:\.\w+)?", re.IGNORECASE)
_SUFFIXED = re.compile(r"(?:un)?licen[sc]e[.\-_](?!txt$|md$|rst$|html?$)[\w.+-]+", re.IGNORECASE)
_REUSE_FOLDER = "licenses"


@dataclass(frozen=True, slots=True)
class FolderLicence:
    """What the licence files of one folder say.

    Attributes:
        licences: SPDX expressions that all apply; `LicenseRef-unknown` where a file matches none.
        source: the files with their similarities, for the ledger.
    """

    licences: tuple[str, ...]
    source: str


def is_licence_file(path: str) -> bool:
    """Whether a path is named as licence files are: LICENSE, COPYING.LESSER, LICENSE-MIT.txt, UNLICENSE."""
    *folders, name = path.split("/")
    if _NO_LICENCE_FILE.fullmatch(name):
        return False
    in_reuse_folder = bool(folders) and folders[-1].lower() == _REUSE_FOLDER
    return in_reuse_folder or _LICENCE_NAME.fullmatch(name) is not None


def folder_licences(matches: Mapping[str, LicenceMatch | None]) -> dict[str, FolderLicence]:
    """Join the licence files of each folder of one repository.

    Args:
        matches: path of each licence file -> what it says, None where it matches no licence.

    Returns:
        By folder, the root as the empty string.
    """
    folders: dict[str, dict[str, LicenceMatch | None]] = {}
    for path in sorted(matches):
        folder, _, name = path.rpartition("/")
        above, _, last = folder.rpartition("/")
        rank = 2 if last.lower() == _REUSE_FOLDER else 1 if _NOTICE.fullmatch(name) else 0
        home = above if rank == 2 else folder
        folders.setdefault(f"{home}\0{rank}", {})[path] = matches[path]
    best: dict[str, FolderLicence] = {}
    for key in sorted(folders):
        home, _, kind = key.partition("\0")
        known = {path: match for path, match in folders[key].items() if match is not None}
        if home not in best and (known or kind == "0"):
            best[home] = _joined(folders[key], known)
    return best


def nearest_folder(found: Mapping[str, object], path: str) -> str | None:
    """The nearest folder above a file that has an entry in `found`; None where none has."""
    folder = path.rpartition("/")[0]
    while folder not in found:
        if not folder:
            return None
        folder = folder.rpartition("/")[0]
    return folder


def _joined(matches: Mapping[str, LicenceMatch | None], known: Mapping[str, LicenceMatch]) -> FolderLicence:
    source = "; ".join(
        f"{path} (no known licence)" if match is None else f"{path} ({match.similarity:.2f})"
        for path, match in matches.items()
    )
    if not known:
        return FolderLicence((UNKNOWN,), source)
    parts = {path: parse(match.spdx) or Leaf(UNKNOWN) for path, match in known.items()}
    lesser = [part for part in parts.values() if str(part).startswith("LGPL-")]
    if lesser:  # COPYING.LESSER stands beside the COPYING that it adds to
        parts = {path: part for path, part in parts.items() if not str(part).startswith("GPL-")}
    names = [path.rpartition("/")[2] for path in parts]
    choice = len(parts) > 1 and all(
        _SUFFIXED.fullmatch(name) for name in names
    )  # LICENSE-MIT, LICENSE-APACHE
    joined = (any_of if choice else all_of)(list(parts.values()))
    return FolderLicence((str(joined),), source)
