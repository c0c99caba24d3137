"""``deepspeech-train tune CHECKPOINT MANIFEST``: the weights of a language model for a trained network."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._recogniser import add_checkpoint, network_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..data.manifest import Utterances
    from ..decoding.tuning import Outputs, Pair
    from ..scoring import Score
    from ..settings import Settings

HELP = "find the weights of a language model on a development set"
DESCRIPTION = """\
Recognises the utterances of a manifest with many pairs of lm_alpha, the weight of the language model, and lm_beta,
the bonus of each word, and prints which of them makes the fewest word errors. Name the model with --set lm_path=FILE,
and with --set word_list=FILE what may be recognised at all. Tune on a development set, never on the one that is
reported."""

_HINT = "Check that the folder exists, is yours and has room."
#: Enough for differences that are not chance, and few enough for minutes.
_LIMIT = 500
_NAMED = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_checkpoint(parser)
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="the development set")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=int,
        default=_LIMIT,
        help=f"so many utterances, spread evenly (0: all; default: {_LIMIT})",
    )
    parser.add_argument("--alphas", metavar="A,B,...", help="the first grid's weights (default: 0,0.5,1,1.5,2)")
    parser.add_argument("--betas", metavar="A,B,...", help="the first grid's bonuses (default: -1,0,1,2,3)")
    parser.add_argument("--jobs", metavar="N", type=int, default=0, help="processes that decode (0: one a core)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found there, as JSON")


def main(options: argparse.Namespace) -> int:
    from ..decoding import tuning
    from ..errors import RecipeError, SettingsError

    for name in ("limit", "jobs"):
        if getattr(options, name) < 0:
            raise SettingsError(f"--{name} {getattr(options, name)} is below 0.", "Give a whole number from 0 up.")
    alphas = _numbers("--alphas", options.alphas, tuning.ALPHAS, low=0.0)
    betas = _numbers("--betas", options.betas, tuning.BETAS)
    options.set = ["decoder=beam", *options.set]
    network = network_of(options)
    settings = network.settings
    if settings.decoder != "beam" or settings.lm_path is None:
        raise SettingsError(
            "There is nothing to tune: no language model is named, or the decoder is greedy.",
            "Name one with --set lm_path=FILE (and leave --set decoder to this command).",
        )
    from .. import decoding, scoring
    from ..corpora._progress import Progress
    from ..data.parts import spread
    from ._speech import utterances_of

    said = Progress("tune", enabled=True)
    decoder = decoding.from_settings(settings, settings.window_step * network.stride)
    for remark in decoder.remarks:
        said.say(remark)
    utterances = spread(utterances_of(options.manifest), options.limit)
    outputs = _outputs(network, utterances, said)
    words = sum(len(text.split()) for text in outputs[0])
    if not words:
        raise RecipeError(
            f"There is nothing to tune on: no utterance of {options.manifest} that can be used has words.",
            "A development set has audio with its transcripts.",
        )
    greedy = _greedy(settings, outputs)
    with tuning.measuring(decoder, settings, outputs, options.jobs or _cores()) as measure:

        def shown(pairs: Sequence[Pair]) -> list[Score]:
            count = len(pairs) * len(outputs[0])
            with said.steps(f"decoded with {len(pairs)} pairs", count, "utterances") as advance:
                return measure(pairs, advance)

        found = tuning.search(shown, alphas, betas)
    best = next(iter(found))
    print(f"{len(outputs[0])} utterances, {words} words of {options.manifest}; beam {settings.beam_width}")
    print(f"Greedy: WER {scoring.percent(greedy.wer, 2)}, CER {scoring.percent(greedy.cer, 2)}")
    print(_table(found, alphas, betas))
    print(
        f"Best: alpha {best[0]:g}, beta {best[1]:g}: WER {scoring.percent(found[best].wer, 2)}, "
        f"CER {scoring.percent(found[best].cer, 2)}"
    )
    assignments = _assignments(settings, best)
    print(" ".join(f"--set {shlex.quote(assignment)}" for assignment in assignments))
    if options.json:
        document = {
            "checkpoint": str(options.checkpoint),
            "manifest": str(options.manifest),
            "utterances": len(outputs[0]),
            "beam_width": settings.beam_width,
            "lm_path": str(settings.lm_path),
            "word_list": None if settings.word_list is None else str(settings.word_list),
            "greedy": {"wer": greedy.wer, "cer": greedy.cer},
            "best": _point(best, found[best]),
            "settings": assignments,
            "tried": [_point(pair, score) for pair, score in sorted(found.items())],
        }
        _write(options.json, document)
    return 0


def _outputs(network: Any, utterances: Utterances, said: Any) -> Outputs:
    """Texts and the network's outputs of all utterances whose audio can be used; the others are named."""
    import numpy as np

    from .. import computing, reading
    from ..models import output_frames

    pipeline = reading.once(network, utterances)
    forward = computing.forward(network.model)
    texts, arrays = [], []
    with (
        said.steps("through the network", len(utterances), "utterances") as advance,
        pipeline.evaluation_batches() as batches,
    ):
        for batch in batches:
            if batch.count:
                logits = forward.logits(batch.features, batch.frames)
                frames = np.asarray(output_frames(batch.frames, network.stride))
                texts += [utterance.text for utterance in batch.utterances]
                arrays += [np.array(logits[row, : frames[row]], np.float32) for row in range(batch.count)]
            advance(batch.count)
    if pipeline.left_out:
        named = "; ".join(f"{name}: {reason}" for name, reason in list(pipeline.left_out.items())[:_NAMED])
        said.say(f"{len(pipeline.left_out)} utterances could not be used: {named}")
    return texts, arrays


def _greedy(settings: Settings, outputs: Outputs) -> Score:
    import numpy as np

    from .. import scoring
    from ..decoding import Greedy

    decoder = Greedy(settings.characters, settings.window_step)
    total = scoring.Score()
    for text, array in zip(*outputs, strict=True):
        (hypothesis,) = decoder.decode(array[None], np.array([len(array)], np.int32))
        total += scoring.score(text, hypothesis.text)
    return total


def _table(found: Mapping[Pair, Score], alphas: Sequence[float], betas: Sequence[float]) -> str:
    """The WER of the grid, a row for each alpha; then, best first, what was tried around the best."""
    from .. import scoring

    lines = ["WER        " + "".join(f"{f'beta {beta:g}':>11}" for beta in betas)]
    for alpha in alphas:
        rates = (scoring.percent(found[alpha, beta].wer, 2) for beta in betas)
        lines.append(f"alpha {alpha:<5g}" + "".join(f"{rate:>11}" for rate in rates))
    grid = {(alpha, beta) for alpha in alphas for beta in betas}
    around = [(pair, score) for pair, score in found.items() if pair not in grid]
    lines += [f"alpha {alpha:<7g}beta {beta:<7g}{scoring.percent(score.wer, 2):>9}" for (alpha, beta), score in around]
    return "\n".join(lines)


def _assignments(settings: Settings, best: Pair) -> list[str]:
    said = {
        "decoder": "beam",
        "beam_width": settings.beam_width,
        "lm_path": settings.lm_path,
        "word_list": settings.word_list,
        "lm_alpha": f"{best[0]:g}",
        "lm_beta": f"{best[1]:g}",
    }
    return [f"{name}={value}" for name, value in said.items() if value is not None]


def _point(pair: Pair, score: Score) -> dict[str, float | int | None]:
    return {"alpha": pair[0], "beta": pair[1], "wer": score.wer, "cer": score.cer, "edits": score.edits}


def _numbers(option: str, said: str | None, default: tuple[float, ...], low: float | None = None) -> tuple[float, ...]:
    """The numbers of a list with commas, ascending, each once; SettingsError."""
    import math

    from ..errors import SettingsError

    if said is None:
        return default
    try:
        numbers = sorted({float(number) for number in said.split(",")})
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)) or (low is not None and numbers[0] < low):
        above = "" if low is None else f" from {low:g} up"
        raise SettingsError(f"{option} {said!r} are not numbers{above}.", f"Write them as in {option} 0,0.5,1.")
    return tuple(numbers)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _write(path: Path, document: dict[str, Any]) -> None:
    from ..files import written_whole

    with written_whole(path, "What was found", _HINT) as file:
        file.write((json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode())
