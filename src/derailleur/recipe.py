"""The typed configuration of a whole run, and the stages that it stands for."""

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from derailleur import corpus, evaluation, report, tokens, training
from derailleur.card import CARD, CardConfig
from derailleur.config import Config
from derailleur.evaluation.benchmark.sets import problem_files
from derailleur.io import Progress, atomic_path, silent
from derailleur.model import import_checkpoint, model_folder
from derailleur.placement import stage as placement
from derailleur.placement.presets import PRESETS_FILE
from derailleur.runs import Stage

IMPORT_VERSION = 2
PUBLISH_VERSION = 1


class ImportConfig(Config):
    """A Hugging Face checkpoint in the place of pretraining."""

    checkpoint: Path = Field(description="Folder with config.json, *.safetensors and tokenizer.json.")


class PublishConfig(Config):
    """The published model folder has no settings of its own."""


class Recipe(Config):
    """A whole run: where the code comes from, and one configuration per stage."""

    sources: tuple[str, ...] = Field(
        min_length=1, description="Folders or files; `python-stdlib` is the running interpreter's library."
    )
    threads: int | None = Field(None, gt=0, description="CPU threads; all cores if absent.")
    curate: corpus.CurateConfig = Field(corpus.CurateConfig(), description="Source files to documents.")
    tokenize: tokens.TokenizeConfig = Field(tokens.TokenizeConfig(), description="Documents to shards.")
    teacher: ImportConfig | None = Field(None, description="A checkpoint to import instead of pretraining.")
    pretrain: training.PretrainConfig = Field(
        training.PretrainConfig(), description="A teacher from nothing."
    )
    distill: training.DistillConfig = Field(training.DistillConfig(), description="Teacher to supernet.")
    finetune: training.FinetuneConfig = Field(
        training.FinetuneConfig(), description="Targeted at placements."
    )
    place: placement.PlaceConfig = Field(placement.PlaceConfig(), description="The search for presets.")
    evaluate: evaluation.EvaluateConfig = Field(
        evaluation.EvaluateConfig(), description="Every preset, measured."
    )
    card: CardConfig = Field(CardConfig(), description="What model cards say beside what is known.")


def stages(recipe: Recipe, run: Path, *, progress: Progress = silent) -> list[Stage]:
    """The stages of a recipe in their order; each writes into `run / stage.name`."""
    sources = corpus.open_sources(recipe.sources, recipe.curate, out=run)
    inputs, fingerprints = corpus.stage_inputs(recipe.curate, sources)
    curated = Stage(
        "curate",
        corpus.VERSION,
        recipe.curate,
        inputs,
        lambda out: corpus.curate(recipe.curate, sources, out, progress=progress, workers=recipe.threads),
        fingerprints,
    )
    teacher, tokenized = _teacher_and_tokens(recipe, run, progress)
    first = [teacher, tokenized] if recipe.teacher else [tokenized, teacher]
    made = [curated, *first, *_supernet(recipe, run, run / teacher.name, progress)]
    page = Stage(
        "report",
        report.VERSION,
        Config(),
        {stage.name: run / stage.name for stage in made},
        lambda out: report.report(run, out, progress=progress),
    )
    return [*made, page]


def _teacher_and_tokens(recipe: Recipe, run: Path, progress: Progress) -> tuple[Stage, Stage]:
    """The teacher and the shards: an imported teacher brings its tokenizer, else one is trained."""
    settings, inputs = recipe.tokenize, {"corpus": run / "curate"}
    if recipe.teacher is not None:
        checkpoint = recipe.teacher.checkpoint
        teacher = Stage(
            "import",
            IMPORT_VERSION,
            recipe.teacher,
            {"checkpoint": checkpoint},
            lambda out: import_checkpoint(checkpoint, out / "model", resume=True),
        )
        settings = settings.model_copy(update={"tokenizer": run / "import" / "model"})
        inputs["tokenizer"] = run / "import"
    else:
        teacher = Stage(
            "pretrain",
            training.PRETRAIN_VERSION,
            recipe.pretrain,
            {"tokens": run / "tokenize"},
            lambda out: training.pretrain(recipe.pretrain, run / "tokenize", out, progress=progress),
        )
    tokenized = Stage(
        "tokenize",
        tokens.VERSION,
        settings,
        inputs,
        lambda out: tokens.tokenize(settings, run / "curate", out, progress=progress),
    )
    return teacher, tokenized


def _supernet(recipe: Recipe, run: Path, teacher: Path, progress: Progress) -> list[Stage]:
    """From the teacher to the scores of every preset."""
    shards, model = run / "tokenize", run / "model"
    return [
        Stage(
            "distill",
            training.DISTILL_VERSION,
            recipe.distill,
            {"teacher": teacher, "tokens": shards},
            lambda out: training.distill(recipe.distill, teacher, shards, out, progress=progress),
        ),
        Stage(
            "finetune",
            training.FINETUNE_VERSION,
            recipe.finetune,
            {"supernet": run / "distill", "tokens": shards},
            lambda out: training.finetune(recipe.finetune, run / "distill", shards, out, progress=progress),
        ),
        Stage(
            "place",
            placement.VERSION,
            recipe.place,
            {"model": run / "finetune", "tokens": shards},
            lambda out: placement.place(recipe.place, run / "finetune", shards, out, progress=progress),
        ),
        Stage(
            "model",
            PUBLISH_VERSION,
            PublishConfig(),
            {"model": run / "finetune", "place": run / "place"},
            lambda out: publish(run / "finetune", run / "place", out),
        ),
        Stage(
            "evaluate",
            evaluation.VERSION,
            recipe.evaluate,
            {"model": model, "corpus": run / "curate"} | problem_files(recipe.evaluate.benchmark.problems),
            lambda out: evaluation.evaluate(recipe.evaluate, model, run / "curate", out, progress=progress),
        ),
    ]


def publish(supernet: Path, place: Path, out: Path) -> dict[str, Any]:
    """Put a supernet's checkpoint and its presets into one folder, ready to serve."""
    # The supernet's card is not this model's, which is written once the stage is done.
    found = [p for p in model_folder(supernet).iterdir() if p.is_file() and p.name != CARD]
    # config.json comes last: a folder without it is not a checkpoint.
    files = sorted([*found, place / PRESETS_FILE], key=lambda p: (p.name == "config.json", p.name))
    for source in files:
        with atomic_path(out / source.name) as temporary:
            shutil.copyfile(source, temporary)
    return {"files": [p.name for p in files]}
