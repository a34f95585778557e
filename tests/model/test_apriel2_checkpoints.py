"""Checkpoints in the released Super Apriel layout: exact trips, and the 15B model without its weights."""

import json
import math
import resource
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from derailleur.cli.main import main
from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.io import write_json
from derailleur.model import Decoder, DecoderConfig, import_checkpoint, load_config, load_model, save_model
from derailleur.model.apriel2 import parts, write
from derailleur.model.checkpoint import describe
from derailleur.model.export import plan_export, write_export
from derailleur.placement import Placement

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 6,
    "intermediate_size": 20,
    "max_positions": 128,
    "mixers": {
        "S": {"window_tokens": 5},
        "K": {"gate_activation": "sigmoid", "gate_bias": False},
        "G": {"num_key_heads": 2, "gate_bias": False},
    },
}
LAYOUTS = {
    "supernet": {},
    "untied": {"tie_embeddings": False, "attention_bias": True},
    "thin": {"banks": ["FS", "FSKG", "KG"]},
}


def make_model(folder: Path, dtype: torch.dtype, **changes: Any) -> Decoder:
    """A random checkpoint of ours, its tokenizer and generation settings too."""
    torch.manual_seed(0)
    decoder = Decoder(validate(DecoderConfig, TINY | changes)).to(dtype)
    save_model(decoder, folder)
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"<end>": 3}}}')
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    return decoder.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", LAYOUTS.values(), ids=LAYOUTS)
def test_there_and_back_is_bit_identical(changes: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    made = make_model(tmp_path / "ours", dtype, **changes)
    write_export(plan_export(tmp_path / "ours", "apriel2", ()), tmp_path / "ours", tmp_path / "released")
    import_checkpoint(tmp_path / "released", tmp_path / "back")
    assert load_config(tmp_path / "back") == made.config
    ours, back = (load_file(tmp_path / name / "model.safetensors") for name in ("ours", "back"))
    assert ours.keys() == back.keys()
    assert all(back[name].dtype == dtype and torch.equal(x, back[name]) for name, x in ours.items())
    settings = json.loads((tmp_path / "back" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == 3

    write_export(plan_export(tmp_path / "back", "apriel2", ()), tmp_path / "back", tmp_path / "again")
    released, again = (load_file(tmp_path / name / "model.safetensors") for name in ("released", "again"))
    assert released.keys() == again.keys()
    assert all(torch.equal(x, again[name]) for name, x in released.items())
    config = (tmp_path / "released" / "config.json").read_text()
    assert (tmp_path / "again" / "config.json").read_text() == config
    assert json.loads(config)["dtype"] == str(dtype).removeprefix("torch.")


@torch.no_grad()
def test_one_placement_is_a_checkpoint_of_plain_blocks(tmp_path: Path) -> None:
    made = make_model(tmp_path / "ours", torch.float32)
    placement = Placement("GKS")
    released = tmp_path / "released"
    write_export(plan_export(tmp_path / "ours", "apriel2", [placement]), tmp_path / "ours", released)
    names = load_file(released / "model.safetensors")
    assert "model.decoder.blocks.0.mixer.in_proj_qkvz.weight" in names
    assert "model.decoder.blocks.1.mixer.f_b_proj.weight" in names
    assert not any("mixers" in name for name in names)
    import_checkpoint(released, tmp_path / "back")
    tokens = torch.randint(0, 61, (1, 40), generator=torch.Generator().manual_seed(1))
    assert torch.equal(load_model(tmp_path / "back")(tokens).logits, made(tokens, placement).logits)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    make_model(tmp_path / "ours", torch.float32)
    write_export(plan_export(tmp_path / "ours", "apriel2", ()), tmp_path / "ours", tmp_path / "released")
    return tmp_path / "released"


def test_vision_is_left_out_and_said_so(
    released: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    description = json.loads((released / "config.json").read_text())
    write_json(released / "config.json", description | {"vision_encoder": {"hidden_size": 8}})
    weights = load_file(released / "model.safetensors")
    vision = {"model.vision_encoder.adapter.linear_1.weight": torch.zeros(2, 2)}
    save_file(weights | vision, released / "model.safetensors")
    import_checkpoint(released, tmp_path / "back")
    assert [record.message for record in caplog.records] == [
        f"{released / 'config.json'}: the vision encoder is left out; the text model is taken alone"
    ]
    assert load_config(tmp_path / "back") == load_config(tmp_path / "ours")


def test_shards_may_part_what_is_one_tensor_of_ours(released: Path, tmp_path: Path) -> None:
    weights = load_file(released / "model.safetensors")
    shards = {f"model-{i}.safetensors": dict(islice(weights.items(), i, None, 5)) for i in range(5)}
    for name, shard in shards.items():
        save_file(shard, released / name)
    (released / "model.safetensors").unlink()
    index = {"weight_map": {tensor: name for name, shard in shards.items() for tensor in shard}}
    write_json(released / "model.safetensors.index.json", index)
    import_checkpoint(released, tmp_path / "back")
    ours, back = (load_file(tmp_path / name / "model.safetensors") for name in ("ours", "back"))
    assert all(torch.equal(x, back[name]) for name, x in ours.items())


def test_tensors_that_do_not_fit_are_named(released: Path, tmp_path: Path) -> None:
    weights = load_file(released / "model.safetensors")
    name = "model.decoder.blocks.1.mixer.mixers.kda.k_conv.weight"
    save_file({x: w for x, w in weights.items() if x != name}, released / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"'{name}' is missing"):
        import_checkpoint(released, tmp_path / "back")
    save_file(weights | {name: torch.zeros(23, 1, 4)}, released / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"'{name}' of shape \(23, 1, 4\)"):
        import_checkpoint(released, tmp_path / "back")


SUPER_APRIEL = DecoderConfig.model_validate(
    {
        "vocab_size": 131_072,
        "hidden_size": 5120,
        "num_layers": 48,
        "num_heads": 32,
        "num_kv_heads": 8,
        "head_dim": 128,
        "intermediate_size": 14_336,
        "max_positions": 262_144,
        "rope_theta": 1e9,
        "tie_embeddings": False,
        "mixers": {
            "S": {"window_tokens": 4096},
            "K": {"gate_bias": False},
            "G": {"num_key_heads": 8, "gate_bias": False},
        },
    }
)
"""The 15B model of arXiv:2604.19877 as it was released, its vision encoder aside."""

SUPERNET_PARAMETERS = 24_635_823_616


class _NoMemory(TorchDispatchMode):
    """Refuses to make any tensor with values."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for x in tree_leaves(made):
            assert not isinstance(x, torch.Tensor) or x.device.type == "meta" or not x.numel(), func
        return made


def parameters(names: Iterable[str], shapes: Mapping[str, torch.Size]) -> int:
    return sum(math.prod(shapes[name]) for name in names)


def test_the_15b_geometry_on_the_meta_device() -> None:
    with torch.device("meta"), _NoMemory():
        decoder = Decoder(SUPER_APRIEL)
    shapes = {name: x.shape for name, x in decoder.state_dict().items()}
    per_mixer = {
        mixer: parameters((x for x in shapes if x.startswith(f"layers.7.mixers.{mixer}.")), shapes)
        for mixer in ("fa", "swa", "gdn", "kda")
    }
    assert {x: round(n / 1e6, 2) for x, n in per_mixer.items()} == {
        "fa": 52.43,
        "swa": 52.43,
        "gdn": 73.75,
        "kda": 86.46,
    }
    assert parameters(shapes, shapes) == SUPERNET_PARAMETERS
    shared = parameters((x for x in shapes if ".mixers." not in x), shapes)
    assert round((shared + 48 * per_mixer["fa"]) / 1e9, 1) == 14.4


Shape = tuple[int, ...]


def sparse_file(path: Path, shapes: Mapping[str, Shape]) -> None:
    """A bfloat16 safetensors file with its header alone; its values are a hole in the file."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        stream.truncate(stream.tell() + end)


@pytest.fixture(scope="module")
def shapes() -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: x.shape for name, x in Decoder(SUPER_APRIEL).state_dict().items()}


@pytest.fixture
def released_15b(shapes: dict[str, torch.Size], tmp_path: Path) -> Path:
    """Ten shards, a vision tensor among them."""
    folder = tmp_path / "SuperApriel-15B"
    folder.mkdir()
    description, layout = write(SUPER_APRIEL)
    tensors: dict[str, Shape] = {"model.vision_encoder.adapter.linear_1.weight": (5120, 1024)}
    for part in parts(layout):
        rows, *rest = shapes[part.ours]
        tensors[part.released] = (rows if part.rows is None else part.rows.stop - part.rows.start, *rest)
    weight_map = {}
    for i in range(10):
        name = f"model-{i + 1:05}-of-00010.safetensors"
        shard = dict(islice(tensors.items(), i, None, 10))
        sparse_file(folder / name, shard)
        weight_map |= dict.fromkeys(shard, name)
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    write_json(
        folder / "config.json", description | {"dtype": "bfloat16", "vision_encoder": {"hidden_size": 1024}}
    )
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def ours_15b(shapes: dict[str, torch.Size], tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    folder.mkdir()
    write_json(folder / "config.json", describe(SUPER_APRIEL) | {"dtype": "bfloat16"})
    sparse_file(folder / "model.safetensors", shapes)
    return folder


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The most memory that the process has held does not rise by a gigabyte: a 50th of the weights."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kilobytes


@pytest.mark.usefixtures("little_memory")
def test_import_of_the_15b_model_is_planned_by_headers(
    released_15b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(released_15b), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert f"{SUPERNET_PARAMETERS:,} parameters, {2 * SUPERNET_PARAMETERS:,} bytes" in text
    lines = {" ".join(line.split()) for line in text.splitlines()}
    theirs, ours = "model.decoder.blocks.*.mixer.mixers", "layers.*.mixers"
    assert {
        f"48 x {theirs}.kda.v_conv.weight [4096, 1, 4] bfloat16 -> {ours}.kda.convolution.weight",
        f"48 x {theirs}.kda.beta_proj.weight [32, 5120] bfloat16 -> {ours}.kda.in_proj_fgb.weight",
        f"48 x {theirs}.gdn.in_proj_qkvz.weight [10240, 5120] bfloat16 -> {ours}.gdn.in_proj_qkvz.weight",
        f"48 x {theirs}.sliding_window.k_proj.weight [1024, 5120] bfloat16 -> {ours}.swa.k_proj.weight",
        "1 x model.vision_encoder.adapter.linear_1.weight [5120, 1024] bfloat16 -> left out",
    } <= lines
    assert "refused" not in text
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("little_memory")
def test_export_of_the_15b_model_is_planned_by_headers(
    ours_15b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["export", str(ours_15b), "--format", "apriel2", "--dry-run"]
    assert main(call) == 0
    text = capsys.readouterr().out
    assert f"apriel2 layout: 1,683 tensors, {SUPERNET_PARAMETERS:,} parameters, 49.3 GB" in text
    block = "model.decoder.blocks.*.mixer.mixers.kda"
    assert (
        "48 x layers.*.mixers.kda.in_proj_fgb.weight [288, 5120] bfloat16 -> "
        f"{block}.f_a_proj.weight, {block}.g_a_proj.weight, {block}.beta_proj.weight"
    ) in text
    assert main([*call, "--placement", "all-gdn", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert round(plan["parameters"] / 1e9, 2) == 15.45
    assert plan["bytes"] == 2 * plan["parameters"]
    assert {
        "source": "layers.0.mixers.fa.q_proj.weight",
        "shape": [4096, 5120],
        "dtype": "bfloat16",
        "targets": [],
    } in plan["mapping"]
