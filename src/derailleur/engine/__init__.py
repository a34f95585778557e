"""The engine: requests of any placements in one batch, a step at a time.

engine = Engine(folder, Tokenizer.load(folder))
[answer] = engine.generate([prompt], placement=Placement.parse("all-gdn", 6), max_tokens=64)
"""

from derailleur.engine.engine import Engine, EngineConfig, EngineLoad
from derailleur.engine.grammar import Grammar
from derailleur.engine.loading import load_decoder
from derailleur.engine.request import (
    NGRAM,
    Delta,
    DraftSource,
    FinishReason,
    Generation,
    Request,
    Speculation,
    TokenLogprob,
)
from derailleur.engine.sampling import GREEDY, Sampling
from derailleur.engine.scheduler import Limit
from derailleur.engine.speed import DecodeSpeed

__all__ = [
    "GREEDY",
    "NGRAM",
    "DecodeSpeed",
    "Delta",
    "DraftSource",
    "Engine",
    "EngineConfig",
    "EngineLoad",
    "FinishReason",
    "Generation",
    "Grammar",
    "Limit",
    "Request",
    "Sampling",
    "Speculation",
    "TokenLogprob",
    "load_decoder",
]
