"""Placements: one mixer per layer; their cost, their quality, and the search for the best."""

from derailleur.placement.placement import MIXER_NAMES, MIXERS, Placement

__all__ = ["MIXERS", "MIXER_NAMES", "Placement"]
