"""What a checkpoint folder says about itself: its configuration, its weights' headers, its presets."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from derailleur.card.history import History
from derailleur.config import validate
from derailleur.io import read_json
from derailleur.model import DecoderConfig
from derailleur.model.weights import TensorSpec, read_header, weight_files
from derailleur.placement import MIXER_NAMES
from derailleur.placement.presets import PRESETS_FILE, Presets, load_presets

_MIXER = re.compile(r"layers\.(\d+)\.mixers\.(\w+)\.")


@dataclass(frozen=True)
class Facts:
    """A checkpoint.

    Attributes:
        description: the content of config.json.
        config: of the decoder where the folder is in our layout.
        presets: named placements, if there are any in our layout.
        history: where it comes from.
        tensors: shapes and dtypes of the weights.
    """

    folder: Path
    description: dict[str, Any]
    config: DecoderConfig | None
    presets: Presets | None
    history: History
    tensors: dict[str, TensorSpec]

    @classmethod
    def of(cls, folder: Path) -> "Facts":
        """Read a checkpoint folder; weights by their headers alone."""
        path = folder / "config.json"
        description: dict[str, Any] = read_json(path)
        ours = description.get("derailleur")
        config = None if ours is None else validate(DecoderConfig, ours, source=path)
        has_presets = config is not None and (folder / PRESETS_FILE).is_file()
        tensors: dict[str, TensorSpec] = {}
        for file in weight_files(folder):
            tensors |= read_header(file)
        presets = load_presets(folder) if has_presets else None
        return cls(folder, description, config, presets, History.of(folder), tensors)

    @property
    def num_parameters(self) -> int:
        """Of all tensors."""
        return sum(spec.num_elements for spec in self.tensors.values())

    @property
    def num_bytes(self) -> int:
        """On disk."""
        return sum(spec.num_bytes for spec in self.tensors.values())

    @property
    def dtypes(self) -> list[str]:
        """Of the weights."""
        return sorted({str(spec.dtype).removeprefix("torch.") for spec in self.tensors.values()})

    @cached_property
    def mixer_parameters(self) -> Counter[tuple[int, str]]:
        """Parameters by layer and letter of the mixer."""
        letters = {name: letter for letter, name in MIXER_NAMES.items()}
        counts: Counter[tuple[int, str]] = Counter()
        for name, spec in self.tensors.items():
            if found := _MIXER.match(name):
                counts[int(found[1]), letters[found[2]]] += spec.num_elements
        return counts

    @property
    def active_parameters(self) -> tuple[int, int]:
        """Parameters that compute at the smallest and at the largest placement."""
        counts = self.mixer_parameters
        layers = [[counts[layer, letter] for letter in bank] for layer, bank in enumerate(self.banks)]
        shared = self.num_parameters - counts.total()
        return shared + sum(map(min, layers)), shared + sum(map(max, layers))

    @property
    def banks(self) -> list[str]:
        """The letters of each layer's mixers; none in another layout."""
        return [] if self.config is None else [self.config.bank(x) for x in range(self.config.num_layers)]

    @property
    def is_fixed(self) -> bool:
        """Whether there is but one placement."""
        return all(len(bank) == 1 for bank in self.banks)

    @property
    def is_plain(self) -> bool:
        """Whether there is full attention alone, as far as is known."""
        return set("".join(self.banks)) <= {"F"}
