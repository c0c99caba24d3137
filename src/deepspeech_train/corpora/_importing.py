"""An import: from an importer's plan to a whole corpus folder, once.

A corpus lies under ``FOLDER/NAME-KEY/``, KEY being a hash of everything that decides its content::

    corpus.json     name, what KEY was made of, what was downloaded, seconds and utterances of each split
    train.jsonl     manifests (see data/manifest.py); dev.jsonl and test.jsonl likewise
    problems.jsonl  what was left out, and why (see _problems.py)
    audio/...       the audio, where it does not stay where the source has it

It is written into a hidden folder beside it and renamed when it is whole, so that a folder of that name
is a whole corpus. ``FOLDER/.NAME-KEY.lock`` is held (flock) while it is made: a second process waits and
then finds the corpus there. What a killed import left behind, a later one clears.

Two folders beside it outlive a failed import: ``FOLDER/.downloads/NAME/`` with what has been downloaded so far, and
``FOLDER/NAME-unpacked/`` with archives unpacked, which all imports of that corpus read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_train.corpora import _archives, _checks, _downloads, _problems, _sources, _wav
from deepspeech_train.corpora._locks import locked
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.manifest import Corpus, Utterance, read_manifest, write_manifest
from deepspeech_train.errors import RecipeError
from deepspeech_train.text import ENGLISH, Alphabet

SPLITS = ("train", "dev", "test")

#: Split name -> its utterances.
Splits = dict[str, list[Utterance]]


@dataclass(frozen=True)
class Workplace:
    """Where an importer works: ``folder`` is the new corpus's own, ``home`` the one of all corpora.

    ``received`` is what was downloaded; ``corpus.json`` keeps it, for those who want to know of which data it is.
    """

    name: str
    home: Path
    folder: Path
    progress: Progress
    received: list[dict[str, object]] = field(default_factory=list)

    @contextmanager
    def downloaded(self, url: str, how_to_give: str, sha256: str | None = None) -> Iterator[Path]:
        """A local copy of ``url`` for the block. It is removed after it, unless the block was interrupted."""
        with self._alone(self._downloads) as folder:
            path = folder / url.rstrip("/").rpartition("/")[2]
            if not path.exists():
                found = _downloads.download(url, path, self.progress, how_to_give, sha256)
                self.received.append({"url": url, "bytes": path.stat().st_size, "sha256": found})
            try:
                yield path
            except _archives.BadArchive:
                path.unlink()
                raise
            path.unlink()

    def unpacked(self, archive: Path) -> Path:
        """The folder of what the local ``archive`` holds, unpacked now if no earlier import did it."""
        with self._alone(self._store) as store:
            to = store / f"{_stem(archive.name)}-{_sources.stamp(archive)[:12]}"
            _archives.unpack(archive, to, self.progress)
        return to

    def downloaded_and_unpacked(self, url: str, how_to_give: str, sha256: str | None = None) -> Path:
        """The folder of what the archive at ``url`` holds, got and unpacked now if no earlier import did it."""
        to = self._store / _stem(url.rpartition("/")[2])
        if not to.is_dir():
            with self.downloaded(url, how_to_give, sha256) as archive:
                to.parent.mkdir(exist_ok=True)
                _archives.unpack(archive, to, self.progress)
        return to

    @property
    def _downloads(self) -> Path:
        return self.home / ".downloads" / self.name

    @property
    def _store(self) -> Path:
        return self.home / f"{self.name}-unpacked"

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[Path]:
        """``folder``, made and used by no other import for the block; removed after it if nothing is in it."""
        with locked(self.home / f".{self.name}.lock", self.progress):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                yield folder
            finally:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                with contextlib.suppress(OSError):
                    (self.home / ".downloads").rmdir()


@dataclass(frozen=True)
class Built:
    """What an importer made: the three splits, and what it has left out of them already."""

    splits: Splits
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class ImportPlan:
    """One import that could be done: what decides its content, and the function that does it.

    ``identity`` is JSON of the importer's version, its options and what it reads. ``build(workplace)`` gives the
    three splits; an utterance of duration 0 is given that of its audio. ``unseen_speakers`` and ``one_for_all`` are
    what the splits claim (see :class:`_checks.Rules`). ``wav`` asks for the audio as WAV files of the corpus's own.
    """

    identity: Mapping[str, object]
    build: Callable[[Workplace], Built]
    unseen_speakers: tuple[tuple[str, str], ...] = ()
    one_for_all: bool = False
    wav: bool = False


@dataclass(frozen=True)
class Request:
    """An import as the caller wants it; see :func:`deepspeech_train.corpora.load`."""

    name: str
    plan: ImportPlan
    alphabet: Alphabet = field(default=ENGLISH)
    max_duration: float = 0.0

    @property
    def identity(self) -> dict[str, object]:
        asked: dict[str, object] = {}
        if self.alphabet != ENGLISH:
            asked["alphabet"] = self.alphabet.characters
        if self.max_duration:
            asked["max_duration"] = self.max_duration
        return {**self.plan.identity, **asked}

    @property
    def rules(self) -> _checks.Rules:
        return _checks.Rules(self.alphabet, self.max_duration, self.plan.unseen_speakers, self.plan.one_for_all)


def imported(request: Request, folder: Path, progress: Progress) -> Corpus:
    """The corpus of ``request`` under ``folder``, imported now if it is not there yet."""
    folder = folder.absolute()
    text = json.dumps(request.identity, sort_keys=True)
    key = f"{request.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    final = folder / key
    try:
        if not final.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / f".{key}.lock", progress):
                if not final.is_dir():
                    _import(request, final, progress)
    except OSError as error:
        raise RecipeError(
            f"cannot import the corpus {request.name} into {final}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            "check that the folder is yours and has room, or name another one",
        ) from error
    train, dev, test = (read_manifest(final / f"{split}.jsonl") for split in SPLITS)
    for split in (train, dev, test):
        if split and not split[0].audio.exists():
            raise RecipeError(
                f"the corpus {request.name} is imported into {final}, and its audio is gone: {split[0].audio}",
                f"put it back to where it was, or remove {final} to have it imported again",
            )
    return Corpus(request.name, train, dev, test)


def _import(request: Request, final: Path, progress: Progress) -> None:
    """Makes the folder ``final``. The lock is held."""
    for left_behind in final.parent.glob(f".{final.name}.*.partial"):
        # A killed import's synthesiser may still be writing its last file: then the next import clears it.
        shutil.rmtree(left_behind, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".partial"))
    workplace = Workplace(request.name, final.parent, partial, progress)
    try:
        splits, problems = _whole(request, workplace)
        for split in SPLITS:
            write_manifest(partial / f"{split}.jsonl", splits[split])
        _problems.write(partial, problems)
        about: dict[str, object] = {"name": request.name, "made_from": request.identity, "splits": _sizes(splits)}
        if workplace.received:
            about["downloaded"] = workplace.received
        (partial / "corpus.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp makes it private; a corpus is shared like any other folder
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if problems:
        progress.say(f"left out or noticed, {len(problems)} in all, listed in {final / _problems.FILE}:")
        for line in _problems.lines(problems):
            progress.say(f"  {line}")
    sizes = ", ".join(
        f"{split} {size['utterances']} utterances ({length(size['seconds'])})" for split, size in _sizes(splits).items()
    )
    progress.say(f"imported into {final}: {sizes}")


def _whole(request: Request, workplace: Workplace) -> tuple[Splits, list[Problem]]:
    """The splits as they are kept, and what was left out; RecipeError if they are not what they claim to be."""
    plan = request.plan
    built = plan.build(workplace)
    checked = _checks.check(built.splits, request.rules, workplace.progress)
    problems = [*built.problems, *checked.problems]
    hint = "look at the source of the corpus; nothing was kept of this import"
    _problems.raise_for(checked.faults, request.name, hint, problems)
    splits = checked.splits
    if plan.wav:
        splits, undecodable = _wav.converted(splits, workplace.folder / "audio", workplace.progress)
        problems += undecodable
        _problems.raise_for(_checks.faults(splits, request.rules), request.name, hint, problems)
    return splits, problems


def length(seconds: float) -> str:
    """So many seconds in the unit that suits them."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds:.0f} s"


def _stem(name: str) -> str:
    """The name of an archive without what says that it is one."""
    return next((name.removesuffix(suffix) for suffix in _archives.SUFFIXES if name.endswith(suffix)), name)


def _sizes(splits: Splits) -> dict[str, dict[str, float]]:
    return {
        split: {
            "utterances": len(splits[split]),
            "seconds": round(sum(utterance.duration for utterance in splits[split]), 2),
            "words": sum(len(utterance.text.split()) for utterance in splits[split]),
            "speakers": len({utterance.speaker for utterance in splits[split]}),
        }
        for split in SPLITS
    }
