"""What is news about landings whose training is over: one failed, recovery after that, one made recognition worse."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from deepspeech_wer.config import Settings
from deepspeech_wer.results import utterances
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.results.landed import Landed, figures_of
from deepspeech_wer.site import text
from deepspeech_wer.stats import significance

if TYPE_CHECKING:
    from deepspeech_wer.notify import Notifier


def tell(
    settings: Settings,
    notifier: Notifier,
    records: Sequence[RunRecord],
    shas: Collection[str],
    pending: Collection[str] = (),
) -> None:
    """Notify of what the landings ``shas`` came to, given all ``records`` in commit order.

    A landing that is ``pending`` and has no figure yet has not failed so far: nobody heard of it, and it may succeed
    with its next run.
    """
    before: Landed | None = None  # the last one with a figure
    failed: Landed | None = None  # the last one without, where none has come after it
    for landed in figures_of(records):
        if landed.landing is not None and landed.landing.sha in shas:
            _tell_one(settings, notifier, landed, before, failed)
        if landed.wer is None and landed.sha not in pending:
            failed = landed
        elif landed.wer is not None:
            before, failed = landed, None


def _tell_one(
    settings: Settings, notifier: Notifier, landed: Landed, before: Landed | None, failed: Landed | None
) -> None:
    assert landed.landing is not None
    if landed.wer is None:
        notifier.status(landed.landing, "failure", f"training failed: {landed.newest.why}")
        notifier.landing_failed(landed)
        return
    description = f"WER {text.percent(landed.wer)}"
    if before is not None and before.wer is not None and landed.is_comparable_with(before):
        difference = landed.wer - before.wer
        description += f" ({text.points(difference)} points)"
        if round(100 * difference, 9) >= settings.regression:  # 0.41 - 0.40 is a little less than 0.01
            comparison = utterances.compare_landed(before, landed)
            if comparison.verdict is not significance.Verdict.WITHIN_NOISE:
                notifier.regression(landed, before, 100 * difference, comparison.text())
    notifier.status(landed.landing, "success", description)
    if failed is not None:
        notifier.landing_recovered(landed, failed.newest)
