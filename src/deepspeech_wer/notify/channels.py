"""The ways to people: a command of the user's, a web address, mail through the local sendmail.

Each takes one message, which is made of plain values, and a limit in seconds, and raises NotSent where it does not get
through.
"""

from __future__ import annotations

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
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from deepspeech_wer.config import Settings

#: Seconds that a command or sendmail may take, and that a web address may with all retries.
COMMAND_SECONDS = 60.0
WEBHOOK_SECONDS = 40.0

#: Seconds to wait for a connection and for an answer, and before each of the two retries.
ANSWER_SECONDS = 10.0
RETRY_WAITS = (1.0, 3.0)

#: Characters of a command's output that are told, and bytes of it that are kept for that.
_TAIL = 300
_KEPT = 4096

#: What a chat would make of a hostile subject: a call to everybody, or a link that says something else.
_CALLS = re.compile(r"@(?=channel|all|here|everyone)|\](?=\()", re.IGNORECASE)


class NotSent(Exception):
    """One channel did not take a notification; the message says why."""


def of(settings: Settings) -> dict[str, Callable[[Settings, dict[str, Any], float], None]]:
    """The channels that are set, by the name of their setting."""
    known = {"notify_command": run_command, "notify_webhook": post, "notify_mail": mail}
    return {f"ds_{name}": send for name, send in known.items() if getattr(settings, name)}


def run_command(settings: Settings, message: dict[str, Any], seconds: float) -> None:
    """Have the shell run the user's command line with ``message`` as JSON on its input."""
    news = {"ds_notify_kind": str(message["kind"]), "ds_notify_subject": str(message["subject"])}
    data = f"{json.dumps(message, ensure_ascii=False)}\n".encode()  # without a line's end a shell's `read` fails
    _run(["/bin/sh", "-c", settings.notify_command], data, seconds, "try it by hand, with JSON on its input", news)


def mail(settings: Settings, message: dict[str, Any], seconds: float) -> None:
    """Mail ``message`` by the local sendmail, which is told the recipients itself and reads none from the mail."""
    import getpass
    from email.message import EmailMessage
    from email.utils import format_datetime, make_msgid, parseaddr

    path = f"{os.environ.get('PATH') or os.defpath}:/usr/sbin:/usr/lib"
    sendmail = shutil.which("sendmail", path=path)
    if sendmail is None:
        raise NotSent("there is no sendmail; install one, such as postfix, msmtp-mta or nullmailer")
    addresses = [parseaddr(recipient)[1] for recipient in settings.notify_mail]
    for recipient, address in zip(settings.notify_mail, addresses, strict=True):
        if not re.fullmatch(r"(?!-)[!-~]+", address) or set(address) & set('<>,;:()"\\'):
            raise NotSent(f"{recipient!r} is not an address; mend ds_notify_mail")
    try:
        user = re.sub(r"[^A-Za-z0-9._-]", "", getpass.getuser())
    except (KeyError, OSError):  # the user has no entry and no name, as in some containers
        user = ""
    host = re.sub(r"[^A-Za-z0-9.-]", "", socket.gethostname()) or "localhost"
    letter = EmailMessage()
    letter["From"] = f"{user or 'deepspeech-wer'}@{host}"
    letter["To"] = ", ".join(addresses)
    letter["Subject"] = message["subject"]
    letter["Date"] = format_datetime(datetime.now(UTC))
    letter["Message-ID"] = make_msgid(domain=host)
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(f"{message['text']}\n", charset="utf-8")
    hint = "see whether a mail by hand gets through"
    _run([sendmail, "-oi", "--", *addresses], letter.as_bytes(), seconds, hint, {})


def _run(command: list[str], data: bytes, seconds: float, hint: str, variables: dict[str, str]) -> None:
    """Run ``command`` with ``data`` on its input, in a process group that is ended after ``seconds``."""
    seconds = min(seconds, COMMAND_SECONDS)
    tail = bytearray()

    def drain(stream: Any) -> None:
        with stream:
            while chunk := stream.read1(65536):
                tail[:] = (tail + chunk)[-_KEPT:]

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
            raise NotSent(f"{command[0]} does not start: {error.strerror}; {hint}") from None
    reader = threading.Thread(target=drain, args=(process.stdout,), daemon=True)
    try:
        reader.start()
        code = process.wait(seconds)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise NotSent(f"it did not end within {seconds:.0f} s and was ended; {hint}") from None
    if code:
        reader.join(1)  # what it left in the background may hold its output open
        said = bytes(tail).decode(errors="replace").split()[len(tail) == _KEPT :]
        while len(" ".join(said)) > _TAIL:  # whole words only: half a secret is not known for one any more
            del said[0]
        raise NotSent(f"exit code {code}" + (f", and it said: {' '.join(said)}" if said else "") + f"; {hint}")


def post(settings: Settings, message: dict[str, Any], seconds: float) -> None:
    """Post ``message`` to the webhook's address, which is never told: who knows it can write into that chat."""
    text = html.escape(f"{message['subject']}\n{message['text']}", quote=False)
    data = json.dumps({**message, "text": _CALLS.sub("\\g<0>\u200b", text)}).encode()
    within(min(seconds, WEBHOOK_SECONDS), lambda: _post_patiently(settings.notify_webhook, data))


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
            raise NotSent(f"{trouble}; see whether ds_notify_webhook is right, and the server up")
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
            raise NotSent("it redirects to another server, which is not followed; set ds_notify_webhook to that one")
        url = new._replace(netloc=old.netloc).geturl()
    raise NotSent("it redirects again and again; see whether ds_notify_webhook is right")


def within(seconds: float, work: Callable[[], None]) -> None:
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
        raise NotSent(f"it did not end within {seconds:.0f} s; see whether the server and the network are up")
    if outcome[0] is not None:
        raise outcome[0]
