"""When a text depends on nothing but its request, to the last bit.

The kernels for a CPU in float32 add up every number in one order, whatever else is in the batch, however a
text is cut into pieces, read again or verified: so a request's logits are the same alone, in a crowd, after
it gave way and under speculation. Torch's own kernels choose their order by the sizes that they are given.
"""

import torch

from derailleur.errors import ConfigError
from derailleur.kernels.paged_compiled import LANES
from derailleur.model.decoder import Decoder
from derailleur.model.layers import Linear


def check_invariance(decoder: Decoder) -> None:
    """Make sure that every kernel of a decoder is one of those.

    Raises:
        ConfigError: naming what is not.
    """
    weight, config = decoder.embed.weight, decoder.config
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise ConfigError(
            f"batch_invariant: expected cpu and float32, got {weight.device} and {weight.dtype}"
        )
    if (config.mlp, config.activation) != ("gated", "silu"):
        raise ConfigError(
            f"batch_invariant: expected a gated MLP with silu, got a {config.mlp} with {config.activation}"
        )
    if config.head_dim % LANES:
        raise ConfigError(f"batch_invariant: head_dim {config.head_dim} is not a multiple of {LANES}")
    for name, module in decoder.named_modules():
        if isinstance(module, Linear) and module.in_features % LANES:
            raise ConfigError(
                f"batch_invariant: {name} maps {module.in_features} numbers, not a multiple of {LANES}"
            )
