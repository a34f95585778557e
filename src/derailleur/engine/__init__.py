"""The engine: requests of any placements in one batch, a step at a time.

engine = Engine(folder, Tokenizer.load(folder))
[answer] = engine.generate([prompt], placement=Placement.parse("all-gdn", 6), max_tokens=64)
"""

from derailleur.engine.engine import Engine, EngineConfig, EngineLoad
from derailleur.engine.request import Delta, FinishReason, Generation, Request, Speculation, TokenLogprob
from derailleur.engine.sampling import GREEDY, Sampling
from derailleur.engine.speed import DecodeSpeed

__all__ = [
    "GREEDY",
    "DecodeSpeed",
    "Delta",
    "Engine",
    "EngineConfig",
    "EngineLoad",
    "FinishReason",
    "Generation",
    "Request",
    "Sampling",
    "Speculation",
    "TokenLogprob",
]
