"""The step size over the epochs: a linear rise first, then one of four ways down.

All are functions of where training is, in epochs and parts of one, so that they do not depend on how many batches an
epoch has, and a resumed run has the step sizes of the uninterrupted one.
"""

from __future__ import annotations

import math

from .settings import Settings


def learning_rate(epoch: int, batch: int, batches: int, settings: Settings, rate_factor: float = 1.0) -> float:
    """Adam's step size for ``batch`` (from 0) of the ``batches`` of ``epoch`` (from 0).

    It rises over ``warmup_epochs`` and is then constant; or half a cosine (Loshchilov and Hutter, 2017) that reaches 0
    at the end of the last epoch; or ``decay_factor`` times smaller from epoch to epoch; or, with ``plateau``,
    ``rate_factor`` times the whole, which validation has made smaller at each plateau.
    """
    warm = settings.warmup_epochs
    after = epoch + (batch + 1) / batches
    if after <= warm:
        return settings.learning_rate * after / warm
    position = max(0.0, epoch + batch / batches - warm)
    if settings.learning_rate_schedule == "cosine":
        share = min(1.0, position / max(1e-9, settings.epochs - warm))
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    if settings.learning_rate_schedule == "exponential":
        return float(settings.learning_rate * settings.decay_factor ** math.floor(position))
    if settings.learning_rate_schedule == "plateau":
        return settings.learning_rate * rate_factor
    return settings.learning_rate


def after_validation(losses: list[float | None], settings: Settings, rate_factor: float) -> float:
    """The new ``rate_factor``, given the validation losses so far (None: not validated, or not finite), the newest
    last: ``decay_factor`` times smaller whenever ``plateau_epochs`` in a row were no better than the best before."""
    if settings.learning_rate_schedule != "plateau":
        return rate_factor
    best, since = math.inf, 0
    for loss in losses:
        if loss is not None and loss < best:
            best, since = loss, 0
        else:
            since += 1
    lower = since > 0 and since % settings.plateau_epochs == 0
    return rate_factor * settings.decay_factor if lower else rate_factor
