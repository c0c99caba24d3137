"""``deepspeech-train score REF HYP``: the word error rate of transcripts in files, and where the errors are."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..scoring.bootstrap import Comparison
    from ..scoring.matching import Matched
    from ..scoring.transcripts import Transcripts

HELP = "score hypotheses against references, in files"
DESCRIPTION = """\
Scores hypotheses against references: word and character error rates with a confidence interval, by speaker and by
length, and which words were confused. Read are JSON lines (manifests, a run's utterances.jsonl), NIST's trn, Kaldi's
text, and plain lines; the form is found out. With a second HYP the two are compared on the same utterances."""

#: From so many utterances on the progress is shown.
_MANY = 100_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("reference", metavar="REF", type=Path, help="what was said; may hold what was recognised, too")
    parser.add_argument("hypotheses", metavar="HYP", type=Path, nargs="*", help="what was recognised; one, or two")
    parser.add_argument(
        "--normalise", metavar="NAME", default="none", help="none (default), basic or english; both sides alike"
    )
    parser.add_argument(
        "--format", metavar="NAME", default="auto", help="jsonl, trn, kaldi or lines, of all files (default: found out)"
    )
    parser.add_argument(
        "--encoding", metavar="NAME", default="", help="of all files (default: UTF-8, or by their mark)"
    )
    parser.add_argument("--utt2spk", metavar="FILE", type=Path, help="speakers: an id and its speaker a line")
    parser.add_argument(
        "--speaker-before", metavar="CHARS", default="", help="the speaker is what an id has before one of these"
    )
    parser.add_argument("--listing", metavar="N", type=int, default=0, help="show the N worst, median and best")
    parser.add_argument("--top", metavar="N", type=int, default=10, help="of speakers and words so many (default: 10)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it there, as JSON")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 if an utterance is missing, unknown, or there more than once"
    )


def main(options: argparse.Namespace) -> int:
    from ..errors import RecipeError, SettingsError
    from ..scoring import transcripts
    from ..scoring.matching import matched
    from ..scoring.normalising import normaliser

    if len(options.hypotheses) > 2:
        raise SettingsError(f"{len(options.hypotheses)} hypotheses were given.", "Give one, or two to be compared.")
    if options.seed < 0:
        raise SettingsError(f"--seed {options.seed} is below 0.", "Give a whole number from 0 up.")
    rules = normaliser(options.normalise)
    paths = options.hypotheses or [options.reference]
    sides = [(path, "own hypothesis" if path == options.reference else "hypothesis") for path in paths]
    reference, *hypotheses = transcripts.read_together(
        [(options.reference, "reference"), *sides], options.format, options.encoding
    )
    if options.reference in paths and reference.form != "jsonl":
        raise SettingsError(
            f"{options.reference} cannot hold both references and hypotheses: it was read as {reference.form}.",
            "Give two files, REF and HYP; JSON lines alone can hold both.",
        )
    speakers = _speakers(options, reference)
    scored = []
    for hypothesis in hypotheses:
        with _progress(len(reference.by_id)) as advance:
            scored.append(matched(reference, hypothesis, rules, speakers, advance))
    _tell(options, [reference, *hypotheses], scored, rules.name)
    if options.strict and any(one.missing or one.extra or one.repeated for one in scored):
        raise RecipeError("References and hypotheses are not of the same utterances, as told above (--strict).")
    return 0


@contextmanager
def _progress(utterances: int) -> Iterator[Callable[[int], object]]:
    """Where it is told how many were scored; nowhere for a set that takes no time."""
    if utterances < _MANY:
        yield int
        return
    from ..corpora._progress import Progress

    with Progress("score", enabled=True).steps("scored", utterances, "utterances") as advance:
        yield advance


def _speakers(options: argparse.Namespace, reference: Transcripts) -> dict[str, str]:
    """Id -> speaker, as the options say; empty where they say nothing."""
    from ..scoring.transcripts import read_speakers

    speakers = {}
    if options.speaker_before:
        parting = re.compile(f"[{re.escape(options.speaker_before)}]")
        parts = {name: parting.split(name, maxsplit=1) for name in reference.by_id}
        speakers = {name: found[0] for name, found in parts.items() if len(found) > 1}
    if options.utt2spk:
        speakers |= read_speakers(options.utt2spk, options.encoding)
    return speakers


def _tell(options: argparse.Namespace, files: list[Transcripts], scored: list[Matched], normalisation: str) -> None:
    """Prints, and writes with ``--json``, what was counted for each hypothesis, and how two compare."""
    from .. import scoring
    from ..files import written_whole

    reference, *hypotheses = files
    print(f"Reference: {reference.path} ({reference.form})")
    documents: list[dict[str, Any]] = []
    for name, hypothesis, one in zip("AB", hypotheses, scored, strict=False):
        title = f"Hypothesis {name}" if len(scored) > 1 else "Hypothesis"
        print(f"{title}: {hypothesis.path} ({hypothesis.form})", flush=True)  # before what is told on stderr
        for remark in one.remarks():
            print(f"  {remark}", file=sys.stderr)
        summary = scoring.summarise(one.transcriptions, normalisation, options.seed)
        print(summary.text(options.top))
        if options.listing > 0:
            print(f"\n{scoring.examples(one.transcriptions, options.listing)}")
        print()
        documents.append(
            {"hypothesis": _described(hypothesis)}
            | summary.as_json()
            | {"missing": one.missing, "extra": one.extra, "repeated": one.repeated}
        )
    document = {"reference": _described(reference)} | documents[0]
    if len(scored) > 1:
        before, after = (one.transcriptions for one in scored)
        found = scoring.compare(before, after, seed=options.seed)
        print(_compared(found))
        document = {
            "reference": _described(reference),
            "hypotheses": documents,
            "comparison": found and dataclasses.asdict(found),
        }
    if options.json:
        with written_whole(options.json, "The scores", "Check that the folder exists, is yours and has room.") as file:
            file.write(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n")


def _compared(found: Comparison | None) -> str:
    if found is None:
        return "B against A: too few utterances, or words, for a comparison"
    at, points = found.interval, 100 * found.difference
    verdict = "B is better" if at.high < 0 else "B is worse" if at.low > 0 else "within noise"
    return (
        f"B against A: {verdict}; {points:+.2f} percentage points of WER ({100 * at.level:g} % interval "
        f"{100 * at.low:+.2f} to {100 * at.high:+.2f}, by {at.count} {at.drawn}); "
        f"B is better in {100 * found.probability:.1f} % of the draws"
    )


def _described(file: Transcripts) -> dict[str, str]:
    return {"path": str(file.path), "format": file.form}
