"""The verdict on one file, and what of it is asked for."""

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.ledger import Verdict
from derailleur.corpus.recognition.binary import binary_sign
from derailleur.corpus.recognition.generated import generated_sign
from derailleur.corpus.recognition.minified import minified_sign
from derailleur.corpus.recognition.vendored import vendored_sign


class RecognitionConfig(Config):
    """Which files are recognised, and so dropped or quarantined.

    Vendored files go by default: they are the files of another repository, where they count once and have
    their own licence, and copies that were edited a little are what near-dedup finds last.
    """

    binary: bool = Field(True, description="quarantine files that are no text although they decode")
    vendored: bool = Field(True, description="drop copies of other projects, by their path")
    minified: bool = Field(True, description="drop JavaScript and CSS without line ends and blanks")
    generated: bool = Field(True, description="drop what a program wrote, by its name or its first comments")


_EVERYTHING = RecognitionConfig()


def recognise(
    path: str, data: bytes, language: str | None, config: RecognitionConfig = _EVERYTHING
) -> Verdict | None:
    """Why a file is not something that someone wrote here, or None.

    Args:
        path: inside the repository, with `/`.
        data: the file's text.
        language: as `language_of` gives it.
    """
    if config.binary and (sign := binary_sign(data)):
        return Verdict("quarantined", "binary", sign)
    if config.vendored and (sign := vendored_sign(path, language)):
        return Verdict("dropped", "vendored", sign)
    if config.minified and (sign := minified_sign(path, data, language)):
        return Verdict("dropped", "minified", sign)
    if config.generated and (sign := generated_sign(path, data, language)):
        return Verdict("dropped", "generated", sign)
    return None
