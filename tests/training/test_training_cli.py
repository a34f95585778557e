"""The three commands: help, results, one-line errors, Ctrl-C."""

import json

import pytest
import yaml

from derailleur.cli import main


@pytest.fixture
def small(pretrain_config, tmp_path):
    """A configuration file of three steps."""
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(pretrain_config.model_copy(update={"steps": 3}).model_dump(mode="json")))
    return str(file)


@pytest.mark.parametrize("command", ["pretrain", "distill", "finetune"])
def test_help_shows_an_example_and_the_keys(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert f"example: derailleur {command} " in text
    assert "--data.sequence_length" in text
    assert "optimizer.learning_rate  peak learning rate" in text


def test_pretrain_prints_results_and_is_done_the_second_time(small, tokens, tmp_path, capsys):
    call = ["pretrain", "--data", str(tokens), "--out", str(tmp_path / "out"), "--config", small, "--json"]
    assert main(call) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["steps"] == 3
    assert results["tokens"] == 3 * 4 * 48
    assert (tmp_path / "out" / "manifest.json").is_file()
    before = (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out) == results
    assert (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_distill_takes_a_stage_folder_and_options_override(teacher, tokens, tmp_path, capsys):
    options = {"data.sequence_length": "24", "data.batch_size": "2", "alignment.steps": "1",
               "stochastic.steps": "2", "mixers.K": "null"}  # fmt: skip
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    out = ["--data", str(tokens), "--out", str(tmp_path / "out")]
    assert main(["distill", str(teacher), *out, *flags]) == 0
    text = capsys.readouterr().out
    assert "all-swa" in text and "all-gdn" in text and "all-kda" not in text
    assert "3 steps, 144 tokens" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--out", "o"], "the following arguments are required: --data"),
        (["pretrain", "--data", "TOKENS", "--out", "OUT", "--stepz", "3"], "unknown key 'stepz'"),
        (["pretrain", "--data", "missing", "--out", "OUT"], "missing: no such file"),
        (
            ["pretrain", "--data", "TOKENS", "--out", "OUT", "--model.num_kv_heads", "3"],
            "is not a multiple of num_kv_heads 3",
        ),
        (["distill", "missing", "--data", "TOKENS", "--out", "OUT"], "missing: no such file"),
        (["distill", "TOKENS", "--data", "TOKENS", "--out", "OUT"], "no config.json"),
        (["finetune", "TOKENS", "--data", "TOKENS", "--out", "OUT", "--kl_weight", "-1"], "kl_weight"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, message, tokens, tmp_path, capsys):
    known = {"TOKENS": str(tokens), "OUT": str(tmp_path / "out")}
    assert main([known.get(argument, argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_ctrl_c_leaves_a_run_that_the_same_command_finishes(small, tokens, tmp_path, capsys, monkeypatch):
    call = ["pretrain", "--data", str(tokens), "--out", str(tmp_path / "out"), "--config", small]
    with monkeypatch.context() as patch:
        patch.setattr("derailleur.training.stage.save_model", _interrupt)
        assert main(call) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert main(call) == 0
    assert (tmp_path / "out" / "manifest.json").is_file()


def _interrupt(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt
