"""Transcripts as files: which words belong to which utterance.

Four forms are read, and told apart by themselves; an empty text is allowed in each:

``jsonl``   JSON lines, one object an utterance: a manifest of ours, NeMo's or Paddle's, or what a run leaves behind,
            ``utterances.jsonl``. The id is ``id``, ``utt_id``, ``utt`` or ``key``, else ``audio_filepath``.
            A reference is ``reference`` or ``text``, a hypothesis ``hypothesis``, ``pred_text`` or ``text``;
            ``speaker`` names the speaker.
``trn``     NIST's, ``words (id)`` a line; lines that begin with ``;;`` are remarks. Alternatives
            (``{ a / b }``) are not known to the scoring here and are refused.
``kaldi``   Kaldi's text, ``id words`` a line.
``lines``   the words alone; the place of the line says which utterance it is.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one, or whatever encoding is named.

>>> read(Path("ref.trn"), "reference")["talk-0001"].text  # doctest: +SKIP
'turn the light on'
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RecipeError, SettingsError

FORMATS = ("jsonl", "trn", "kaldi", "lines")

_IDS = ("id", "utt_id", "utt", "key", "audio_filepath")
#: Where the text of a side is looked for. In a file that holds both sides ``text`` is never the hypothesis: a manifest
#: on its own would have no error.
_TEXTS = {
    "reference": ("reference", "text"),
    "hypothesis": ("hypothesis", "pred_text", "text"),
    "own hypothesis": ("hypothesis", "pred_text"),
}
_TRN_ID = re.compile(r"\(([^()\s]+)\)\s*$")
_ALTERNATIVES = re.compile(r"\{[^{}]*/[^{}]*\}")
#: What tells an id from a word where nothing else does: "s01", "F_anna", not "turn".
_LIKE_AN_ID = re.compile(r"[0-9_]")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of one utterance, and its speaker; ``""`` where that is not known."""

    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Transcripts:
    """A file's transcripts by id, in the file's order. In the form ``lines`` the ids are ``line 1``, ``line 2`` ...
    Of an id that comes more than once (``repeated``) the first counts."""

    path: Path
    form: str
    by_id: Mapping[str, Transcript]
    repeated: tuple[str, ...] = ()

    @property
    def has_ids(self) -> bool:
        return self.form != "lines"


@dataclass(frozen=True)
class Lines:
    """A file's lines, and their form as far as they tell it themselves."""

    path: Path
    lines: tuple[str, ...]
    form: str


def read(path: Path, side: str, form: str = "auto", encoding: str = "") -> Transcripts:
    """The transcripts of one file, of which ``side`` is wanted: ``reference``, ``hypothesis``, or ``own hypothesis``
    for that of a file that holds the reference, too.

    Raises RecipeError that names the file, and the line, for what cannot be read.
    """
    return parsed(read_lines(path, form, encoding), side)


def read_together(sides: Sequence[tuple[Path, str]], form: str = "auto", encoding: str = "") -> tuple[Transcripts, ...]:
    """Files that belong together, each with its side; as :func:`read`.

    A file that could be ``kaldi`` or ``lines`` is what the ids of the others make of it.
    """
    at_hand = {path: read_lines(path, form, encoding) for path, _ in sides}
    if form == "auto":
        known: set[str] = set()
        for path, side in sides:
            if at_hand[path].form != "lines":
                known.update(parsed(at_hand[path], side).by_id)
        for path, lines in at_hand.items():
            first = [line.split(maxsplit=1)[0] for line in lines.lines if line.strip()]
            if lines.form == "lines" and 2 * sum(word in known for word in first) > len(first):
                at_hand[path] = Lines(path, lines.lines, "kaldi")
    return tuple(parsed(at_hand[path], side) for path, side in sides)


def read_lines(path: Path, form: str = "auto", encoding: str = "") -> Lines:
    """The lines of a file and their form, ``auto`` found out; ``lines`` where nothing tells of another."""
    if form not in ("auto", *FORMATS):
        raise SettingsError(f"There is no form of transcripts called {form!r}.", f"It is auto or {', '.join(FORMATS)}.")
    lines = tuple(_text(path, encoding).split("\n"))
    if lines and not lines[-1].strip():
        lines = lines[:-1]
    return Lines(path, lines, _form(lines) if form == "auto" else form)


def parsed(lines: Lines, side: str) -> Transcripts:
    """The transcripts of lines whose form is known; RecipeError names the line that is not of it."""
    by_id: dict[str, Transcript] = {}
    repeated: dict[str, None] = {}
    for number, line in enumerate(lines.lines, start=1):
        if not line.strip() and lines.form != "lines":
            continue
        try:
            found = _parse(line, number, lines.form, side)
        except ValueError as error:
            raise RecipeError(
                f"{lines.path}, line {number}: {error}",
                f"It was read as {lines.form}; --format names another form.",
            ) from error
        if found is None:
            continue
        name, transcript = found
        if name in by_id:
            repeated[name] = None
        else:
            by_id[name] = transcript
    return Transcripts(lines.path, lines.form, by_id, tuple(repeated))


def read_speakers(path: Path, encoding: str = "") -> dict[str, str]:
    """The speakers of utterances out of Kaldi's ``utt2spk``, ``id speaker`` a line; RecipeError."""
    speakers = {}
    for number, line in enumerate(_text(path, encoding).split("\n"), start=1):
        parts = line.split()
        if parts and len(parts) != 2:
            raise RecipeError(f"{path}, line {number}: {line.strip()!r} is not an id and a speaker.")
        if parts:
            speakers[parts[0]] = parts[1]
    return speakers


def _text(path: Path, encoding: str) -> str:
    """A file's text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = ""
        if path.is_dir():
            hint = "A run's transcripts are in its utterances.jsonl; a Kaldi folder's in its text."
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.", hint) from error
    name = encoding or next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(name)
    except LookupError as error:
        raise SettingsError(f"There is no encoding called {name!r}.", "Two of them are utf-8 and latin-1.") from error
    except UnicodeError as error:
        # Of some encodings the error does not tell the place.
        start = getattr(error, "start", None)
        where = "" if start is None else ", line " + str(content.count(b"\n", 0, start) + 1)
        raise RecipeError(f"{path}{where}: this is not {name}.", "Name its encoding with --encoding.") from error


def _form(lines: Sequence[str]) -> str:
    """The form that lines tell themselves.

    Most lines decide, not all: a broken line in the middle is then an error that names it, not another form.
    """
    told = [line for line in lines if line.strip() and not line.startswith(";;")]
    if not told:
        return "lines"
    if 2 * sum(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in told) > len(told):
        return "jsonl"
    if 2 * sum(bool(_TRN_ID.search(line)) for line in told) > len(told):
        return "trn"
    ids = [line.split(maxsplit=1)[0] for line in told]
    is_like_ids = all(_LIKE_AN_ID.search(word) for word in ids)
    return "kaldi" if is_like_ids and len(set(ids)) > 0.9 * len(ids) else "lines"


def _parse(line: str, number: int, form: str, side: str) -> tuple[str, Transcript] | None:
    """The id and the transcript of a line, None for a remark; ValueError says what is wrong with it."""
    if form == "jsonl":
        return _parse_json(line, side)
    if form == "lines":
        return f"line {number}", Transcript(line.strip())
    if form == "kaldi":
        name, _, text = line.strip().replace("\t", " ").partition(" ")
        return name, Transcript(text.strip())
    if line.startswith(";;"):
        return None
    found = _TRN_ID.search(line)
    if not found:
        raise ValueError(f"{_shortened(line)} does not end in an id in parentheses")
    text = line[: found.start()].strip()
    if _ALTERNATIVES.search(text):
        raise ValueError("alternatives, as in { a / b }, are not known to this scoring; write one of them")
    return found[1], Transcript(text)


def _parse_json(line: str, side: str) -> tuple[str, Transcript]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_shortened(line)} is not JSON") from error
    if not isinstance(record, dict):
        raise ValueError(f"{_shortened(line)} is not an object")
    name = next((record[key] for key in _IDS if key in record), None)
    text = next((record[key] for key in _TEXTS[side] if key in record), None)
    speaker = record.get("speaker")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError(f"there is no id; it is looked for in {', '.join(_IDS)}")
    if not isinstance(text, str):
        raise ValueError(f"there is no {side.removeprefix('own ')}; it is looked for in {', '.join(_TEXTS[side])}")
    return str(name), Transcript(text, speaker if isinstance(speaker, str) else "")


def _shortened(line: str) -> str:
    return repr(line.strip() if len(line) < 60 else line.strip()[:50] + " ...")
