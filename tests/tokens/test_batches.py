import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from derailleur.errors import ConfigError, DataError
from derailleur.tokens import (
    Batches,
    DataConfig,
    TokenDataset,
    TokenizeConfig,
    Tokenizer,
    tokenize,
)
from derailleur.tokens.batches import apply_fim


@pytest.fixture(scope="module")
def dataset(packed: Path) -> TokenDataset:
    return TokenDataset(packed, "train")


def data_config(**values: float) -> DataConfig:
    return DataConfig(**{"sequence_length": 64, "batch_size": 4} | values)


def test_a_batch_depends_on_seed_and_step_alone(dataset: TokenDataset, tokenizer: Tokenizer) -> None:
    one = Batches(dataset, data_config(seed=3), tokenizer)
    forward = [one.batch(step) for step in range(30)]
    for step in (29, 0, 17):
        again = Batches(dataset, data_config(seed=3), tokenizer).batch(step)
        assert np.array_equal(again.tokens, forward[step].tokens)
        assert np.array_equal(again.loss_mask, forward[step].loss_mask)
    other = Batches(dataset, data_config(seed=4), tokenizer).batch(0)
    assert not np.array_equal(other.tokens, forward[0].tokens)
    orders = [
        [Batches(dataset, data_config(seed=seed), tokenizer).window_index(row) for row in range(20)]
        for seed in (3, 4)
    ]
    assert orders[0] != orders[1]


def test_every_window_is_visited_once_an_epoch(dataset: TokenDataset, tokenizer: Tokenizer) -> None:
    batches = Batches(dataset, data_config(fim_rate=0, batch_size=3), tokenizer)
    num_windows = batches.num_windows
    assert num_windows == (dataset.num_tokens - 1) // 64
    rows = np.concatenate([batches.batch(step).tokens for step in range(num_windows)])  # three epochs
    windows = sorted(dataset.window(index * 64, 65).tolist() for index in range(num_windows))
    epochs = [rows[epoch * num_windows :][:num_windows].tolist() for epoch in range(3)]
    assert all(sorted(epoch) == windows for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_shapes_and_types(dataset: TokenDataset, tokenizer: Tokenizer) -> None:
    batch = Batches(dataset, data_config(), tokenizer).batch(0)
    assert (batch.tokens.shape, batch.tokens.dtype) == ((4, 65), np.int64)
    assert (batch.loss_mask.shape, batch.loss_mask.dtype) == ((4, 64), np.bool_)
    assert batch.tokens.min() >= 0 and batch.tokens.max() < tokenizer.vocab_size


def test_padding_alone_is_masked(tmp_path: Path) -> None:
    # tokens are bytes here, and every window loses halves of characters at both edges: rows come out short
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"content": "😀" * 200}))
    config = TokenizeConfig(vocab_size=261, heldout_fraction=0)
    tokenize(config, tmp_path / "corpus.jsonl", tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    dataset = TokenDataset(tmp_path / "out", "train")
    batch = Batches(dataset, data_config(sequence_length=9, batch_size=8, fim_rate=1), tokenizer).batch(0)
    assert tokenizer.fim is not None
    assert np.array_equal(batch.loss_mask, batch.tokens[:, 1:] != tokenizer.fim.pad_id)
    assert not batch.loss_mask.all()
    assert batch.loss_mask[:, :6].all()  # three marks and the four bytes of a whole character


def test_fim_is_drawn_anew_each_epoch(dataset: TokenDataset, tokenizer: Tokenizer) -> None:
    batches = Batches(dataset, data_config(fim_rate=1.0, batch_size=1), tokenizer)
    rows = [
        next(
            batches.batch(number).tokens.tolist()
            for number in range(epoch * batches.num_windows, (epoch + 1) * batches.num_windows)
            if batches.window_index(number) == (epoch, 5)
        )
        for epoch in range(2)
    ]
    assert rows[0] != rows[1]


@pytest.mark.parametrize(("spm_rate", "spm"), [(0.0, False), (1.0, True)])
def test_fragments_come_back_whole(
    dataset: TokenDataset,
    tokenizer: Tokenizer,
    restore: Callable[[list[int]], str],
    spm_rate: float,
    spm: bool,
) -> None:
    fim = tokenizer.fim
    assert fim is not None
    config = data_config(fim_rate=1.0, spm_rate=spm_rate)
    window = dataset.window(0, dataset.num_tokens)
    made = apply_fim(window, config, tokenizer, np.random.default_rng(0))
    ends = np.flatnonzero(window == tokenizer.eos_id)
    originals = np.split(window, ends + 1)[:-1]
    fragments = np.split(made, np.flatnonzero(made == tokenizer.eos_id) + 1)[:-1]
    assert len(fragments) == len(originals) == len(dataset.documents())
    for fragment, original in zip(fragments, originals, strict=True):
        if len(original) == 1:  # an empty document
            assert fragment.tolist() == [tokenizer.eos_id]
            continue
        *ids, end = fragment.tolist()
        assert end == tokenizer.eos_id
        assert restore(ids) == tokenizer.decode(original[:-1].tolist())
        assert (ids[1] == fim.suffix_id) == spm


def test_rates(tokenizer: Tokenizer) -> None:
    fim = tokenizer.fim
    assert fim is not None
    document = [*tokenizer.encode("return value"), tokenizer.eos_id]
    window = np.array(document * 3000)
    made = apply_fim(window, data_config(fim_rate=0.3, spm_rate=0.25), tokenizer, np.random.default_rng(0))
    starts = np.flatnonzero(made == fim.prefix_id)
    spm = (made[starts + 1] == fim.suffix_id).sum()  # or PSM with an empty prefix, 25 in 169
    assert abs(len(starts) / 3000 - 0.3) < 0.03
    assert abs(spm / len(starts) - (0.25 + 0.75 * 25 / 169)) < 0.06
    assert (made == tokenizer.eos_id).sum() == 3000


def test_half_a_character_at_the_edges_is_left_out(
    tokenizer: Tokenizer, restore: Callable[[list[int]], str]
) -> None:
    ids = tokenizer.encode("😀abc😀")
    assert tokenizer.decode(ids[1:]) != "abc😀"
    made = apply_fim(np.array(ids[1:-1]), data_config(fim_rate=1.0), tokenizer, np.random.default_rng(0))
    assert restore(made.tolist()) == "abc"


def test_a_vocabulary_without_fim(dataset: TokenDataset, without_fim: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="fim_rate: the tokenizer has no fill-in-the-middle tokens"):
        Batches(dataset, data_config(), without_fim)
    batch = Batches(dataset, data_config(fim_rate=0), without_fim).batch(0)
    assert batch.loss_mask.all()


def test_a_dataset_shorter_than_a_window(dataset: TokenDataset, tokenizer: Tokenizer) -> None:
    Batches(dataset, data_config(sequence_length=dataset.num_tokens - 1), tokenizer)
    with pytest.raises(DataError, match="less than one window"):
        Batches(dataset, data_config(sequence_length=dataset.num_tokens), tokenizer)


def test_a_model_that_never_sees_the_order_of_its_prompts_is_refused(
    dataset: TokenDataset, tokenizer: Tokenizer
) -> None:
    with pytest.raises(ConfigError, match="spm_rate: 0 never shows the order 'spm'"):
        Batches(dataset, data_config(fim_rate=0.5, spm_rate=0), tokenizer)
    Batches(dataset, data_config(fim_rate=0, spm_rate=0), tokenizer)
