from pathlib import Path

import numpy as np
import pytest
import torch

from derailleur.engine import Engine
from derailleur.errors import DataError
from derailleur.journal import Journal
from derailleur.model import Decoder
from derailleur.placement.cost import Regime
from derailleur.placement.measure import (
    HeldoutWindows,
    QualityConfig,
    QualityMeter,
    SpeedConfig,
    SpeedMeter,
    Windows,
    mean_log_likelihood,
)
from derailleur.placement.placement import Placement
from derailleur.tokens import TokenDataset, Tokenizer

QUALITY = QualityConfig(window_tokens=24, num_windows=5, windows_per_batch=2)
SPEED = SpeedConfig(batches=(1, 2), contexts=(16, 32), steps=2, warmup=1, passes=2)


def draw(folder: Path, seed: int = 0) -> HeldoutWindows:
    return HeldoutWindows.draw(folder, QUALITY, vocab_size=300, rng=np.random.default_rng(seed))


@pytest.fixture
def windows(tokens_folder: Path) -> Windows:
    return draw(tokens_folder).search


def test_windows_are_heldout_text_and_never_overlap(tokens_folder: Path) -> None:
    drawn = draw(tokens_folder)
    both = np.concatenate([drawn.search, drawn.confirm])
    assert drawn.search.shape == drawn.confirm.shape == (5, 25)
    dataset = TokenDataset(tokens_folder, "heldout")
    stream = dataset.window(0, dataset.num_tokens)
    starts = [
        next(s for s in range(0, len(stream) - 24, 24) if (stream[s : s + 25] == window).all())
        for window in both
    ]
    assert len(set(starts)) == 10


def test_windows_are_seeded(tokens_folder: Path) -> None:
    np.testing.assert_array_equal(draw(tokens_folder).search, draw(tokens_folder).search)
    assert (draw(tokens_folder).search != draw(tokens_folder, seed=1).search).any()


def test_too_little_text_and_a_foreign_vocabulary_are_refused(tokens_folder: Path) -> None:
    rng = np.random.default_rng(0)
    long = QualityConfig(window_tokens=100_000)
    with pytest.raises(DataError, match="0 windows of 100000; 32 are needed"):
        HeldoutWindows.draw(tokens_folder, long, vocab_size=300, rng=rng)
    with pytest.raises(DataError, match="not in the model's vocabulary of 40"):
        HeldoutWindows.draw(tokens_folder, QUALITY, vocab_size=40, rng=rng)


@pytest.mark.parametrize("letters", ["FFF", "SKG"])
def test_log_likelihood_equals_token_by_token(supernet: Decoder, windows: Windows, letters: str) -> None:
    placement = Placement(letters)
    total = 0.0
    with torch.no_grad():
        for window in torch.from_numpy(windows):
            logs = supernet(window[None, :-1], placement).logits[0].double().log_softmax(-1)
            total += sum(float(logs[position, token]) for position, token in enumerate(window[1:]))
    found = mean_log_likelihood(supernet, windows, placement, QUALITY)
    assert found == pytest.approx(total / (5 * 24), abs=1e-5)


def test_pieces_and_batches_do_not_matter(
    supernet: Decoder, windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    placement = Placement("GSK")
    whole = mean_log_likelihood(
        supernet, windows, placement, QUALITY.model_copy(update={"windows_per_batch": 5})
    )
    monkeypatch.setattr("derailleur.placement.measure._LOGIT_TOKENS", 7)
    assert mean_log_likelihood(supernet, windows, placement, QUALITY) == pytest.approx(whole, abs=1e-6)


def test_bfloat16_is_near_and_not_the_same(supernet: Decoder, windows: Windows) -> None:
    placement = Placement("FFF")
    exact = mean_log_likelihood(supernet, windows, placement, QUALITY)
    coarse = mean_log_likelihood(
        supernet, windows, placement, QUALITY.model_copy(update={"precision": "bfloat16"})
    )
    assert coarse != exact
    assert coarse == pytest.approx(exact, rel=0.02)


def test_quality_is_measured_once_each(supernet: Decoder, windows: Windows, tmp_path: Path) -> None:
    path = tmp_path / "quality.jsonl"
    seen: list[tuple[float, float | None]] = []

    def progress(label: str, done: float, total: float | None, note: str = "") -> None:
        seen.append((done, total))

    meter = QualityMeter(supernet, windows, QUALITY, Journal(path), progress)
    meter.measure({Placement("FFF"): "uniform", Placement("FSF"): "swap"}, "quality")
    assert seen == [(0, 2), (1, 2), (2, 2)]
    before = path.read_text()
    again = QualityMeter(supernet, windows, QUALITY, Journal(path))
    again.measure({Placement("FFF"): "preset", Placement("GGG"): "preset"}, "quality")
    assert path.read_text().startswith(before)
    assert [(row["placement"], row["origin"], row["tokens"]) for row in again.journal.rows] == [
        ("FFF", "uniform", 120),
        ("FSF", "swap", 120),
        ("GGG", "preset", 120),
    ]
    assert list(again.measured(["swap", "preset"])) == [Placement("FSF"), Placement("GGG")]
    assert len(set(again.measured().values())) == 3


def test_a_broken_model_is_not_recorded(supernet: Decoder, windows: Windows, tmp_path: Path) -> None:
    meter = QualityMeter(supernet, windows, QUALITY, Journal(tmp_path / "quality.jsonl"))
    weight = supernet.norm.weight.detach().clone()
    try:
        supernet.norm.weight.data.fill_(float("nan"))
        with pytest.raises(DataError, match="placement FFF: log-likelihood is nan"):
            meter.measure({Placement("FFF"): "uniform"}, "quality")
    finally:
        supernet.norm.weight.data.copy_(weight)
    assert meter.journal.rows == []


def test_speed_is_really_decoded_in_every_regime_and_pass(
    supernet: Decoder, tokens_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "speed.jsonl"
    engine = Engine(supernet, Tokenizer.load(tokens_folder))
    meter = SpeedMeter(engine, SPEED, Journal(path))
    meter.measure({Placement("FSK"): "fit"}, "speed")
    assert len(meter.journal.rows) == 2 * 2 * 2
    assert all(row["seconds_per_step"] > 0 for row in meter.journal.rows)
    for row in meter.journal.rows:
        assert row["tokens_per_second"] == pytest.approx(row["batch"] / row["seconds_per_step"])
    before = path.read_text()
    again = SpeedMeter(engine, SPEED, Journal(path))
    again.measure({Placement("FSK"): "fit"}, "speed")
    assert path.read_text() == before
    again.measure({Placement("FSK"): "preset"}, "speed")
    assert len(again.journal.rows) == 16


def test_the_fastest_pass_counts(supernet: Decoder, tokens_folder: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "speed.jsonl")
    for number, (letters, use, seconds) in enumerate(
        [("FFF", "fit", 3.0), ("FFF", "fit", 2.0), ("FFF", "preset", 1.0), ("GGG", "fit", 1.5)]
    ):
        row = {"placement": letters, "batch": 1, "context": 16, "use": use, "pass": number}
        journal.append({**row, "seconds_per_step": seconds, "tokens_per_second": 1 / seconds})
    meter = SpeedMeter(Engine(supernet, Tokenizer.load(tokens_folder)), SPEED, journal)
    assert {t.placement.letters: t.seconds_per_step for t in meter.timings("fit")} == {"FFF": 2, "GGG": 1.5}
    [timing] = meter.timings("preset", Placement("FFF"))
    assert (timing.regime, timing.seconds_per_step) == (Regime(1, 16), 1.0)
