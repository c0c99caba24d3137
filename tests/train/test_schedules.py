"""The step size over the epochs."""

from __future__ import annotations

import dataclasses

import pytest

from deepspeech_train import schedules
from deepspeech_train.settings import Settings

SETTINGS = Settings.from_namespace({"learning_rate": 1.0, "epochs": 5, "warmup_epochs": 1}, {})


def _rates(settings: Settings, batches: int = 10) -> list[float]:
    places = [(epoch, batch) for epoch in range(settings.epochs) for batch in range(batches)]
    return [schedules.learning_rate(epoch, batch, batches, settings) for epoch, batch in places]


def test_it_rises_then_falls_to_nothing_by_half_a_cosine() -> None:
    rates = _rates(SETTINGS)
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[30] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.01


def test_it_does_not_depend_on_how_many_batches_an_epoch_has() -> None:
    coarse, fine = _rates(SETTINGS, 10), _rates(SETTINGS, 1000)
    assert fine[::100][10:] == pytest.approx(coarse[10:])


def test_it_stays_as_it_is() -> None:
    assert set(_rates(dataclasses.replace(SETTINGS, learning_rate_schedule="constant", warmup_epochs=0))) == {1.0}


def test_it_falls_from_epoch_to_epoch() -> None:
    rates = _rates(dataclasses.replace(SETTINGS, learning_rate_schedule="exponential", decay_factor=0.5))
    assert [rates[place] for place in (10, 19, 20, 30, 49)] == pytest.approx([1, 1, 0.5, 0.25, 0.125])


def test_a_warm_up_longer_than_the_training_ends_below_the_full_step() -> None:
    rates = _rates(dataclasses.replace(SETTINGS, warmup_epochs=10.0))
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("losses", "lower"),
    [
        ([3.0], False),
        ([3.0, 2.0, 1.0], False),
        ([1.0, 2.0], False),
        ([1.0, 2.0, 2.0], True),
        ([1.0, 2.0, 2.0, 2.0], False),  # two more are needed after each time
        ([1.0, 2.0, 2.0, 2.0, 2.0], True),
        ([1.0, None, None], True),
        ([1.0, 2.0, 0.5], False),
    ],
)
def test_at_a_plateau_it_becomes_smaller(losses: list[float | None], lower: bool) -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate_schedule="plateau", decay_factor=0.5, plateau_epochs=2)
    factor = schedules.after_validation(losses, settings, 0.8)
    assert factor == pytest.approx(0.4 if lower else 0.8)
    assert schedules.learning_rate(3, 0, 10, settings, factor) == pytest.approx(factor)
    assert schedules.after_validation(losses, SETTINGS, 0.8) == 0.8
