"""Files that are no text although they may decode as text."""

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

_MAX_CONTROL_SHARE = 0.01

# formats whose first bytes may all be text
_MAGIC = (
    *(b"%PDF-", b"GIF87a", b"GIF89a", b"!<arch>\n", b"OggS", b"fLaC", b"wOFF", b"wOF2", b"8BPS", b"Rar!"),
    *(b"BZh91AY", b"MSCF", b"OTTO", b"SQLite format 3", b"\x7fELF", b"PK\x03\x04"),
)


def binary_sign(data: bytes) -> str:
    """What shows that a file is no text, or nothing."""
    controls = _count_controls(np.frombuffer(data, np.uint8))
    if controls and (position := data.find(b"\0")) >= 0:
        return f"NUL at byte {position}"
    if controls > _MAX_CONTROL_SHARE * len(data):
        return f"{controls} control characters"
    magic = next((magic for magic in _MAGIC if data.startswith(magic)), b"")
    return f"begins with {magic.decode('ascii', 'backslashreplace').strip()}" if magic else ""


@compiled
def _count_controls(data: NDArray[np.uint8]) -> int:
    """Control characters that text does not have.

    Text has backspaces, line ends, tabs, form feeds and escapes; and 0x1A, which ended a file under DOS.
    """
    count = 0
    for byte in data:
        count += (byte < 8) | ((byte > 13) & (byte < 26)) | ((byte > 27) & (byte < 32)) | (byte == 127)
    return count
