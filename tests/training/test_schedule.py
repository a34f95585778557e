"""The schedules' shape: warm-up, peak, decay, and what the last step sees."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.training.schedule import Decay, ScheduleConfig


def factors(config: ScheduleConfig, steps: int) -> list[float]:
    return [config.factor(step, steps) for step in range(steps)]


def test_wsd_warms_up_holds_and_decays_linearly():
    config = ScheduleConfig(decay=Decay.WSD, warmup_fraction=0.1, decay_fraction=0.4)
    rates = factors(config, 100)
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10:60] == [1.0] * 50
    assert rates[60:] == pytest.approx([(100 - step) / 41 for step in range(60, 100)])


def test_cosine_starts_at_the_peak_and_passes_half_in_the_middle():
    config = ScheduleConfig(decay=Decay.COSINE, warmup_fraction=0.2, final_ratio=0.1)
    rates = factors(config, 100)
    assert rates[20] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1, abs=1e-3)


@given(
    decay=st.sampled_from(list(Decay)),
    steps=st.integers(1, 400),
    warmup=st.floats(0, 0.9),
    decay_fraction=st.floats(0.01, 1),
    final=st.floats(0, 1),
)
def test_every_rate_is_positive_at_most_the_peak_and_never_rises_after_warm_up(
    decay, steps, warmup, decay_fraction, final
):
    config = ScheduleConfig(
        decay=decay, warmup_fraction=warmup, decay_fraction=decay_fraction, final_ratio=final
    )
    rates = factors(config, steps)
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    after = rates[peak:]
    assert all(late <= early + 1e-12 for early, late in itertools.pairwise(after))
