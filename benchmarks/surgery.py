"""How GDN and KDA start and what little distillation makes of them, for several ways to initialise them.

    python benchmarks/surgery.py
    python benchmarks/surgery.py --teacher runs/quickstart/pretrain --data runs/quickstart/tokenize

Each supernet has full attention, KDA and GDN. Before and after stochastic distillation the table gives, on
held-out text: the mixers' relative distance from the teacher's attention on the teacher's own inputs
(1 is what silence has), and with one mixer in every layer the reverse KL divergence from the teacher and
the next-token loss, in nats a token. Mean and standard deviation over seeds. Without --teacher a small one
is trained on the interpreter's standard library first, in about a minute.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from derailleur.corpus import CurateConfig
from derailleur.io import silent
from derailleur.model import Decoder, GdnConfig, KdaConfig, MixersConfig, add_mixers, load_model
from derailleur.recipe import Recipe, stages
from derailleur.runs import execute
from derailleur.tokens import DataConfig, TokenizeConfig
from derailleur.training import PretrainConfig
from derailleur.training.alignment import LocalAlignment
from derailleur.training.data import Batch, TrainingData
from derailleur.training.distill import StochasticConfig, StochasticDistillation
from derailleur.training.pretrain import TeacherConfig
from derailleur.training.sampling import PlacementSampler, SamplingConfig
from derailleur.training.stage import learn_only
from derailleur.training.trainer import CheckpointConfig, HeldoutConfig, Phase, Trainer, TrainerConfig

OURS = MixersConfig(K=KdaConfig(), G=GdnConfig())
WITHOUT_BIAS = MixersConfig(K=KdaConfig(gate_bias=False), G=GdnConfig(gate_bias=False))
PACKAGES = ("[a-m]*.py", "asyncio/*", "email/*", "http/*", "importlib/**", "json/*", "logging/*", "xml/**")
NAMES = {"G": "gdn", "K": "kda"}
METRICS = ("distance", "reverse KL", "loss")


def random_weights(teacher: Decoder, mixers: MixersConfig, seed: int) -> Decoder:
    """Every new mixer with its random weights."""
    supernet = Decoder(teacher.config.model_copy(update={"mixers": mixers}))
    supernet.reset_parameters(seed)
    supernet.load_state_dict(teacher.state_dict(), strict=False)
    return supernet


@torch.no_grad()
def released(teacher: Decoder, seed: int) -> Decoder:
    """As the released converters initialise (Super Apriel, arXiv:2604.19877).

    As many key heads in GDN as key-value heads, values tiled over the heads, gates from zero.
    """
    mixers = MixersConfig(
        K=KdaConfig(gate_bias=False), G=GdnConfig(gate_bias=False, num_key_heads=teacher.config.num_kv_heads)
    )
    supernet = random_weights(teacher, mixers, seed)
    for layer in supernet.layers:
        attention = layer.mixer("F")
        for letter in "GK":
            mixer = layer.mixer(letter)
            mixer.out_proj.weight.copy_(attention.o_proj.weight)
            mixer.convolution.weight.zero_()
            mixer.convolution.weight[..., -1] = 0.5
            mixer.A_log.fill_(math.log(0.1))
            mixer.dt_bias.zero_()
            qkv = [
                tiled(attention.q_proj.weight, mixer.num_key_heads, mixer.head_dim),
                tiled(attention.k_proj.weight, mixer.num_key_heads, mixer.head_dim),
                tiled(attention.v_proj.weight, mixer.num_value_heads, mixer.head_dim),
            ]
            if letter == "G":
                mixer.in_proj_qkvz.weight.copy_(torch.cat([*qkv, torch.zeros_like(mixer.out_proj.weight.T)]))
                mixer.in_proj_ba.weight.zero_()
            else:
                mixer.in_proj_qkv.weight.copy_(torch.cat(qkv))
                for linear in (mixer.in_proj_fgb, mixer.f_proj, mixer.g_proj):
                    bound = linear.in_features**-0.5
                    nn.init.uniform_(linear.weight, -bound, bound)
    return supernet


def tiled(weight: Tensor, heads: int, head_dim: int) -> Tensor:
    """Head h takes head h modulo as many as there are."""
    source = weight.unflatten(0, (-1, head_dim))
    return source[torch.arange(heads) % len(source)].flatten(0, 1)


INITIALISATIONS: dict[str, Callable[[Decoder, int], Decoder]] = {
    "random": lambda teacher, seed: random_weights(teacher, OURS, seed),
    "released layout": released,
    "ours": lambda teacher, seed: add_mixers(teacher, OURS, seed=seed),
    "ours, no gate bias": lambda teacher, seed: add_mixers(teacher, WITHOUT_BIAS, seed=seed),
}


def small_teacher(run: Path) -> tuple[Path, Path]:
    """A teacher of 4 heads over 2 key-value heads, and its tokens."""
    shape = TeacherConfig(
        hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=2, head_dim=32, intermediate_size=320
    )
    recipe = Recipe(
        sources=("python-stdlib",),
        threads=torch.get_num_threads(),
        curate=CurateConfig(languages=("Python",), include=PACKAGES, heldout_fraction=0.15),
        tokenize=TokenizeConfig(vocab_size=1024),
        pretrain=PretrainConfig(
            model=shape,
            data=DataConfig(sequence_length=256, batch_size=8),
            steps=200,
            heldout=HeldoutConfig(every_steps=200, num_sequences=4),
        ),
    )
    planned = {stage.name: stage for stage in stages(recipe, run)}
    for name in ("curate", "tokenize", "pretrain"):
        execute(planned[name], run / name)
    return run / "pretrain", run / "tokenize"


Measures = dict[tuple[str, str], float]
"""By mixer's letter and metric."""


@torch.no_grad()
def measure(objective: StochasticDistillation, batch: Batch) -> Measures:
    """What the table shows, on one batch."""
    supernet = objective.decoder
    aligned = LocalAlignment(supernet, supernet, "GK").heldout(batch).metrics
    placed = objective.heldout(batch).metrics
    found: Measures = {("", "loss"): float(placed["all-fa.loss"])}
    for letter, name in NAMES.items():
        found[letter, "distance"] = float(aligned[f"mixer_loss.{name}"])
        found[letter, "reverse KL"] = float(placed[f"all-{name}.reverse_kl"])
        found[letter, "loss"] = float(placed[f"all-{name}.loss"])
    return found


def distilled(supernet: Decoder, tokens: Path, steps: int, data: DataConfig) -> tuple[Measures, Measures]:
    """Before and after the steps."""
    learn_only(supernet, "KG")
    config = TrainerConfig(
        data=data,
        checkpoint=CheckpointConfig(every_seconds=1e9, every_steps=10**9),
        heldout=HeldoutConfig(every_steps=10**9, num_sequences=8),
    )
    sampler = PlacementSampler(
        SamplingConfig(),
        num_layers=supernet.config.num_layers,
        letters="FKG",
        learning="KG",
        seed=data.seed,
    )
    stochastic = StochasticConfig(steps=steps)
    objective = StochasticDistillation(supernet, supernet, stochastic, sampler)
    with tempfile.TemporaryDirectory() as folder:
        phases = [Phase("stochastic", stochastic, objective)]
        loaded = TrainingData(tokens, data, torch.device("cpu"))
        trainer = Trainer(supernet, phases, loaded, config, Path(folder), progress=silent)
        before = measure(objective, trainer.heldout)
        trainer.run()
        return before, measure(objective, trainer.heldout)


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--teacher", type=Path, help="folder of a pretrain stage or a model")
    options.add_argument("--data", type=Path, help="folder that `tokenize` wrote with its vocabulary")
    options.add_argument("--steps", type=int, default=50, help="of stochastic distillation")
    options.add_argument("--seeds", type=int, default=3, help="of weights, batches and placements")
    options.add_argument("--sequence-length", type=int, default=256, help="tokens")
    options.add_argument("--batch-size", type=int, default=4, help="sequences of a step")
    options.add_argument("--threads", type=int, default=1, help="torch threads")
    arguments = options.parse_args()
    if (arguments.teacher is None) != (arguments.data is None):
        options.error("--teacher and --data go together")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.teacher, arguments.data
        teacher_folder, tokens = given if arguments.teacher else small_teacher(Path(folder))
        compare(load_model(teacher_folder), tokens, arguments)


def compare(teacher: Decoder, tokens: Path, arguments: argparse.Namespace) -> None:
    """Print the table."""
    steps = arguments.steps
    columns = [f"{metric} at {step}" for metric in METRICS for step in (0, steps)]
    print(f"| mixer | initialisation | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 2)}")
    lines: dict[str, list[str]] = {letter: [] for letter in NAMES}
    for name, initialise in INITIALISATIONS.items():
        runs = []
        for seed in range(arguments.seeds):
            torch.manual_seed(seed)
            data = DataConfig(
                sequence_length=arguments.sequence_length, batch_size=arguments.batch_size, seed=seed
            )
            runs.append(distilled(initialise(teacher, seed), tokens, steps, data))
        for letter, mixer in NAMES.items():
            cells = [spread([run[when][letter, m] for run in runs]) for m in METRICS for when in (0, 1)]
            lines[letter].append(f"| {mixer.upper()} | {name} | {' | '.join(cells)} |")
    print("\n".join(line for letter in NAMES for line in lines[letter]))
    print(f"\nThe teacher's own loss: {runs[0][0]['', 'loss']:.3f}; {arguments.seeds} seeds.")


if __name__ == "__main__":
    main()
