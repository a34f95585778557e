"""A byte-level BPE tokenizer: text <-> token ids, without loss, for any Unicode text.

Here: training one, loading ours or that of a Hugging Face model, and decoding a stream of ids.
Control tokens (end of document, fill-in-the-middle) are only ever ids: the same characters inside a source
file are encoded as ordinary text, so that a file about tokenizers cannot end a document.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from derailleur.errors import CheckpointError, DataError
from derailleur.io import write_json, write_text
from derailleur.tokens.special_tokens import (
    END_OF_TEXT,
    OUR_SPELLING,
    FimOrder,
    FimTokens,
    find_end,
    find_file,
    find_fim,
    find_order,
)

TOKENIZER_FILE = "tokenizer.json"
_CONFIG_FILE = "tokenizer_config.json"

# Splits text into words that merges never cross. Beside GPT-2's well-known rules: one leading punctuation
# mark joins a word (`.append`, `(self`); digits stand alone; a newline takes along the punctuation before it
# and the *whole* indentation after it (`):\n        `), so that a prompt that ends in indentation ends where
# a token of the training text ended. 9 % fewer tokens than GPT-2's rules on Python at a vocabulary
# of 4,096 and 16 % fewer at 32,768 (docs/tokenize.md).
_WORDS = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+(?:\s*[\r\n][ \t]*)?",
        r"\s*[\r\n]+[ \t]*",
        r"\s+(?!\S)",
        r"\s+",
    )
)
_PROBE = "x = 1\n\tif é:  # 中 😀"


class Tokenizer:
    """Text <-> token ids.

    Attributes:
        vocab_size: one more than the largest id.
        eos_id: follows every document.
        fim: the fill-in-the-middle tokens, or None if the vocabulary has none.
        fim_order: the order of the parts in infilling prompts.
        file_id: begins each file of a prompt made of several, or None if the vocabulary has no such token.
        special: the ids of all special tokens, by their spelling.
    """

    def __init__(
        self,
        serialized: str,
        *,
        end_of_text: str = END_OF_TEXT,
        fim_order: FimOrder = FimOrder.SPM,
        source: str = TOKENIZER_FILE,
    ) -> None:
        """Wrap a serialised `tokenizers` tokenizer.

        Args:
            serialized: the content of a tokenizer.json.
            end_of_text: the token that ends a document.
            fim_order: the order of the parts in infilling prompts.
            source: the file to name in errors.

        Raises:
            CheckpointError: if it is not a lossless byte-level BPE.
        """
        self._serialized = serialized
        self._end_of_text = end_of_text
        vocabulary = _parse(serialized, source).get_vocab()
        self.vocab_size = max(vocabulary.values()) + 1
        self.eos_id = vocabulary[end_of_text]
        self.fim_order = fim_order
        self.fim: FimTokens | None = find_fim(vocabulary, eos_id=self.eos_id)
        self.file_id: int | None = find_file(vocabulary)
        control_ids = {self.eos_id} | (self.fim.ids if self.fim else set())
        control_ids |= set() if self.file_id is None else {self.file_id}
        self._control = {token: i for token, i in vocabulary.items() if i in control_ids}
        self._tokenizer = _parse(_mark_special(serialized, self._control), source)
        self._tokenizer.encode_special_tokens = True  # "special tokens in the text are text"
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        added = self._tokenizer.get_added_tokens_decoder()
        self.special = {token.content: i for i, token in added.items() if token.special}
        self._special = re.compile(
            "|".join(re.escape(s) for s in sorted(self.special, key=len, reverse=True))
        )
        self._bytes = _bytes_by_id(vocabulary, added)
        self._check(source)

    @classmethod
    def train(
        cls, texts: Iterable[str], *, vocab_size: int, fim_order: FimOrder = FimOrder.SPM
    ) -> "Tokenizer":
        """Train a byte-level BPE with our control tokens as ids 0 to 4; the same texts give the same file."""
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[END_OF_TEXT, *OUR_SPELLING],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str(pretty=True), fim_order=fim_order)

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Load from a folder (a model, a tokenize stage, a stage that made a model) or a tokenizer.json.

        Raises:
            CheckpointError: if there is none, it cannot be used, or no end-of-document token is found.
        """
        folders = (path, path / "model")
        found = (folder / TOKENIZER_FILE for folder in folders if (folder / TOKENIZER_FILE).is_file())
        file = next(found, path / TOKENIZER_FILE if path.is_dir() else path)
        try:
            serialized = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise CheckpointError(
                f"{file}: cannot be read; expected a tokenizer.json of the `tokenizers` library"
            ) from None
        parsed = _parse(serialized, str(file))
        added = {token.content: i for i, token in parsed.get_added_tokens_decoder().items()}
        end_of_text = find_end(file.parent, parsed.get_vocab(), added)
        if end_of_text is None:
            raise CheckpointError(
                f"{file}: no end-of-document token; set eos_token in {file.parent / _CONFIG_FILE}"
            )
        order = find_order(file.parent / _CONFIG_FILE)
        return cls(serialized, end_of_text=end_of_text, fim_order=order, source=str(file))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, unchanged, and what it leaves open into tokenizer_config.json."""
        pad_id = self.fim.pad_id if self.fim else self.eos_id
        pad = next(token for token, i in self._control.items() if i == pad_id)
        write_json(
            folder / _CONFIG_FILE,
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": self._end_of_text,
                "pad_token": pad,
                "padding_side": "left",
                "fim_order": self.fim_order,
                "clean_up_tokenization_spaces": False,
            },
        )
        write_text(folder / TOKENIZER_FILE, self._serialized)

    def encode(self, text: str) -> list[int]:
        """The ids of one text; no control token is added or found in it.

        Raises:
            DataError: if the text holds half a surrogate pair, which is not Unicode text.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of several texts, on all cores."""
        try:
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            raise DataError("a text holds half a surrogate pair; expected Unicode text") from None
        return [encoding.ids for encoding in encodings]

    def encode_marked(self, text: str) -> list[int]:
        """The ids of a text in which the spelling of a special token stands for that token."""
        ids: list[int] = []
        end = 0
        for mark in self._special.finditer(text):
            ids += [*self.encode(text[end : mark.start()]), self.special[mark.group()]]
            end = mark.end()
        return ids + self.encode(text[end:])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD, ids without a token nothing."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, which may begin and end inside a character."""
        return b"".join([self._bytes.get(i, b"") for i in ids])

    def _check(self, source: str) -> None:
        for text in (_PROBE, *self._control):
            ids = self.encode(text)
            if self.decode(ids) != text or not set(self._control.values()).isdisjoint(ids):
                raise CheckpointError(
                    f"{source}: does not give the text {text!r} back; expected a byte-level BPE "
                    "(GPT-2, StarCoder, Qwen and Llama 3 have one)"
                )


def _parse(serialized: str, source: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(serialized)
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{source}: not a tokenizer of the `tokenizers` library: {error}") from None


def _mark_special(serialized: str, control: dict[str, int]) -> str:
    """Declare `control` special: many vocabularies list their fill-in-the-middle tokens as ordinary ones."""
    values: dict[str, Any] = json.loads(serialized)
    others = [token for token in values["added_tokens"] if token["content"] not in control]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": i, "content": content, **flags} for content, i in control.items()]
    values["added_tokens"] = sorted(others + special, key=lambda token: token["id"])
    return json.dumps(values)


def _bytes_by_id(vocabulary: dict[str, int], added: dict[int, Any]) -> dict[int, bytes]:
    """The bytes of every token: added ones are spelt as they are, others in the byte-level alphabet."""
    alphabet = _byte_alphabet()

    def spell(token: str) -> bytes:
        in_alphabet = all(letter in alphabet for letter in token)
        return bytes(alphabet[letter] for letter in token) if in_alphabet else token.encode()

    return {i: token.encode() if i in added else spell(token) for token, i in vocabulary.items()}


def _byte_alphabet() -> dict[str, int]:
    """The character that GPT-2's byte-level alphabet writes for each byte: itself if it prints, else one
    from U+0100 on, in order."""
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
