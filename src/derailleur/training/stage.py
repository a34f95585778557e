"""What every training stage does around its phases: train, write the model, say what came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from derailleur.errors import CheckpointError
from derailleur.io import Progress, read_json, write_json
from derailleur.model import Decoder, DecoderLayer, load_model, model_folder, save_model
from derailleur.training.checkpoint import CheckpointFolder
from derailleur.training.data import TrainingData
from derailleur.training.trainer import Phase, Trainer, TrainerConfig

_RESULTS = "results.json"


def finished(out: Path) -> dict[str, Any] | None:
    """The results of a call that got as far as writing them, or None."""
    if not (out / _RESULTS).is_file():
        return None
    CheckpointFolder(out / "checkpoint").remove()
    results: dict[str, Any] = read_json(out / _RESULTS)
    return results


def train(
    decoder: Decoder,
    phases: Sequence[Phase],
    data: TrainingData,
    config: TrainerConfig,
    out: Path,
    *,
    tokenizer_from: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Run the phases, write OUT/model, and return the results; a killed call is picked up where it was."""
    last = Trainer(decoder.to(data.device), phases, data, config, out, progress=progress).run()
    save_model(decoder, out / "model", tokenizer_from=tokenizer_from)
    parameters = list(decoder.parameters())
    results = {
        "steps": sum(phase.config.steps for phase in phases),
        "tokens": last.get("tokens", 0),
        "seconds": last.get("seconds", 0.0),
        "parameters": sum(weight.numel() for weight in parameters),
        "learning_parameters": sum(weight.numel() for weight in parameters if weight.requires_grad),
        "final_loss": last.get("loss"),
        "heldout_loss": last.get("heldout_loss"),
        "heldout": last.get("heldout", {}),
    }
    # Before the checkpoint goes: a call killed in between must not start again from nothing.
    write_json(out / _RESULTS, results)
    CheckpointFolder(out / "checkpoint").remove()
    return results


def learn_only(decoder: Decoder, letters: str) -> None:
    """Freeze everything but the mixers of `letters`, in the layers that have them."""
    decoder.requires_grad_(False)
    for index, layer in enumerate(decoder.layers):
        assert isinstance(layer, DecoderLayer)
        for letter in decoder.config.bank(index):
            layer.mixer(letter).requires_grad_(letter in letters)


def load_decoder(folder: Path, data: TrainingData) -> Decoder:
    """Load a model that is to learn from `data`.

    Raises:
        CheckpointError: if it is not a model, or the data was tokenized with another vocabulary.
    """
    folder = model_folder(folder)
    decoder = load_model(folder)
    advice = f"tokenize the corpus with {folder / 'tokenizer.json'}"
    if data.tokenizer.vocab_size > decoder.config.vocab_size:
        raise CheckpointError(
            f"{data.folder}: its tokenizer has {data.tokenizer.vocab_size} tokens, "
            f"the model {folder} has {decoder.config.vocab_size}; {advice}"
        )
    if _vocabulary(folder) != _vocabulary(data.folder):
        raise CheckpointError(f"{data.folder}: its tokenizer is not that of the model {folder}; {advice}")
    return decoder


def _vocabulary(folder: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = read_json(folder / "tokenizer.json")["model"]["vocab"]
    return vocabulary
