"""Notifications: what people are told without looking at the page, each cause at most once.

They go to all channels that are set: a command of the user's (``ds_notify_command``), a web address
(``ds_notify_webhook``) and mail through the local sendmail (``ds_notify_mail``). The first two get one JSON object::

    {"kind": "failure" | "recovery" | "regression" | "publish", "cause": "publish:...", "subject": a line,
     "text": some lines, "sha": "...", "url": the commit's page, "repository": "...", "host": "...", "time": "..."}

and what else is known: ``test_wer``, the landing's figure as a ratio, and, where that is the mean over several seeds,
``seeds``, their number, and ``spread``, the sample standard deviation. For the web address, ``text`` begins with the
subject and is written as Slack and Mattermost read it; the command also finds ``ds_notify_kind`` and
``ds_notify_subject`` in its environment.

``<data root>/notified.json`` remembers what was told: a cause is noted first and sent then, so that a tick that is
killed in between tells it never, and not twice. What no channel took waits in ``unsent.json`` beside it, which is there
only as long as something waits, for later ticks to try again: MOST_TRIES in all.

Nothing here raises or takes longer than about ALL_SECONDS; every trouble is a line in the log. Nothing that is told
holds a secret, and subjects and messages of the tracked repository are taken for hostile.
"""

from __future__ import annotations

import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EnvironmentFailure, PublishError, TrackerError
from deepspeech_wer.log import Log
from deepspeech_wer.notify import channels
from deepspeech_wer.notify.channels import NotSent
from deepspeech_wer.notify.memory import Memory, now
from deepspeech_wer.site import text as words

if TYPE_CHECKING:
    from deepspeech_wer.landings import Landing
    from deepspeech_wer.results.archive import RunRecord
    from deepspeech_wer.results.landed import Landed

#: Seconds that one notification may take on all channels together.
ALL_SECONDS = 120.0

#: Ticks in a row that must fail before that is told: a server that is away for half an hour is no news.
FAILED_TICKS = 4


class Notifier:
    """Tells people, by the channels of ``settings``; what goes wrong with that is told in ``log``."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._memory = Memory(settings.dataroot, log)
        address = words.address(settings.require_repository()) if settings.has_repository else ""
        self._repository = address
        self._name = re.split(r"[/:]", address.rstrip("/"))[-1].removesuffix(".git") or "deepspeech-wer"
        self._secrets = _secrets(settings)
        self._channels = channels.of(settings)
        self._tried: set[str] = set()  # by this object, which is for one tick

    def tell(self, kind: str, cause: str, subject: str, text: str, **about: Any) -> None:
        """Send one notification, unless ``cause`` was told before or ``kind`` is not among those wanted.

        ``subject`` is cut to a line and ``text`` to some lines that are harmless in a mail, a terminal and a chat;
        ``about`` goes into the JSON. Never raises.
        """
        if kind not in self._settings.notify_on or not self._channels or cause in self._tried:
            return
        try:
            if self._memory.note(cause):
                self._send(cause, self._message(kind, cause, subject, text, about))
        except OSError as error:
            self._cannot_note(error)
            self._complain(f"not notified, since without that note it would be at every tick: {subject}")
        except Exception as error:  # a notification is never worth a run
            self._complain(f"not notified: {_named(error)}")

    def clear(self, prefix: str) -> bool:
        """Forget the causes that begin with ``prefix``, so that they can be told again; True if one had been told."""
        try:
            return self._memory.forget(prefix)
        except OSError as error:
            self._cannot_note(error)
            return False

    def retry(self) -> None:
        """Send again what no channel took at an earlier tick. Never raises."""
        try:
            for cause, message in self._memory.unsent().items():
                if self._channels and cause not in self._tried:
                    self._send(cause, message)
        except OSError as error:
            self._cannot_note(error)
        except Exception as error:  # a notification is never worth a run
            self._complain(f"not notified: {_named(error)}")

    def status(self, landing: Landing, state: str, description: str) -> None:
        """Set the commit status of ``landing`` on GitHub, where ``ds_github_status`` is set and it is not so already.

        ``state`` is pending, success, failure or error. Never raises.
        """
        if not self._settings.github_status:
            return
        description = self._harmless(description, 140)
        try:
            if self._memory.status(landing.sha) != [state, description]:
                channels.within(ALL_SECONDS, lambda: self._set_status(landing.sha, state, description))
                self._memory.note_status(landing.sha, state, description)
        except (TrackerError, NotSent) as error:
            hint = getattr(error, "hint", "")
            self._complain(f"no status was set on GitHub for {landing.short}: {error}" + (f" ({hint})" if hint else ""))
        except Exception as error:  # a status is never worth a run
            self._complain(f"no status was set on GitHub for {landing.short}: {_named(error)}")

    def landing_failed(self, landed: Landed) -> None:
        """All runs of a landing failed, and it is not tried again."""
        record = landed.newest
        times = "" if landed.failures < 2 else f" {landed.failures} times"
        self.tell(
            "failure",
            f"landing:{record.sha}:{record.run_id}",
            f"{self._name}: {_short(record)} failed{times}: {_subject(record)}",
            f"{_landing(record)} could not be trained{times}.\n"
            f"Why: {_line(record.why)}\n{_todo(record.hint)}{self._places(record)}"
            f"To train it again: deepspeech-wer retry {_short(record)}",
            **_about(landed),
        )

    def landing_recovered(self, landed: Landed, failed_record: RunRecord) -> None:
        """``landed`` was trained, and the landing of ``failed_record``, the last one before it, could not be."""
        record = landed.newest
        self.tell(
            "recovery",
            f"recovery:{failed_record.run_id}",
            f"{self._name}: training works again at {_short(record)}: {_subject(record)}",
            f"{_landing(record)} has a test WER of {_figure(landed)}.\n"
            f"The failure before it was at {_landing(failed_record)}.\n{self._places(record)}",
            **_about(landed),
        )

    def regression(self, landed: Landed, before: Landed, points: float, is_real: str) -> None:
        """``landed`` has a WER that is ``points`` percentage points above that of ``before``.

        ``is_real`` is a sentence on whether that is more than noise, or empty.
        """
        record = landed.newest
        self.tell(
            "regression",
            f"regression:{record.sha}",
            f"{self._name}: WER {words.points(points / 100)} points at {_short(record)}: {_subject(record)}",
            f"{_landing(record)} made recognition worse: test WER {_figure(before)} before, "
            f"{_figure(landed)} after ({words.points(points / 100)} points).\n"
            + (f"Is it more than noise? {is_real[:1].upper()}{is_real[1:].rstrip('.')}.\n" if is_real else "")
            + f"Compared with {_landing(before.newest)}.\n{self._places(record)}"
            f"To see whether it stays so with other seeds: deepspeech-wer rerun {_short(record)} --seeds 3",
            **_about(landed),
            before_sha=before.sha,
            before_wer=before.wer,
            points=points,
        )

    def publish_failed(self, error: PublishError) -> None:
        """The site could not be published."""
        self.tell(
            "publish",
            f"publish:{_class(error)}",
            f"{self._name}: the page could not be published",
            f"{_line(error.message)}\n{_todo(error.hint)}"
            "Nothing is lost: it is tried again at every tick, and the page is on this machine: "
            f"{self._settings.web_root / 'index.html'}",
        )

    def publish_recovered(self) -> None:
        """The site was published; tells so if it was told that it could not be."""
        self._tell_over("publish:", "the page is published again")

    def environment_failed(self, error: EnvironmentFailure) -> None:
        """The machine is at fault: no landing is trained as long as it lasts."""
        self.tell(
            "failure",
            f"environment:{_class(error)}",
            f"{self._name}: nothing can be trained: {error.message}",
            f"{_line(error.message)}\n{_todo(error.hint)}"
            "No landing is passed for this: training goes on once it is mended.",
        )

    def environment_recovered(self) -> None:
        """The machine is well; tells so if it was told that it was not."""
        self._tell_over("environment:", "training can go on")

    def tick_failed(self, error: TrackerError) -> None:
        """A tick ended early, such as with the repository away; told from the FAILED_TICKS-th in a row on."""
        cause = f"tick:{type(error).__name__}"
        if not self._channels:
            return
        try:
            ticks = self._memory.count(cause)
        except OSError as problem:
            self._cannot_note(problem)
            return
        if ticks >= FAILED_TICKS:
            self.tell(
                "failure",
                cause,
                f"{self._name}: nothing is tracked any more",
                f"The last {ticks} ticks ended early: {_line(error.message)}\n{_todo(error.hint)}"
                "What lands meanwhile is trained once it is mended.",
            )

    def tick_recovered(self) -> None:
        """A tick came to its end; tells so if it was told that they do not."""
        self._tell_over("tick:", "ticks come to their end again")

    def _tell_over(self, prefix: str, what: str) -> None:
        if self.clear(prefix):
            self.tell("recovery", f"recovery:{prefix}{now()}", f"{self._name}: {what}", f"{what}.")

    def _send(self, cause: str, message: dict[str, Any]) -> None:
        """Send ``message``, whose cause is noted, by all channels; where none takes it, it is kept for a later try."""
        self._tried.add(cause)
        sent = []
        end = time.monotonic() + ALL_SECONDS
        for name, send in self._channels.items():
            try:
                send(self._settings, message, end - time.monotonic())
                sent.append(name)
            except NotSent as error:
                self._complain(f"not notified by {name}: {error}")
            except Exception as error:  # one channel's trouble is not the next one's
                self._complain(f"not notified by {name}: {_named(error)}")
        try:
            if sent:
                self._log.step(f"notified by {' and '.join(sent)}: {message['subject']}")
                self._memory.note_sent(cause)
            else:
                self._memory.keep(cause, message)
        except OSError as error:
            self._cannot_note(error)

    def _message(self, kind: str, cause: str, subject: str, text: str, about: dict[str, Any]) -> dict[str, Any]:
        lines = [self._harmless(line, 500) for line in text[:20_000].split("\n")]
        about = {
            name: value if isinstance(value, int | float) else self._harmless(value, 500)
            for name, value in about.items()
        }
        return {
            "sha": "",
            **about,
            "url": words.link(about.get("url")) or "",
            "kind": kind,
            "cause": self._harmless(cause),
            "subject": self._harmless(subject, 160),
            "text": "\n".join(lines[:40]).strip(),
            "repository": self._repository,
            "host": socket.gethostname(),
            "time": now(),
        }

    def _places(self, record: RunRecord) -> str:
        url = words.link(record.landing.url) if record.landing else None
        if self._settings.site_url:
            page = f"Page: {self._page_of(record.sha)}\n"
        else:
            page = f"Page on {socket.gethostname()}: {self._settings.web_root / 'index.html'}\n"
        return (
            (f"Commit: {url}\n" if url else "") + f"Log on {socket.gethostname()}: {record.folder / 'log.txt'}\n" + page
        )

    def _page_of(self, sha: str) -> str:
        """The address of the published page, at the landing ``sha``; empty where the settings name none."""
        return f"{self._settings.site_url}#landing-{sha}" if self._settings.site_url else ""

    def _set_status(self, sha: str, state: str, description: str) -> None:
        from deepspeech_wer.landings.github import GitHub

        GitHub.of(self._settings).set_status(sha, state, description, self._page_of(sha))

    def _cannot_note(self, error: OSError) -> None:
        self._complain(f"{self._memory.path} cannot be written ({error.strerror}); see to that folder and its disk")

    def _complain(self, trouble: str) -> None:
        self._log.step(self._harmless(trouble, 600))

    def _harmless(self, value: Any, limit: int = 200) -> str:
        """``value`` as one line for people, without control characters and without any secret of ours."""
        line = str(value)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return words.plain(line, limit)


def _secrets(settings: Settings) -> list[str]:
    """What no log and no message may hold, longest first: a command's own output could repeat it."""
    password = ""
    try:
        password = urlsplit(settings.repository).password or ""
    except ValueError:  # an address that git may know and nobody else
        pass
    found = {settings.github_token, settings.notify_webhook, password, unquote(password)}
    found |= {os.environ.get(name, "") for name in ("GITHUB_TOKEN", "GH_TOKEN")}
    found |= set(re.split(r"[\s'\"=;|&<>()]+", settings.notify_command)[1:])
    return sorted((secret for secret in found if len(secret) >= 6), key=len, reverse=True)


def _named(error: Exception) -> str:
    """An exception nobody expected, by its name only: its text could hold a secret."""
    return f"{type(error).__name__}, which should not be; please report it"


def _class(error: TrackerError) -> str:
    """What kind of trouble ``error`` is. Its hint says it best: messages hold names of files, sizes and seconds."""
    return re.sub(r"[^a-z_]+", "-", (error.hint or error.message).lower()).strip("-")[:60]


def _todo(hint: str) -> str:
    return f"What to do: {_line(hint)}\n" if hint else ""


def _line(message: str) -> str:
    """What may have been said by the training is one line of the text: it cannot pretend to be ours."""
    return words.plain(message, 400)


def _short(record: RunRecord) -> str:
    return record.sha[:7] or record.run_id


def _subject(record: RunRecord) -> str:
    return words.plain(record.landing.subject, 80) if record.landing else ""


def _landing(record: RunRecord) -> str:
    author = f" by {words.plain(record.landing.author, 60)}" if record.landing else ""
    return f"{_short(record)} ({_subject(record)}){author}"


def _figure(landed: Landed) -> str:
    seeds = len(landed.runs)
    return words.percent(landed.wer) + (f" (mean of {seeds} seeds)" if seeds > 1 else "")


def _about(landed: Landed) -> dict[str, Any]:
    record = landed.newest
    about: dict[str, Any] = {"sha": record.sha, "run": record.run_id}
    if record.landing:
        about |= {"url": record.landing.url, "author": record.landing.author}
    if landed.wer is not None:
        about["test_wer"] = landed.wer
    if len(landed.runs) > 1:
        about |= {"seeds": len(landed.runs), "spread": landed.spread}
    return about
