"""The listing: a set's rates, and its worst, median and best utterances with their words in columns.

::

    Test: 2 utterances, 8 words
      WER 37.5 % (substitutions 1, deletions 1, insertions 1), CER 30.0 %, mean of the utterances' WER 37.5 %

    Worst 1
      WER 50.0 %  talk-0002
        Ref: turn the light on
        Hyp: turn *** light off
"""

from __future__ import annotations

from collections.abc import Sequence

from .rates import Transcription, aligned, percent, total


def align(reference: str, hypothesis: str) -> tuple[str, str]:
    """The two lines ``Ref`` and ``Hyp`` of a listing: words in columns, ``*`` where one side has no word."""
    columns = [(said or "*" * len(heard), heard or "*" * len(said)) for said, heard in aligned(reference, hypothesis)]
    widths = [max(len(said), len(heard)) for said, heard in columns]
    lines = [
        " ".join(column[side].ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip()
        for side in (0, 1)
    ]
    return lines[0], lines[1]


def report(transcriptions: Sequence[Transcription], count: int, title: str = "Test") -> str:
    """The listing: count, rates, and the worst, the median and the best ``count`` utterances, aligned."""
    if not transcriptions:
        return f"{title}: no utterances"
    sum_ = total(transcriptions)
    rates = [item.score.wer for item in transcriptions if item.score.wer is not None]
    lines = [
        f"{title}: {len(transcriptions)} utterances, {sum_.words} words",
        f"  WER {percent(sum_.wer)} (substitutions {sum_.substitutions}, deletions {sum_.deletions}, "
        f"insertions {sum_.insertions}), CER {percent(sum_.cer)}, "
        f"mean of the utterances' WER {percent(sum(rates) / len(rates) if rates else None)}",
    ]
    if count > 0:
        lines += ["", examples(transcriptions, count)]
    return "\n".join(lines)


def examples(transcriptions: Sequence[Transcription], count: int) -> str:
    """The worst, the median and the best ``count`` utterances, aligned."""
    ranked = sorted(transcriptions, key=_badness, reverse=True)
    middle = max(0, (len(ranked) - count) // 2)
    blocks = []
    for name, part in (
        ("Worst", ranked[:count]),
        ("Median", ranked[middle : middle + count]),
        ("Best", ranked[::-1][:count]),
    ):
        lines = [f"{name} {len(part)}"]
        for item in part:
            said, heard = align(item.utterance.text, item.hypothesis)
            sure = "" if item.confidence is None else f"  confidence {item.confidence:.2f}"
            lines += [
                f"  WER {percent(item.score.wer)}  {item.utterance.id}{sure}",
                f"    Ref: {said}",
                f"    Hyp: {heard}",
            ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _badness(item: Transcription) -> tuple[float, int, str]:
    """Sorts by rate, then by edits, then by name, so that a listing is the same at every run."""
    wer = item.score.wer
    return (wer if wer is not None else float(item.score.insertions), item.score.edits, item.utterance.id)
