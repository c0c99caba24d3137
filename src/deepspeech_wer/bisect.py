"""A bisection: which landing between a good and a bad one was the first bad one?

The landings in between are trained in the order of a binary search, so that of 1,000 about 10 are trained::

    GOOD  .  .  .  .  .  .  .  .  .  .  .  BAD      any of 12 may be the first bad one
    GOOD  .  .  .  .  .  G  .  .  .  .  .  BAD      the middle one is trained and good: one of 6
                         G  .  .  B  .  .  BAD      the middle one is trained and bad: one of 3

What is trained already is looked at before anything is trained. A landing that cannot be judged, since its training
failed or was tested on another data set, is passed over for its nearest neighbour, as in ``git bisect skip``; it may
be that more than one landing is left for an answer then.

A bisection has no state of its own: what it trains goes into the journal and the archive as in a tick, so that the same
command goes on where it was, and what was cut off in a training is taken up by the next tick as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from deepspeech_wer import attempt, discovery, errors, housekeeping, lock, page, trouble, website
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import SettingsError, TrackerError
from deepspeech_wer.journal import Journal, State
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Head, Mirror
from deepspeech_wer.log import Log
from deepspeech_wer.notify import Notifier
from deepspeech_wer.results import archive, utterances
from deepspeech_wer.results.landed import Landed, figures_of
from deepspeech_wer.site import text
from deepspeech_wer.stats.significance import Verdict

#: Whether a landing is bad, given GOOD and itself; None where that cannot be said. And why, as a part of a sentence.
Judge = Callable[[Landed, Landed], tuple[bool | None, str]]


def bisect(settings: Settings, good: str, bad: str, log: Log, *, threshold: float | None, significance: bool) -> int:
    """Name the first bad landing after ``good`` up to ``bad``, and give the exit code of the command.

    Bad is what is worse than ``good`` by ``threshold`` percentage points of WER (by default those of ``ds_regression``)
    or, with ``significance``, what is significantly worse. The exit code is EXIT_RUN_FAILED where failed trainings
    leave more than one landing for an answer, and EXIT_PUBLISH_FAILED where the page could not be published. Raises
    SettingsError where the two are no good and bad landing of one line, TrackerError where one of them does not train,
    LockHeld, RepositoryError and EnvironmentFailure.
    """
    url = settings.require_repository()
    website.require(settings)
    journal = Journal(*settings.journal_files)
    judge = by_significance if significance else by_threshold(settings.regression if threshold is None else threshold)
    with lock.held(settings.cache / "lock", "deepspeech-wer bisect"):
        attempt.pick_up(settings, journal, log)
        head = discovery.find_head(settings)
        mirror = Mirror(settings.cache, url, settings.commit_url)
        mirror.fetch(head)
        line = find_line(mirror, head, good, bad)
        trainer = Trainer(settings, journal, mirror, head.branch, log)
        search = _search(line, trainer, judge, log)
        if journal.unpublished(settings.seeds):  # by an earlier command, or the server was away
            trainer.show()
        _tell(search, trainer, log)
    if journal.unpublished(settings.seeds):
        return errors.EXIT_PUBLISH_FAILED
    return errors.EXIT_DONE if search.is_exact else errors.EXIT_RUN_FAILED


# What is bad ---------------------------------------------------------------------------------------------


def by_threshold(threshold: float) -> Judge:
    """Bad is what is worse by at least ``threshold`` percentage points, and worse at all."""

    def judge(good: Landed, landed: Landed) -> tuple[bool | None, str]:
        assert good.wer is not None
        assert landed.wer is not None
        # 0.41 - 0.4 is a little less than 0.01; no test set is so big that this rounding would hide an error.
        points = round(100 * (landed.wer - good.wer), 9)
        why = f"its WER is {landed.wer:.2%}, {points:+.2f} percentage points from GOOD's {good.wer:.2%}"
        return points > 0 and points >= threshold, why

    return judge


def by_significance(good: Landed, landed: Landed) -> tuple[bool | None, str]:
    """Bad is what is worse than by the chance of which utterances are in the test set."""
    comparison = utterances.compare_landed(good, landed)
    is_bad = None if comparison.verdict is Verdict.NOT_ENOUGH_DATA else comparison.verdict is Verdict.WORSE
    return is_bad, f"against GOOD it is {comparison.text()}"


# The line and the search on it ---------------------------------------------------------------------------


@dataclass
class Search:
    """A binary search on ``line``, of which ``low`` is the last good landing so far and ``high`` the first bad one."""

    line: tuple[Landing, ...]
    low: int
    high: int
    passed_over: set[int] = field(default_factory=set)

    def open(self) -> list[int]:
        """The landings that are still to be looked at, the middle ones first."""
        middle = (self.low + self.high) // 2
        left = (place for place in range(self.low + 1, self.high) if place not in self.passed_over)
        return sorted(left, key=lambda place: (abs(place - middle), place))

    def note(self, place: int, is_bad: bool | None) -> None:
        """Take in what the landing at ``place`` is."""
        if is_bad is None:
            self.passed_over.add(place)
        elif is_bad:
            self.high = place
        else:
            self.low = place

    @property
    def suspects(self) -> tuple[Landing, ...]:
        """The landings of which one is the first bad one."""
        return self.line[self.low + 1 : self.high + 1]

    @property
    def is_exact(self) -> bool:
        """Whether there is one answer."""
        return self.high == self.low + 1


def find_line(mirror: Mirror, head: Head, good: str, bad: str) -> tuple[Landing, ...]:
    """The landings from ``good`` to ``bad``, both of them included, oldest first.

    Raises SettingsError where there is no such commit, or ``good`` is no landing before ``bad``.
    """
    first, last = mirror.landing(good), mirror.landing(bad)
    if first.sha == last.sha:
        raise SettingsError(f"GOOD and BAD are both {first.short}", "name two different landings")
    if mirror.is_on_branch(first.sha, last.sha):
        after = mirror.landings(Head(last.sha, head.ref, head.branch), first.sha).landings
        if after[0].parents[:1] == (first.sha,):
            return (first, *after)
    elif mirror.is_on_branch(last.sha, first.sha):
        raise SettingsError(
            f"GOOD {first.short} comes after BAD {last.short}",
            "name the older landing first; what made recognition better is not looked for",
        )
    raise SettingsError(
        f"GOOD {first.short} is not on the line of landings that leads to BAD {last.short}",
        "name two landings of one branch, and merge commits instead of the commits that were merged",
    )


def _search(line: tuple[Landing, ...], trainer: Trainer, judge: Judge, log: Log) -> Search:
    """Search ``line`` to the end, having made sure that its ends are good and bad."""
    good, bad = (_trained_end(name, landing, trainer) for name, landing in (("GOOD", line[0]), ("BAD", line[-1])))
    log.step(f"BAD {bad.sha[:7]} is bad: {_checked(good, bad, judge)}")
    search = Search(line, 0, len(line) - 1)
    while todo := search.open():
        # A middle one first; but what is trained already costs nothing, wherever it is.
        place = next((place for place in todo if trainer.is_done(line[place])), todo[0])
        landing = line[place]
        if not trainer.is_done(landing):
            log.step(_what_is_left(search, trainer.settings.seeds))
        landed = trainer.train(landing)
        is_bad, why = _judged(good, landed, judge)
        search.note(place, is_bad)
        verdict = "cannot be judged" if is_bad is None else "is bad" if is_bad else "is good"
        log.step(f"{landing.short} {verdict}: {why}")
    return search


def _trained_end(name: str, landing: Landing, trainer: Trainer) -> Landed:
    landed = trainer.train(landing)
    if landed is None or landed.is_failed:
        raise TrackerError(
            f"{name} {landing.short} cannot be trained, so that nothing can be compared with it",
            f"name another landing, or have it tried again: deepspeech-wer retry {landing.short}",
        )
    return landed


def _checked(good: Landed, bad: Landed, judge: Judge) -> str:
    """Why BAD is bad. Raises SettingsError where it is not, or where it is GOOD that is the worse one of the two."""
    is_bad, why = _judged(good, bad, judge)
    if is_bad:
        return why
    what = f"BAD {bad.sha[:7]}"
    if is_bad is None:
        raise SettingsError(
            f"{what} cannot be compared with GOOD {good.sha[:7]}: {why}",
            "name two landings that were tested on the same data; for --significance the training has to leave an "
            "utterances.jsonl",
        )
    if judge(bad, good)[0]:
        raise SettingsError(f"{what} is better than GOOD: {why}", "name a GOOD that is better than BAD")
    raise SettingsError(
        f"{what} is not bad: {why}",
        "name a BAD that is worse, or lower --threshold; a change so small may be noise",
    )


def _judged(good: Landed, landed: Landed | None, judge: Judge) -> tuple[bool | None, str]:
    if landed is None or landed.is_failed:
        return None, "its training failed"
    if not landed.is_comparable_with(good):
        return None, "it was tested on another data set than GOOD"
    return judge(good, landed)


def _what_is_left(search: Search, seeds: int) -> str:
    steps = len(search.open()).bit_length()
    trainings = f"{steps * seeds} training{'' if steps * seeds == 1 else 's'}"
    return f"bisecting: {len(search.suspects)} landings may be the first bad one, about {trainings} left"


# What is trained -----------------------------------------------------------------------------------------


class Trainer:
    """Gives the figures of landings, and trains them where there are none."""

    def __init__(self, settings: Settings, journal: Journal, mirror: Mirror, branch: str, log: Log) -> None:
        self.settings = settings
        self._journal = journal
        self._mirror = mirror
        self._branch = branch
        self._notifier = Notifier(settings, log)
        self._log = log
        #: What the landings came to that were trained or have failed, by SHA.
        self.figures = self._read()

    def is_done(self, landing: Landing) -> bool:
        """Whether there is nothing to be trained: there is a figure, or it failed."""
        return not self._missing(landing)

    def train(self, landing: Landing) -> Landed | None:
        """What ``landing`` came to, trained where it was not. Raises EnvironmentFailure."""
        missing = self._missing(landing)
        if missing:
            entry = self._journal.entry(landing.sha)
            if entry is None or entry.missing(self.settings.seeds) != missing:
                why = "a bisection needs its figure"
                self._journal.note(landing.sha, State.ASKED, why=why, seeds=tuple(missing), landing=landing)
            with trouble.watched(self.settings, self._log):
                attempt.train_seeds(
                    self.settings, self._journal, self._mirror, landing, self._branch, self._notifier, self._log
                )
            self.figures = self._read()
            self.show()
            housekeeping.tidy(self.settings, self._journal)
        return self.figures.get(landing.sha)

    def show(self) -> None:
        """Build and publish the page as in a tick; that it cannot be published is told and ends nothing."""
        page.show(self.settings, self._journal, self._notifier, self._log)

    def _missing(self, landing: Landing) -> list[int]:
        """The seeds to train. A failed landing is tried again by a tick or by a person, and not here."""
        entry, landed = self._journal.entry(landing.sha), self.figures.get(landing.sha)
        has_figure = landed is not None and not landed.is_failed
        if entry is None:
            return [] if landed is not None else list(range(self.settings.seeds))
        if entry.failures:
            return []
        return entry.missing(self.settings.seeds) or ([] if has_figure else list(range(self.settings.seeds)))

    def _read(self) -> dict[str, Landed]:
        records, _ = archive.load(self.settings.dataroot)  # what cannot be read is told where the page is built
        return {landed.landing.sha: landed for landed in figures_of(records) if landed.landing is not None}


# The answer ----------------------------------------------------------------------------------------------


def _tell(search: Search, trainer: Trainer, log: Log) -> None:
    last_good, first_bad = search.line[search.low], search.line[search.high]
    before, after = trainer.figures[last_good.sha], trainer.figures[first_bad.sha]
    if search.is_exact:
        log.step(f"the first bad landing is {first_bad.short}: {first_bad.subject[:80]}")
        print(f"the first bad landing is {first_bad.sha}\n{_described(first_bad)}")
    else:
        log.step(
            f"the first bad landing is one of {len(search.suspects)}, of which only the last can be judged; "
            "`deepspeech-wer retry SHA` has a failed one be tried again, and then this command goes on"
        )
        print(f"the first bad landing is one of these {len(search.suspects)}, of which only the last can be judged:")
        print("\n".join(f"{landing.sha}\n{_described(landing)}" for landing in search.suspects))
    print(f"  WER before    {_figure(before)} ({last_good.short})")
    print(f"  WER after     {_figure(after)} ({first_bad.short})")
    print(f"  significance  {utterances.compare_landed(before, after).text()}")


def _described(landing: Landing) -> str:
    lines = [("author", landing.author), ("date", landing.date), ("subject", landing.subject)]
    lines += [("page", landing.url)] if landing.url else []
    return "\n".join(f"  {name:<12}  {text.plain(value)}" for name, value in lines)


def _figure(landed: Landed) -> str:
    spread = f" ± {100 * landed.spread:.2f} over {len(landed.runs)} seeds" if landed.spread is not None else ""
    assert landed.wer is not None
    return f"{landed.wer:.2%}{spread}"
