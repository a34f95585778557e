"""Text to token ids and back, in the shape of llama.cpp's server."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from derailleur.errors import UserError
from derailleur.serving.protocol import TokenId
from derailleur.tokens import Tokenizer


class TokenizeRequest(BaseModel):
    """The body of POST /tokenize."""

    model_config = ConfigDict(extra="ignore")

    content: str = Field(description="The text.")
    add_special: bool = Field(False, description="Accepted; this server puts no token before a text.")
    parse_special: bool = Field(
        True, description="The spelling of a special token stands for that token; otherwise it is text."
    )
    with_pieces: bool = Field(False, description="Give the text of each token, or its bytes if it is none.")


class TokenPiece(BaseModel):
    """A token and what it spells."""

    id: int
    piece: str | list[int]


class Tokens(BaseModel):
    """The answer of POST /tokenize."""

    tokens: list[int] | list[TokenPiece]


class DetokenizeRequest(BaseModel):
    """The body of POST /detokenize."""

    model_config = ConfigDict(extra="ignore")

    tokens: list[TokenId] = Field(description="Token ids.")


class Content(BaseModel):
    """The answer of POST /detokenize."""

    content: str


def tokenize(body: TokenizeRequest, tokenizer: Tokenizer) -> Tokens:
    """The tokens of a text."""
    ids = tokenizer.encode_marked(body.content) if body.parse_special else tokenizer.encode(body.content)
    if not body.with_pieces:
        return Tokens(tokens=ids)
    return Tokens(tokens=[TokenPiece(id=token, piece=_piece(token, tokenizer)) for token in ids])


def detokenize(body: DetokenizeRequest, tokenizer: Tokenizer) -> Content:
    """The text of tokens.

    Raises:
        UserError: if there is no such token.
    """
    beyond = next((token for token in body.tokens if token >= tokenizer.vocab_size), None)
    if beyond is not None:
        raise UserError(f"token {beyond} is outside 0 .. {tokenizer.vocab_size - 1}")
    return Content(content=tokenizer.decode(body.tokens))


def _piece(token: int, tokenizer: Tokenizer) -> Any:
    spelled = tokenizer.decode_bytes([token])
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return list(spelled)
