"""Sliding windows of a config.json in our terms: full attention up to some layer, a window from there on."""

from collections.abc import Sequence
from typing import Any

FULL, SLIDING = "full_attention", "sliding_attention"


def layer_windows(
    num_layers: int, window: int | None, first: int = 0, layer_types: Sequence[str] | None = None
) -> dict[str, Any]:
    """Our `mixers` of a model whose layers from `first` on have a window.

    Args:
        window: how many tokens a token sees, itself included; None for all.
        layer_types: the kind of each layer's attention where the file says it; it decides then.

    Raises:
        ValueError: if the layers' kinds are not full ones followed by sliding ones.
    """
    if layer_types is not None:
        first = list(layer_types).index(SLIDING) if SLIDING in layer_types else num_layers
        if list(layer_types) != [FULL] * first + [SLIDING] * (num_layers - first):
            raise ValueError(
                f"layer_types: expected {num_layers} entries, {FULL} up to some layer and then {SLIDING}"
            )
        if first < num_layers and window is None:
            raise ValueError(f"layer_types: {SLIDING} without a sliding_window that is used")
    if window is None or first >= num_layers:
        return {}
    return {"F": {"window_tokens": window, "first_window_layer": first}}
