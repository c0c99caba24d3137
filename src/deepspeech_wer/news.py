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


def tell(settings: Settings, notifier: Notifier, records: Sequence[RunRecord], shas: Collection[str]) -> None:
    """Notify of what the landings ``shas`` came to, given all ``records`` in commit order."""
    before: Landed | None = None  # the last one with a figure
    failed: Landed | None = None  # the last one without, where none has come after it
    for landed in figures_of(records):
        if landed.landing is not None and landed.landing.sha in shas:
            _tell_one(settings, notifier, landed, before, failed)
        if landed.wer is None:
            failed = landed
        else:
            before, failed = landed, None


def _tell_one(
    settings: Settings, notifier: Notifier, landed: Landed, before: Landed | None, failed: Landed | None
) -> None:
    assert landed.landing is not None
    record = landed.records[-1]
    if landed.wer is None:
        notifier.status(landed.landing, "failure", f"training failed: {record.why}")
        notifier.landing_failed(record, landed.failures)
        return
    description = f"WER {text.percent(landed.wer)}"
    if before is not None and before.wer is not None and before.data_set == landed.data_set:
        points = 100 * (landed.wer - before.wer)
        description += f" ({text.points(landed.wer - before.wer)} points)"
        comparison = significance.compare(
            utterances.read_counts(before.runs[-1].folder), utterances.read_counts(landed.runs[-1].folder)
        )
        is_noise = comparison.verdict is significance.Verdict.WITHIN_NOISE
        if points >= settings.regression and not is_noise:
            notifier.regression(landed.runs[-1], before.runs[-1], points, comparison.text())
    notifier.status(landed.landing, "success", description)
    if failed is not None:
        notifier.landing_recovered(landed.runs[-1], failed.records[-1])
