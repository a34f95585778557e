"""Which files are held out."""

import hashlib

HELDOUT, TRAIN = "heldout", "train"


def is_heldout(path: str, *, fraction: float, salt: str) -> bool:
    """Whether a path within its repository belongs to the held-out share; depends on nothing else."""
    digest = hashlib.sha256(f"{salt}\0{path}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64
