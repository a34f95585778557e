"""Random checkpoints of other families, written by transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

VOCABULARY = 97
SIZES = {
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
BIGCODE_SIZES = {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 128}
NO_SPECIAL_TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))

MakeForeign = Callable[..., Any]


@pytest.fixture(scope="session")
def make_foreign() -> MakeForeign:
    """A function that writes a folder of a family and gives the model that is in it."""
    return _make_foreign


def _make_foreign(
    family: str,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    shard_size: str = "20KB",
    written: dict[str, Any] | None = None,
    **fields: Any,
) -> Any:
    """Weights so large that logits are not flat; norms and biases shaken.

    Args:
        written: fields to change in config.json afterwards; None removes one.
    """
    sizes = BIGCODE_SIZES if family == "gpt_bigcode" else SIZES
    values = {"vocab_size": VOCABULARY} | sizes | NO_SPECIAL_TOKENS | fields
    config = transformers.AutoConfig.for_model(family, **values)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if parameter.dim() == 1 else 0.15 * noise)
    model = model.to(dtype)
    model.save_pretrained(folder, max_shard_size=shard_size)
    (folder / "tokenizer.json").write_text("{}")
    if written:
        path = folder / "config.json"
        changed = json.loads(path.read_text()) | written
        path.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))
    return model
