"""Makes this package's data from published lists: `python -m derailleur.corpus.licences.build FOLDER`.

FOLDER holds four npm packages and a wheel, as `npm pack` and `pip download --no-deps` leave them:
`spdx-license-list` (CC0: names, texts), `spdx-license-ids` (CC0), `spdx-exceptions` (identifiers alone),
`@blueoak/list` (CC0) and the wheel `spdx-license-list` (MIT; its FSF flags alone). Same packages, same bytes
but for what another version of liblzma may do.
"""

import json
import lzma
import re
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from derailleur.errors import DataError
from derailleur.io import write_bytes

DATA = Path(__file__).parent / "data"
LICENCES, TEXTS = "licences.json", "texts.jsonl.xz"

_END = re.compile(r"\bEND OF TERMS AND CONDITIONS\b.*", re.DOTALL)  # how to apply it follows: often left out
_CARRIER = re.compile(
    r"GNU GENERAL PUBLIC LICENSE\s+Version 3, 29 June 2007.*", re.DOTALL
)  # comes with LGPL 3
_AUTHOR = {
    "THE COPYRIGHT HOLDERS AND CONTRIBUTORS": "THE AUTHOR",
    "THE COPYRIGHT HOLDER OR CONTRIBUTORS": "THE AUTHOR",
}
_NO_NAME = "Neither the name of the copyright holder nor the names of its contributors may"
# Wordings that everybody takes for the same licence, and SPDX's own text lacks.
_OTHER_WORDS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "BSD-2-Clause": (_AUTHOR,),
    "BSD-3-Clause": (_AUTHOR, {**_AUTHOR, _NO_NAME: "The name of the author may not"}),
}
_FSF = re.compile(r'id="([^"]+)",\s+name=.*?,\s+deprecated_id=\w+,\s+fsf_libre=(True|False)', re.DOTALL)


def build(folder: Path, out: Path = DATA) -> None:
    """Write the catalogue and the texts.

    Raises:
        DataError: if a package is missing.
    """
    listed = _from_npm(folder, "spdx-license-list", "spdx-full.json")
    rows = _licences(folder, listed)
    catalogue = {"licences": rows, "exceptions": sorted(_from_npm(folder, "spdx-exceptions", "index.json"))}
    text = json.dumps(catalogue, ensure_ascii=False).replace("}, {", "},\n{")  # a line a licence
    write_bytes(out / LICENCES, f"{text}\n".encode())
    current = {row["id"] for row in rows if not row["deprecated"]}
    texts = _texts(listed, current)
    texts += [
        (id, _in_other_words(text, old_new)) for id, text in texts for old_new in _OTHER_WORDS.get(id, ())
    ]
    lines = [json.dumps({"id": id, "text": text}, ensure_ascii=False) for id, text in texts]
    write_bytes(out / TEXTS, lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))


def _licences(folder: Path, listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    deprecated = set(_from_npm(folder, "spdx-license-ids", "deprecated.json"))
    grades = {
        row["id"]: grade["name"]
        for grade in _from_npm(folder, "blueoak-list", "index.json")
        for row in grade["licenses"]
    }
    free = {id for id, libre in _FSF.findall(_python_list(folder)) if libre == "True"}
    ids = {*listed, *deprecated, *_from_npm(folder, "spdx-license-ids", "index.json")}
    return [
        {
            "id": id,
            "name": listed.get(id, {}).get("name", id),
            "osi": listed.get(id, {}).get("osiApproved", False),
            "fsf": id in free,
            "blue_oak": grades.get(id, ""),
            "deprecated": id in deprecated,
        }
        for id in sorted(ids)
        if not id.endswith("+")  # an operator of expressions
    ]


def _texts(listed: Mapping[str, Any], current: set[str]) -> list[tuple[str, str]]:
    """Each text once: none says whether later versions are allowed, so that `-only` stands for both."""
    preferred: dict[str, str] = {}
    for id in sorted(current & set(listed), key=lambda id: (not id.endswith("-only"), len(id), id)):
        text = _END.sub("", listed[id]["licenseText"]).strip()
        if id.startswith("LGPL-3"):
            text = _CARRIER.sub("", text).strip()
        preferred.setdefault(text, id)
    return sorted((id, text) for text, id in preferred.items())


def _in_other_words(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _from_npm(folder: Path, package: str, name: str) -> Any:
    with tarfile.open(_newest(folder, f"{package}-*.tgz")) as archive:
        member = archive.extractfile(f"package/{name}")
        assert member is not None, name
        return json.load(member)


def _python_list(folder: Path) -> str:
    with zipfile.ZipFile(_newest(folder, "spdx_license_list-*.whl")) as wheel:
        return wheel.read("spdx_license_list/__init__.py").decode()


def _newest(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise DataError(f"{folder}: no {pattern}")
    return found[-1]


if __name__ == "__main__":
    build(Path(sys.argv[1]))
