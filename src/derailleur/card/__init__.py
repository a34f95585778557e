"""The model card: README.md of a checkpoint folder, written from manifests and headers."""

from derailleur.card.card import CARD, CardConfig, write_card

__all__ = ["CARD", "CardConfig", "write_card"]
