"""``deepspeech-train evaluate CHECKPOINT MANIFEST``: the word error rate of a trained network on any utterances."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._recogniser import add_checkpoint, network_of

if TYPE_CHECKING:
    from ..data.manifest import Utterances
    from ..evaluation import Evaluation
    from ..scoring import Transcription

HELP = "the word error rate of a checkpoint on any manifest"
DESCRIPTION = """\
Recognises the utterances of a manifest of any known form, or of a folder of shards, and scores what was recognised:
word and character error rates with a confidence interval, by speaker and by length, which words were confused, and the
worst, median and best utterances. Utterances whose audio cannot be used are named, and are not part of the rates."""

_HINT = "Check that the folder exists, is yours and has room."
_NAMED = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_checkpoint(parser)
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="utterances with what is said in them")
    parser.add_argument("--limit", metavar="N", type=int, default=0, help="so many utterances, spread evenly (0: all)")
    parser.add_argument("--listing", metavar="N", type=int, default=None, help="show the N worst, median and best")
    parser.add_argument("--top", metavar="N", type=int, default=10, help="of speakers and words so many (default: 10)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it there, as JSON")
    parser.add_argument(
        "--hypotheses", metavar="FILE", type=Path, help="write what was recognised there, as JSON lines"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the bootstrap (default: 0)")


def main(options: argparse.Namespace) -> int:
    from ..errors import RecipeError, SettingsError

    for name in ("limit", "seed"):
        if getattr(options, name) < 0:
            raise SettingsError(f"--{name} {getattr(options, name)} is below 0.", "Give a whole number from 0 up.")
    from ..data.parts import spread
    from ._speech import utterances_of

    network = network_of(options)
    settings = network.settings
    utterances = spread(utterances_of(options.manifest), options.limit)
    evaluation = _evaluated(network, utterances)
    _tell_left_out(evaluation)
    if not evaluation.transcriptions:
        raise RecipeError(
            f"None of the {len(utterances)} utterances of {options.manifest} could be used.", "The reasons are above."
        )
    from .. import scoring

    summary = scoring.summarise(evaluation.transcriptions, "none", options.seed)
    print(f"Checkpoint: {options.checkpoint} ({settings.model}, decoder {settings.decoder})")
    print(f"Manifest: {options.manifest}")
    print(summary.text(options.top))
    listing = settings.report_count if options.listing is None else options.listing
    if listing > 0:
        print(f"\n{scoring.examples(evaluation.transcriptions, listing)}")
    if options.hypotheses:
        lines = [json.dumps(_line(item), ensure_ascii=False) + "\n" for item in evaluation.transcriptions]
        _write(options.hypotheses, "".join(lines), "The hypotheses")
    if options.json:
        document = {
            "checkpoint": str(options.checkpoint),
            "manifest": str(options.manifest),
            "decoder": settings.decoder,
            "loss": evaluation.loss,
            **summary.as_json(),
            "left_out": dict(evaluation.left_out),
        }
        _write(options.json, json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n", "The scores")
    return 0


def _evaluated(network: Any, utterances: Utterances) -> Evaluation:
    from .. import decoding, reading
    from ..corpora._progress import Progress
    from ..evaluation import Evaluator

    settings = network.settings
    decoder = decoding.from_settings(settings, settings.window_step * network.stride)
    said = Progress("evaluate", enabled=True)
    for remark in decoder.remarks:
        said.say(remark)
    with said.steps("recognised", len(utterances), "utterances") as advance:
        return Evaluator(network.model, decoder, settings).evaluate(reading.once(network, utterances), advance)


def _tell_left_out(evaluation: Evaluation) -> None:
    import sys

    if evaluation.left_out:
        named = list(evaluation.left_out.items())[:_NAMED]
        print(f"{len(evaluation.left_out)} utterances could not be used; the rates are of the others:", file=sys.stderr)
        for name, reason in named:
            print(f"  {name}: {reason}", file=sys.stderr)
        if len(evaluation.left_out) > _NAMED:
            print(f"  and {len(evaluation.left_out) - _NAMED} more (--json has all)", file=sys.stderr)


def _line(item: Transcription) -> dict[str, Any]:
    return {
        "id": item.utterance.id,
        "speaker": item.utterance.speaker,
        "duration": round(item.utterance.duration, 3),
        "reference": item.utterance.text,
        "hypothesis": item.hypothesis,
        "confidence": None if item.confidence is None else round(item.confidence, 3),
        "words": item.score.words,
        "substitutions": item.score.substitutions,
        "deletions": item.score.deletions,
        "insertions": item.score.insertions,
    }


def _write(path: Path, content: str, what: str) -> None:
    from ..files import written_whole

    with written_whole(path, what, _HINT) as file:
        file.write(content.encode())
