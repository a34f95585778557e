"""Tokens: the tokenizer, fill-in-the-middle, packed shards and the deterministic loader. No torch here."""

from derailleur.tokens.batches import Batch, Batches, DataConfig
from derailleur.tokens.dataset import TokenDataset
from derailleur.tokens.documents import Document, read_documents
from derailleur.tokens.fim import FimParts, InfillPrompt, infill_prompt
from derailleur.tokens.special_tokens import FimOrder, FimTokens
from derailleur.tokens.stage import VERSION, TokenizeConfig, tokenize
from derailleur.tokens.tokenizer import Tokenizer

__all__ = [
    "VERSION",
    "Batch",
    "Batches",
    "DataConfig",
    "Document",
    "FimOrder",
    "FimParts",
    "FimTokens",
    "InfillPrompt",
    "TokenDataset",
    "TokenizeConfig",
    "Tokenizer",
    "infill_prompt",
    "read_documents",
    "tokenize",
]
