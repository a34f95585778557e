"""Which tokens of a vocabulary end a document and which mark fill-in-the-middle.

Our own tokenizers name them `<|endoftext|>` and `<|fim_prefix|>` ...; an imported one says its end token
in the configuration files beside it, and its fill-in-the-middle tokens by one of a few known spellings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from derailleur.errors import CheckpointError
from derailleur.io import read_json_object

END_OF_TEXT = "<|endoftext|>"
_END_SPELLINGS = (
    END_OF_TEXT,
    "</s>",
    "<|im_end|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<｜end▁of▁sentence｜>",
    "<eos>",
)

OUR_SPELLING = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>")
_FIM_SPELLINGS = (  # prefix, middle, suffix, pad
    OUR_SPELLING,
    ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"),  # StarCoder
    ("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),  # SantaCoder
    (
        "<｜fim▁begin｜>",
        "<｜fim▁end｜>",
        "<｜fim▁hole｜>",
        "",
    ),  # DeepSeek-Coder: the hole precedes the suffix
    ("<PRE>", "<MID>", "<SUF>", "<PAD>"),
)
_FILE_SPELLINGS = ("<|file_sep|>", "<file_sep>", "<file-sep>", "<|file_separator|>")

KNOWN_SPELLINGS = frozenset((*_END_SPELLINGS, *_FILE_SPELLINGS, *sum(_FIM_SPELLINGS, ()))) - {""}
"""Special tokens by which a text of an unknown tokenizer may be seen to end."""


class FimOrder(StrEnum):
    """The order of the parts of a fill-in-the-middle sequence."""

    PSM = "psm"
    SPM = "spm"


@dataclass(frozen=True)
class FimTokens:
    """The ids of the fill-in-the-middle tokens."""

    prefix_id: int
    middle_id: int
    suffix_id: int
    pad_id: int

    @property
    def ids(self) -> frozenset[int]:
        """All of them."""
        return frozenset((self.prefix_id, self.middle_id, self.suffix_id, self.pad_id))


def find_fim(vocabulary: Mapping[str, int], *, eos_id: int) -> FimTokens | None:
    """The fill-in-the-middle tokens under the first known spelling, or None.

    A vocabulary without a pad token pads with its end token; the loss mask goes by position, so this is safe.
    """
    for prefix, middle, suffix, pad in _FIM_SPELLINGS:
        if prefix in vocabulary and middle in vocabulary and suffix in vocabulary:
            return FimTokens(
                vocabulary[prefix], vocabulary[middle], vocabulary[suffix], vocabulary.get(pad, eos_id)
            )
    return None


def find_file(vocabulary: Mapping[str, int]) -> int | None:
    """The token that begins each file of a prompt made of several, or None."""
    return next((vocabulary[token] for token in _FILE_SPELLINGS if token in vocabulary), None)


def find_end(folder: Path, vocabulary: Mapping[str, int], added: Mapping[str, int]) -> str | None:
    """The token that ends a document, or None.

    Args:
        folder: where config.json, generation_config.json and tokenizer_config.json may be.
        vocabulary: id by token, added tokens included.
        added: the added tokens alone. An id in a configuration counts only if it is one of these:
            many configurations carry a library's default id, which is an ordinary token of the vocabulary.
    """
    added_by_id = {token_id: token for token, token_id in added.items()}
    for said in _said_ends(folder):
        token = added_by_id.get(said) if isinstance(said, int) else said
        if token in vocabulary:
            return token
    return next((spelling for spelling in _END_SPELLINGS if spelling in vocabulary), None)


def find_order(config_file: Path) -> FimOrder:
    """`fim_order` of a tokenizer_config.json; PSM, as most models learn it, where nothing is said.

    Raises:
        CheckpointError: if it is neither psm nor spm.
    """
    settings = read_json_object(config_file) if config_file.is_file() else {}
    said = settings.get("fim_order", FimOrder.PSM)
    if said not in tuple(FimOrder):
        raise CheckpointError(f"{config_file}: fim_order is {said!r}; expected 'psm' or 'spm'")
    return FimOrder(said)


def _said_ends(folder: Path) -> Iterator[int | str]:
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        values = read_json_object(folder / name)
        ids = values.get("eos_token_id")
        yield from (i for i in (ids if isinstance(ids, list) else [ids]) if isinstance(i, int))
        token = values.get("eos_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            yield token
