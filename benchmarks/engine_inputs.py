"""What the engine's benchmark runs on: held-out code, and models in two layouts, ours and a plain one.

The plain layout is what transformers and vLLM read; both layouts hold the same weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from derailleur.model import import_checkpoint, model_folder
from derailleur.model.export import plan_export, write_export
from derailleur.placement import Placement
from derailleur.placement.presets import Presets, load_presets
from derailleur.tokens import TokenDataset, Tokenizer

LLAMA = {
    "vocab_size": 16_384,
    "hidden_size": 384,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 1024,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
"""18.9 M parameters."""

_VOCABULARY_TOKENS = 500_000
_NAMES = {"F": "FA", "S": "SWA", "K": "KDA", "G": "GDN"}


@dataclass(frozen=True)
class Subject:
    """A model in both layouts.

    Attributes:
        ours, plain: folders; the plain one has full attention alone.
    """

    name: str
    ours: Path
    plain: Path
    presets: Presets


class HeldOutCode:
    """The held-out split of a tokenize stage, as prompts for any vocabulary."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.load(folder)
        self._tokens = TokenDataset(folder, "heldout")

    def prompts(
        self, tokenizer: Tokenizer, lengths: Sequence[int], rng: np.random.Generator
    ) -> list[list[int]]:
        """Prompts of these many tokens, each from a random place on."""
        return [self._prompt(tokenizer, length, rng) for length in lengths]

    def _prompt(self, tokenizer: Tokenizer, length: int, rng: np.random.Generator) -> list[int]:
        # Another vocabulary may need fewer tokens for the same text.
        window = 2 * length + 64
        start = int(rng.integers(self._tokens.num_tokens - window))
        text = self._tokenizer.decode(self._tokens.window(start, window))
        prompt = tokenizer.encode(text)[:length]
        assert len(prompt) == length, "half the tokens of this vocabulary say it all"
        return prompt


def llama_shaped(data: Path, folder: Path) -> Subject:
    """A Llama of random weights, with a tokenizer learnt from the training split of `data`."""
    source = TokenDataset(data, "train")
    text = Tokenizer.load(data).decode(source.window(0, min(_VOCABULARY_TOKENS, source.num_tokens)))
    tokenizer = Tokenizer.train(text.splitlines(keepends=True), vocab_size=LLAMA["vocab_size"])
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LLAMA, bos_token_id=None, eos_token_id=tokenizer.eos_id))
    plain, ours = folder / "llama", folder / "llama-ours"
    model.save_pretrained(plain)
    tokenizer.save(plain)
    import_checkpoint(plain, ours)
    millions = sum(x.numel() for x in model.parameters()) / 1e6
    presets = Presets.full_only(Placement.uniform("F", LLAMA["num_hidden_layers"]))
    return Subject(f"Llama shape, {millions:.1f} M, random weights", ours, plain, presets)


def checkpoint(model: Path, folder: Path) -> Subject:
    """A trained checkpoint of ours, and its all-FA placement as a plain one."""
    source, plain = model_folder(model), folder / "plain"
    presets = load_presets(source)
    write_export(plan_export(source, "hf", [presets["full"]]), source, plain)
    return Subject(str(model), source, plain, presets)


def ladder(presets: Presets, letters: str) -> dict[str, Placement]:
    """Placements over the whole range of draft costs, by name: one mixer everywhere, and FA among GDN."""
    num_layers = presets.num_layers
    uniform = {
        f"all-{_NAMES[letter]}": Placement.uniform(letter, num_layers) for letter in letters if letter != "F"
    }
    mixed = {
        f"{count} FA": Placement.of(
            "F" if (layer + 1) * count // num_layers > layer * count // num_layers else "G"
            for layer in range(num_layers)
        )
        for count in range(1, num_layers)
    }
    known = set(presets.values())
    return {name: placement for name, placement in (uniform | mixed).items() if placement not in known}
