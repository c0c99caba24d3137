"""An import: from an importer's plan to a whole corpus folder, once.

A corpus lies under ``FOLDER/NAME-KEY/``, KEY being a hash of everything that decides its content::

    corpus.json     name, what KEY was made of, hours and utterances of each split
    train.jsonl     manifests (see data/manifest.py); dev.jsonl and test.jsonl likewise
    audio/...       the audio

It is written into a hidden folder beside it and renamed when it is whole, so that a folder of that name
is a whole corpus. ``FOLDER/.NAME-KEY.lock`` is held (flock) while it is made: a second process waits and
then finds the corpus there. What a killed import left behind, a later one clears.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepspeech_train.corpora import _checks
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.manifest import Corpus, Utterance, read_manifest, write_manifest
from deepspeech_train.errors import RecipeError

SPLITS = ("train", "dev", "test")

#: Split name -> its utterances.
Splits = dict[str, list[Utterance]]


@dataclass(frozen=True)
class ImportPlan:
    """One import that could be done: what decides its content, and the function that does it.

    ``identity`` is JSON of the importer's version, its options and what it reads. ``build(folder,
    progress)`` writes the audio under ``folder`` and gives the three splits. ``unseen_speakers`` and
    ``one_for_all`` are what the splits claim (see :func:`_checks.problems_of`).
    """

    identity: Mapping[str, object]
    build: Callable[[Path, Progress], Splits]
    unseen_speakers: tuple[tuple[str, str], ...] = ()
    one_for_all: bool = False


def imported(plan: ImportPlan, name: str, folder: Path, progress: Progress) -> Corpus:
    """The corpus of ``plan`` under ``folder``, imported now if it is not there yet."""
    folder = folder.absolute()
    text = json.dumps(plan.identity, sort_keys=True)
    key = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    final = folder / key
    try:
        if not final.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / f".{key}.lock", progress):
                if not final.is_dir():
                    _import(plan, name, final, progress)
    except OSError as error:
        raise RecipeError(
            f"cannot import the corpus {name} into {final}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            "check that the folder is yours and has room, or name another one",
        ) from error
    train, dev, test = (read_manifest(final / f"{split}.jsonl") for split in SPLITS)
    return Corpus(name, train, dev, test)


def _import(plan: ImportPlan, name: str, final: Path, progress: Progress) -> None:
    """Makes the folder ``final``. The lock is held."""
    for left_behind in final.parent.glob(f".{final.name}.*.partial"):
        # A killed import's synthesiser may still be writing its last file: then the next import clears it.
        shutil.rmtree(left_behind, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".partial"))
    try:
        splits = plan.build(partial, progress)
        problems = _checks.problems_of(splits, unseen_speakers=plan.unseen_speakers, one_for_all=plan.one_for_all)
        _checks.raise_for(problems, name, "look at the source of the corpus; nothing was kept of this import")
        for split in SPLITS:
            write_manifest(partial / f"{split}.jsonl", splits[split])
        about = {"name": name, "made_from": plan.identity, "splits": _sizes(splits)}
        (partial / "corpus.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp makes it private; a corpus is shared like any other folder
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sizes = ", ".join(
        f"{split} {size['utterances']} utterances ({size['seconds']:.0f} s)" for split, size in _sizes(splits).items()
    )
    progress.say(f"imported into {final}: {sizes}")


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


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Holds the lock ``path`` for the block; the kernel lets go of it however the process ends.

    The file stays: removing it would let a third process lock another file of the same name.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another process is importing this corpus, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
