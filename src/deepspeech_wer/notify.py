"""Notifications: what people are told without looking at the page, each cause at most once.

They go to all channels that are set: a command of the user's (``ds_notify_command``), a web address
(``ds_notify_webhook``) and mail through the local sendmail (``ds_notify_mail``). The first two get one JSON object::

    {"kind": "failure" | "recovery" | "regression" | "publish", "cause": "publish:...", "subject": a line,
     "text": some lines, "sha": "...", "url": the commit's page, "repository": "...", "host": "...", "time": "..."}

and what else is known, such as ``test_wer``. For the web address, ``text`` begins with the subject and is written as
Slack and Mattermost read it; the command also finds ``ds_notify_kind`` and ``ds_notify_subject`` in its environment.

``<data root>/notified.json`` remembers what was told: a cause is noted first and sent then, so that a tick that is
killed in between tells it never, and not twice. What no channel took waits in ``unsent.json`` beside it, which is there
only as long as something waits, for later ticks to try again: MOST_TRIES in all.

Nothing here raises or takes longer than about ALL_SECONDS; every trouble is a line in the log. Nothing that is told
holds a secret, and subjects and messages of the tracked repository are taken for hostile.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EnvironmentFailure, PublishError, TrackerError
from deepspeech_wer.files import write_atomically
from deepspeech_wer.log import Log
from deepspeech_wer.site import text as words

if TYPE_CHECKING:
    from deepspeech_wer.landings import Landing
    from deepspeech_wer.results.archive import RunRecord

#: Seconds that one notification may take on all channels together; of these, what one command or one web address may.
ALL_SECONDS = 120.0
COMMAND_SECONDS = 60.0
WEBHOOK_SECONDS = 40.0

#: Seconds to wait for a connection and for an answer, and before each of the two retries.
ANSWER_SECONDS = 10.0
RETRY_WAITS = (1.0, 3.0)

#: Times that a notification is tried that no channel takes.
MOST_TRIES = 5

#: Ticks in a row that must fail before that is told: a server that is away for half an hour is no news.
FAILED_TICKS = 4

#: Causes that are remembered.
MOST_CAUSES = 1000

#: Characters of a command's output that the log gets.
_TAIL = 300

#: What a chat would make of a hostile subject: a call to everybody, or a link that says something else.
_CALLS = re.compile(r"@(?=channel|all|here|everyone)|\](?=\()", re.IGNORECASE)


class _NotSent(Exception):
    """One channel did not take a notification; the message says why, and holds no secret."""


class Notifier:
    """Tells people, by the channels of ``settings``; what goes wrong with that is told in ``log``."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._memory = _Memory(settings.dataroot, log)
        address = words.address(settings.require_repository()) if settings.has_repository else ""
        self._repository = address
        self._name = re.split(r"[/:]", address.rstrip("/"))[-1].removesuffix(".git") or "deepspeech-wer"
        self._secrets = _secrets(settings)
        self._tried: set[str] = set()  # by this object, which is for one tick

    def tell(self, kind: str, cause: str, subject: str, text: str, **about: Any) -> None:
        """Send one notification, unless ``cause`` was told before or ``kind`` is not among those wanted.

        ``subject`` is cut to a line and ``text`` to some lines that are harmless in a mail, a terminal and a chat;
        ``about`` goes into the JSON. Never raises.
        """
        if kind not in self._settings.notify_on or not self._channels() or cause in self._tried:
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
                if self._channels() and cause not in self._tried:
                    self._send(cause, message)
        except OSError as error:
            self._cannot_note(error)

    def status(self, landing: Landing, state: str, description: str) -> None:
        """Set the commit status of ``landing`` on GitHub, where ``ds_github_status`` is set and it is not so already.

        ``state`` is pending, success, failure or error. Never raises.
        """
        if not self._settings.github_status:
            return
        description = self._harmless(description, 140)
        try:
            if self._memory.status(landing.sha) != [state, description]:
                _within(ALL_SECONDS, lambda: self._set_status(landing.sha, state, description))
                self._memory.note_status(landing.sha, state, description)
        except (TrackerError, _NotSent) as error:
            hint = getattr(error, "hint", "")
            self._complain(f"no status was set on GitHub for {landing.short}: {error}" + (f" ({hint})" if hint else ""))
        except Exception as error:  # a status is never worth a run
            self._complain(f"no status was set on GitHub for {landing.short}: {_named(error)}")

    def landing_failed(self, record: RunRecord, failures: int) -> None:
        """The training of a landing failed, ``failures`` times so far."""
        times = "" if failures < 2 else f" {failures} times"
        self.tell(
            "failure",
            f"landing:{record.sha}:{record.run_id}",
            f"{self._name}: {_short(record)} failed{times}: {_subject(record)}",
            f"{_landing(record)} could not be trained{times}.\n"
            f"Why: {record.why}\n{_todo(record.hint)}{self._places(record)}"
            f"To train it again: deepspeech-wer retry {_short(record)}",
            **_about(record),
        )

    def landing_recovered(self, record: RunRecord, failed_record: RunRecord) -> None:
        """``record`` was trained, and ``failed_record``, of the same landing or the last one before it, was not."""
        self.tell(
            "recovery",
            f"recovery:{failed_record.run_id}",
            f"{self._name}: training works again at {_short(record)}: {_subject(record)}",
            f"{_landing(record)} has a test WER of {words.percent(_wer(record))}.\n"
            f"The failure before it was at {_landing(failed_record)}.\n{self._places(record)}",
            **_about(record),
        )

    def regression(
        self,
        record: RunRecord,
        before: RunRecord,
        points: float,
        is_real: str,
        wers: tuple[float, float] | None = None,
    ) -> None:
        """``record`` has a WER that is ``points`` percentage points above that of ``before``.

        ``is_real`` is a sentence on whether that is more than noise, or empty. ``wers`` are the ratios before and
        after, where they are not those of the two runs but means over several.
        """
        old, new = wers or (_wer(before), _wer(record))
        self.tell(
            "regression",
            f"regression:{record.sha}",
            f"{self._name}: WER {words.points(points / 100)} points at {_short(record)}: {_subject(record)}",
            f"{_landing(record)} made recognition worse: test WER {words.percent(old)} before, "
            f"{words.percent(new)} after ({words.points(points / 100)} points).\n"
            + (f"{is_real[:1].upper()}{is_real[1:].rstrip('.')}.\n" if is_real else "")
            + f"Compared with {_landing(before)}.\n{self._places(record)}"
            f"To see whether it stays so with other seeds: deepspeech-wer rerun {_short(record)} --seeds 3",
            **_about(record),
            before_sha=before.sha,
            before_wer=old,
            points=points,
        )

    def publish_failed(self, error: PublishError) -> None:
        """The site could not be published."""
        self.tell(
            "publish",
            f"publish:{_class(error)}",
            f"{self._name}: the page could not be published",
            f"{error.message}\n{_todo(error.hint)}Nothing is lost: it is tried again at every tick, and the page is "
            f"on this machine: {self._settings.web_root / 'index.html'}",
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
            f"{error.message}\n{_todo(error.hint)}No landing is passed for this: training goes on once it is mended.",
        )

    def environment_recovered(self) -> None:
        """The machine is well; tells so if it was told that it was not."""
        self._tell_over("environment:", "training can go on")

    def tick_failed(self, error: TrackerError) -> None:
        """A tick ended early, such as with the repository away; told from the FAILED_TICKS-th in a row on."""
        cause = f"tick:{type(error).__name__}"
        if not self._channels():
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
                f"The last {ticks} ticks ended early: {error.message}\n{_todo(error.hint)}"
                "What lands meanwhile is trained once it is mended.",
            )

    def tick_recovered(self) -> None:
        """A tick came to its end; tells so if it was told that they do not."""
        self._tell_over("tick:", "ticks come to their end again")

    def _tell_over(self, prefix: str, what: str) -> None:
        if self.clear(prefix):
            self.tell("recovery", f"recovery:{prefix}{_now()}", f"{self._name}: {what}", f"{what}.")

    def _send(self, cause: str, message: dict[str, Any]) -> None:
        """Send ``message``, whose cause is noted, by all channels; where none takes it, it is kept for a later try."""
        self._tried.add(cause)
        sent = []
        end = time.monotonic() + ALL_SECONDS
        for name, send in self._channels().items():
            try:
                send(self._settings, message, min(COMMAND_SECONDS, end - time.monotonic()))
                sent.append(name)
            except _NotSent as error:
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

    def _channels(self) -> dict[str, Callable[[Settings, dict[str, Any], float], None]]:
        """The channels that are set, by the name of their setting; each takes a message and a limit in seconds."""
        known = {"notify_command": _run_command, "notify_webhook": _post, "notify_mail": _mail}
        return {f"ds_{name}": send for name, send in known.items() if getattr(self._settings, name)}

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
            "time": _now(),
        }

    def _places(self, record: RunRecord) -> str:
        url = words.link(record.landing.url) if record.landing else None
        return (
            (f"Commit: {url}\n" if url else "")
            + f"Log on {socket.gethostname()}: {record.folder / 'log.txt'}\n"
            + f"Page on {socket.gethostname()}: {self._settings.web_root / 'index.html'}\n"
        )

    def _set_status(self, sha: str, state: str, description: str) -> None:
        from deepspeech_wer.landings.github import GitHub

        GitHub.of(self._settings).set_status(sha, state, description, "")

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


class _Memory:
    """What was told, in ``<folder>/notified.json``, and what waits, in ``<folder>/unsent.json``. Methods raise OSError.

    ``told`` holds when a cause was told, ``ticks`` how often in a row a tick failed, ``statuses`` the last status of a
    commit. On a disk that is full an empty file, ``.notified-<cause>``, takes the note's place: that needs no room, and
    a full disk is just what has to be told, once.
    """

    def __init__(self, folder: Path, log: Log) -> None:
        self.path = folder / "notified.json"
        self._waiting = folder / "unsent.json"
        self._log = log

    def note(self, cause: str) -> bool:
        """Note that ``cause`` is told now; False if it was before, and is not waiting."""
        with self._alone():
            tables = self._read()
            if cause in tables["told"]:
                return cause in self._read_waiting()
            tables["told"][cause] = _now()
            try:
                self._write(tables)
            except OSError:
                self._marker(cause).touch(exist_ok=False)
            return True

    def note_sent(self, cause: str) -> None:
        """Note that ``cause`` does not wait any more."""
        with self._alone():
            waiting = self._read_waiting()
            if waiting.pop(cause, None):
                self._write_waiting(waiting)

    def keep(self, cause: str, message: dict[str, Any]) -> None:
        """Keep ``message``, which no channel took, unless that was the last try."""
        with self._alone():
            waiting = self._read_waiting()
            tries = 1 + waiting.pop(cause, {"tries": 0})["tries"]
            if tries < MOST_TRIES:
                waiting[cause] = {"tries": tries, "message": message}
            self._marker(cause).unlink(missing_ok=True)  # what cannot be kept, the disk being full, is told anew
            self._write_waiting(waiting)

    def unsent(self) -> dict[str, dict[str, Any]]:
        """The messages that wait, by their cause, oldest first."""
        return {cause: entry["message"] for cause, entry in self._read_waiting().items()}

    def forget(self, prefix: str) -> bool:
        """Forget all about the causes with ``prefix``; True if one was told. Where there is none, nothing is written.

        What is over before any channel took it is not told any more.
        """
        tables = self._read()
        if not any(cause.startswith(prefix) for name in ("told", "ticks") for cause in tables[name]):
            return False
        with self._alone():
            tables, waiting = self._read(), self._read_waiting()
            told = [cause for cause in tables["told"] if cause.startswith(prefix)]
            for table in (tables["told"], tables["ticks"]):
                for cause in [cause for cause in table if cause.startswith(prefix)]:
                    del table[cause]
            self._write(tables)
            was_told = any(cause not in waiting for cause in told)
            left = {cause: entry for cause, entry in waiting.items() if not cause.startswith(prefix)}
            if left != waiting:
                self._write_waiting(left)
            return was_told

    def count(self, cause: str) -> int:
        """Count one more tick that failed in a row; gives how many there are."""
        with self._alone():
            tables = self._read()
            tables["ticks"][cause] = tables["ticks"].get(cause, 0) + 1
            self._write(tables)
            return int(tables["ticks"][cause])

    def status(self, sha: str) -> list[str] | None:
        """The state and the description that were last set on a commit."""
        status: list[str] | None = self._read()["statuses"].get(sha)
        return status

    def note_status(self, sha: str, state: str, description: str) -> None:
        """Note that a status was set."""
        with self._alone():
            tables = self._read()
            tables["statuses"].pop(sha, None)
            tables["statuses"][sha] = [state, description]
            self._write(tables)

    def _read(self) -> dict[str, dict[str, Any]]:
        content = self._load(self.path, {"told": str, "ticks": int, "statuses": list})
        for marker in self.path.parent.glob(".notified-*"):
            content["told"].setdefault(unquote(marker.name.removeprefix(".notified-")), _now())
        return content

    def _write(self, tables: dict[str, dict[str, Any]]) -> None:
        newest = {name: dict(list(table.items())[-MOST_CAUSES:]) for name, table in tables.items()}
        write_atomically(self.path, json.dumps(newest, indent=1) + "\n")
        for marker in self.path.parent.glob(".notified-*"):
            marker.unlink(missing_ok=True)

    def _read_waiting(self) -> dict[str, dict[str, Any]]:
        return self._load(self._waiting, {"unsent": dict})["unsent"]

    def _write_waiting(self, waiting: dict[str, dict[str, Any]]) -> None:
        if waiting:
            newest = dict(list(waiting.items())[-MOST_CAUSES:])
            write_atomically(self._waiting, json.dumps({"unsent": newest}, indent=1) + "\n")
        else:
            self._waiting.unlink(missing_ok=True)

    def _load(self, path: Path, kinds: dict[str, type]) -> dict[str, dict[str, Any]]:
        """The tables in ``path``, with values of these ``kinds``; empty ones where it is not there, or damaged."""
        try:
            content = json.loads(path.read_bytes())
            tables = {name: dict(content.get(name, {})) for name in kinds}
            if all(isinstance(value, kinds[name]) for name, table in tables.items() for value in table.values()):
                return tables
        except FileNotFoundError:
            return {name: {} for name in kinds}
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass  # told below, with what is JSON and still no table of ours
        self._log.step(f"{path} is damaged and is begun anew: what was notified may be notified once more")
        path.unlink()
        return {name: {} for name in kinds}

    def _marker(self, cause: str) -> Path:
        return self.path.with_name(f".notified-{quote(cause, safe='')}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the files meanwhile: a verb may publish while a tick is on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_name(".notified.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _run_command(settings: Settings, message: dict[str, Any], seconds: float) -> None:
    """Have the shell run the user's command line with ``message`` as JSON on its input."""
    news = {"ds_notify_kind": str(message["kind"]), "ds_notify_subject": str(message["subject"])}
    data = json.dumps(message, ensure_ascii=False).encode()
    _run(["/bin/sh", "-c", settings.notify_command], data, seconds, "try it by hand, with JSON on its input", news)


def _mail(settings: Settings, message: dict[str, Any], seconds: float) -> None:
    """Mail ``message`` by the local sendmail, which is told the recipients itself and reads none from the mail."""
    import getpass
    from email.message import EmailMessage
    from email.utils import format_datetime, make_msgid, parseaddr

    path = f"{os.environ.get('PATH') or os.defpath}:/usr/sbin:/usr/lib"
    sendmail = shutil.which("sendmail", path=path)
    if sendmail is None:
        raise _NotSent("there is no sendmail; install one, such as postfix, msmtp-mta or nullmailer")
    addresses = [parseaddr(recipient)[1] for recipient in settings.notify_mail]
    for recipient, address in zip(settings.notify_mail, addresses, strict=True):
        if not re.fullmatch(r"(?!-)[!-~]+", address) or set(address) & set('<>,;:()"\\'):
            raise _NotSent(f"{recipient!r} is not an address; mend ds_notify_mail")
    try:
        user = re.sub(r"[^A-Za-z0-9._-]", "", getpass.getuser())
    except (KeyError, OSError):  # the user has no entry and no name, as in some containers
        user = ""
    host = re.sub(r"[^A-Za-z0-9.-]", "", socket.gethostname()) or "localhost"
    mail = EmailMessage()
    mail["From"] = f"{user or 'deepspeech-wer'}@{host}"
    mail["To"] = ", ".join(addresses)
    mail["Subject"] = message["subject"]
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = make_msgid(domain=host)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{message['text']}\n", charset="utf-8")
    hint = "see whether a mail by hand gets through"
    _run([sendmail, "-oi", "--", *addresses], mail.as_bytes(), seconds, hint, {})


def _run(command: list[str], data: bytes, seconds: float, hint: str, variables: dict[str, str]) -> None:
    """Run ``command`` with ``data`` on its input, in a process group that is ended after ``seconds``."""
    tail = bytearray()

    def drain(stream: Any) -> None:
        with stream:
            while chunk := stream.read1(65536):
                tail[:] = (tail + chunk)[-4 * _TAIL :]

    with os.fdopen(os.memfd_create("notification"), "w+b") as given:  # it waits for no reader, and needs no disk
        given.write(data)
        given.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | variables,
                start_new_session=True,
            )
        except OSError as error:
            raise _NotSent(f"{command[0]} does not start: {error.strerror}; {hint}") from None
    reader = threading.Thread(target=drain, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise _NotSent(f"it did not end within {seconds:.0f} s and was ended; {hint}") from None
    if code:
        reader.join(1)  # what it left in the background may hold its output open
        said = " ".join(bytes(tail).decode(errors="replace").split())[-_TAIL:]
        raise _NotSent(f"exit code {code}" + (f", and it said: {said}" if said else "") + f"; {hint}")


def _post(settings: Settings, message: dict[str, Any], seconds: float) -> None:
    """Post ``message`` to the webhook's address, which is never told: who knows it can write into that chat."""
    text = html.escape(f"{message['subject']}\n{message['text']}", quote=False)
    data = json.dumps({**message, "text": _CALLS.sub("\\g<0>\u200b", text)}).encode()
    _within(min(seconds, WEBHOOK_SECONDS), lambda: _post_patiently(settings.notify_webhook, data))


def _post_patiently(address: str, data: bytes) -> None:
    import logging

    import requests

    logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # its warnings hold the address
    for wait in (*RETRY_WAITS, None):
        try:
            status = _post_once(address, data)
            if 200 <= status < 300:
                return
            trouble, is_lasting = f"the server answers with HTTP status {status}", status < 500 and status != 429
        except requests.exceptions.SSLError:
            trouble, is_lasting = "the server's certificate cannot be verified", True
        except requests.Timeout:
            trouble, is_lasting = f"the server gave no answer for {ANSWER_SECONDS:.0f} s", False
        except requests.ConnectionError:
            trouble, is_lasting = "the server cannot be reached, or ends the connection", False
        except (requests.RequestException, ValueError) as error:
            trouble, is_lasting = f"there is no posting to that address ({type(error).__name__})", True
        if is_lasting or wait is None:
            raise _NotSent(f"{trouble}; see whether ds_notify_webhook is right, and the server up")
        time.sleep(wait)


def _post_once(address: str, data: bytes) -> int:
    """The HTTP status that ``address`` answers with; redirects are followed on the same server only, as posts."""
    import requests

    headers = {"Content-Type": "application/json", "User-Agent": "deepspeech-wer"}
    url = address
    for _ in range(4):
        with requests.post(
            url, data=data, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False, stream=True
        ) as answer:
            if answer.status_code not in (301, 302, 307, 308):
                return answer.status_code
            old, new = urlsplit(url), urlsplit(urljoin(url, answer.headers.get("Location", "")))
        if (new.scheme, new.hostname, new.port) != (old.scheme, old.hostname, old.port):
            raise _NotSent("it redirects to another server, which is not followed; set ds_notify_webhook to that one")
        url = new._replace(netloc=old.netloc).geturl()
    raise _NotSent("it redirects again and again; see whether ds_notify_webhook is right")


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Do ``work``, and give up after ``seconds``: a look-up of a name or a slow answer has no limit of its own."""
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            work()
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise _NotSent(f"it did not end within {seconds:.0f} s; see whether the server and the network are up")
    if outcome[0] is not None:
        raise outcome[0]


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
    return f"What to do: {hint}\n" if hint else ""


def _short(record: RunRecord) -> str:
    return record.sha[:7] or record.run_id


def _subject(record: RunRecord) -> str:
    return words.plain(record.landing.subject, 80) if record.landing else ""


def _landing(record: RunRecord) -> str:
    author = f" by {words.plain(record.landing.author, 60)}" if record.landing else ""
    return f"{_short(record)} ({_subject(record)}){author}"


def _wer(record: RunRecord) -> float | None:
    return float(record.hyper["results"]["test_wer"]) if record.hyper else None


def _about(record: RunRecord) -> dict[str, Any]:
    about: dict[str, Any] = {"sha": record.sha, "run": record.run_id}
    if record.landing:
        about |= {"url": record.landing.url, "author": record.landing.author}
    return about | ({"test_wer": _wer(record)} if record.hyper else {})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
