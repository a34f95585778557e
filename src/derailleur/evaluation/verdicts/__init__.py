"""Verdicts: whether a program passes its tests, told apart from why it does not."""

from derailleur.evaluation.verdicts.verdict import Judgement, Verdict

__all__ = ["Judgement", "Verdict"]
