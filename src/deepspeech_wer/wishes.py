"""What a person wants of a landing: that it is tried again, trained again, or passed over.

A wish is a line in the journal, which the next tick reads; it can be made while a tick is on.
"""

from __future__ import annotations

from deepspeech_wer.config import Settings
from deepspeech_wer.errors import SettingsError
from deepspeech_wer.journal import Entry, Journal, State
from deepspeech_wer.landings import Landing


def retry(settings: Settings, journal: Journal, name: str) -> str:
    """Have a landing that failed, was skipped or waits be tried at the next tick; gives a sentence. SettingsError."""
    sha, entry, landing = _look_up(settings, journal, name)
    if entry is None:
        raise SettingsError(f"{sha[:7]} was never tried", f"`deepspeech-wer rerun {sha[:7]}` trains it")
    if entry.trained:
        raise SettingsError(f"{sha[:7]} is trained", f"`deepspeech-wer rerun {sha[:7]}` trains it once more")
    _refuse_running(sha, entry)
    journal.note(sha, State.ASKED, why="a person asked for a retry", seeds=entry.wanted, landing=landing)
    return f"{sha[:7]} is tried again by the next tick; `deepspeech-wer run` is one"


def rerun(settings: Settings, journal: Journal, name: str, seeds: int) -> str:
    """Have a landing be trained ``seeds`` more times, with new seeds; gives a sentence. Raises SettingsError."""
    sha, entry, landing = _look_up(settings, journal, name)
    _refuse_running(sha, entry)
    waiting = tuple(entry.missing(settings.seeds)) if entry else ()
    first = max([-1, *(entry.trained if entry else ()), *waiting]) + 1
    journal.note(sha, State.ASKED, seeds=(*waiting, *range(first, first + seeds)), landing=landing)
    times = "once" if seeds == 1 else f"{seeds} times"
    return f"{sha[:7]} is trained {times} more by the next tick; `deepspeech-wer run` is one"


def skip(settings: Settings, journal: Journal, name: str, why: str) -> str:
    """Have a landing not be trained; gives a sentence. Raises SettingsError where it was, or is just now."""
    sha, entry, landing = _look_up(settings, journal, name)
    if entry is not None and entry.trained and not entry.missing(settings.seeds):
        raise SettingsError(f"{sha[:7]} is trained already", "its result stays where it is")
    _refuse_running(sha, entry)
    journal.note(sha, State.SKIPPED, why=why, landing=landing)
    return f"{sha[:7]} is skipped: {why}"


def _look_up(settings: Settings, journal: Journal, name: str) -> tuple[str, Entry | None, Landing]:
    """The landing that ``name``, a whole or a shortened SHA, means: one of the journal, else of the repository."""
    known = journal.entries()
    wanted = name.strip().lower()
    found = [sha for sha in known if len(wanted) >= 4 and sha.startswith(wanted)]
    if len(found) > 1:
        raise SettingsError(
            f"{name} means several landings: {', '.join(sha[:12] for sha in found[:5])}", "give more digits"
        )
    entry = known[found[0]] if found else None
    if entry is not None and entry.landing is not None:
        return found[0], entry, entry.landing
    from deepspeech_wer.discovery import find_head
    from deepspeech_wer.landings.git import Mirror

    mirror = Mirror(settings.cache, settings.require_repository(), settings.commit_url)
    mirror.fetch(find_head(settings))
    landing = mirror.landing(found[0] if found else wanted)
    return landing.sha, known.get(landing.sha), landing


def _refuse_running(sha: str, entry: Entry | None) -> None:
    if entry is not None and entry.state is State.RUNNING:
        raise SettingsError(
            f"{sha[:7]} is being trained, or was when the last tick was killed",
            "see `deepspeech-wer status`; end that tick, or let `deepspeech-wer run` sweep what it left",
        )
