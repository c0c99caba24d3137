"""GitHub's REST API, asked with patience and good manners.

What the documentation asks of a client is kept here, so that nobody else has to think of it:

- a limit is waited for as long as the answer says (``Retry-After``; ``x-ratelimit-reset`` where nothing is left), or a
  minute and more where it does not say; where that is more than a tick can wait, the tick ends, and no later one asks
  before that time;
- 5xx, time-outs and broken connections are tried again, a few times, after random waits that double;
- a redirect is followed on the same host only, so that the token is never sent to another;
- a refusal is not asked again.

https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from deepspeech_wer.errors import RepositoryError
from deepspeech_wer.files import write_atomically

if TYPE_CHECKING:
    import requests

VERSION = "2022-11-28"

#: No answer comes near this size, in bytes: a page of a comparison has at most 100 commits and 300 files.
LARGEST_ANSWER = 64 << 20

#: Redirects that are followed for one question; a renamed repository needs one.
REDIRECTS = 5

#: Seconds to wait where a limit is met and the answer does not say for how long: "at least one minute".
UNSAID_WAIT = 60.0

#: A time to wait for that was noted is believed for a day at most: the clock may have jumped.
LONGEST_PAUSE = 86400.0

_WAIT_HINT = "nothing needs to be done: a later tick goes on where this one was"


@dataclass(frozen=True)
class Patience:
    """How often is tried, and how long in seconds: for an answer to begin and to end, and between tries in all."""

    tries: int = 5
    waits: float = 120.0
    timeout: float = 30.0
    answer: float = 300.0
    sleep: Callable[[float], object] = time.sleep
    random: Callable[[], float] = random.random
    now: Callable[[], float] = time.time


@dataclass(frozen=True)
class Answer:
    """What came back: the JSON value (None with 304, not modified) and the ETag to ask again with."""

    status: int
    value: Any
    etag: str


class Refused(RepositoryError):
    """GitHub understood the question and says no: ``status`` as in HTTP, ``said`` in its own words."""

    def __init__(self, message: str, hint: str, status: int, said: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.said = said


class Memory:
    """A small JSON file in the cache folder. Losing it costs requests and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """What is in it; nothing where there is no such file, or where it was damaged: it is written anew."""
        try:
            value = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, value: Mapping[str, Any]) -> None:
        """Replace what is in it. Raises RepositoryError where the disk does not take it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(value))
        except OSError as error:
            raise RepositoryError(
                f"{self.path} cannot be written: {error.strerror}", "check the folder's owner, and the disk"
            ) from error


class Api:
    """The API at ``address``. ``token_from`` tells a person where the token came from; the token is never told."""

    def __init__(self, address: str, token: str, token_from: str, memory: Memory, patience: Patience) -> None:
        self.address = address
        self.host = urlsplit(address).hostname
        self._token = token
        self.token_from = token_from
        self._memory = memory
        self._patience = patience
        self._waited = 0.0
        self._session: requests.Session | None = None

    def get(self, path: str, query: Mapping[str, str | int] | None = None, etag: str = "") -> Answer:
        """Read ``path``; with ``etag``, only if it is no longer what it was. Raises RepositoryError, Refused."""
        return self._ask("GET", path, {"params": dict(query or {})}, {"If-None-Match": etag} if etag else {})

    def post(self, path: str, value: Mapping[str, Any]) -> Answer:
        """Post ``value`` as JSON to ``path``. Raises RepositoryError, Refused."""
        return self._ask("POST", path, {"json": dict(value)}, {})

    def _ask(self, method: str, path: str, what: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        import requests

        self._keep_the_pause()
        tried = 0
        while True:
            tried += 1
            try:
                status, about, body = self._once(method, self.address + path, what, headers)
            except (requests.RequestException, ValueError) as error:  # requests lets some addresses through to urllib
                trouble, wait, is_limit = f"{self.host} {_in_words(error)}", self._backoff(tried), False
                if isinstance(error, ValueError) or _is_about_the_certificate(error):  # an address that is none
                    raise RepositoryError(trouble, "check ds_github_api, and the machine's certificates") from None
            else:
                value = _json(body)
                if status >= 500:
                    trouble, is_limit = f"{self.host} answers with an error of its own ({status})", False
                    asked = _retry_after(about, self._time_there(about))
                    wait = self._backoff(tried) if asked is None else asked + self._patience.random()
                else:
                    limit = self._limit(status, about, _said(value), tried)
                    if limit is None:
                        return self._judged(status, value, about.get("ETag", ""))
                    trouble, wait, is_limit = f"{self.host} limits how often it may be asked", limit, True
            self._wait(trouble, wait, tried, is_limit)

    def _once(
        self, method: str, url: str, what: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One question and the redirects it meets: status, headers and body. Raises RequestException."""
        import requests

        if self._session is None:
            self._session = requests.Session()
        own = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            "User-Agent": "deepspeech-wer",
        }
        end = time.monotonic() + self._patience.answer
        for _ in range(REDIRECTS + 1):
            with self._session.request(
                method,
                url,
                **what,
                headers={**own, **headers},
                auth=self._authorise,  # set last, and so that no ~/.netrc takes its place
                timeout=self._patience.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = bytearray()
                for part in response.iter_content(1 << 14):
                    body += part
                    if len(body) > LARGEST_ANSWER:
                        raise RepositoryError(f"{self.host} sends more than can be meant", "check ds_github_api")
                    if time.monotonic() > end:
                        raise requests.Timeout
                status, about = response.status_code, response.headers
            if not _is_redirect(method, status):
                return status, about, bytes(body)
            target = urljoin(url, about.get("Location", ""))
            if _origin(target) != _origin(url):
                raise RepositoryError(
                    f"{self.host} sends us on to {urlsplit(target).hostname}, where we do not go",
                    "set ds_github_api to the address that answers itself",
                )
            url, what = target, {name: value for name, value in what.items() if name == "json"}
        raise RepositoryError(f"{self.host} sends us on and on", "check ds_github_api and the repository's name")

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _limit(self, status: int, about: Mapping[str, str], said: str, tried: int) -> float | None:
        """How many seconds a limit wants us to wait; None where the answer speaks of none."""
        if status not in (403, 429):
            return None
        now = self._time_there(about)
        asked = _retry_after(about, now)
        if asked is not None:
            return asked + self._patience.random()
        if about.get("x-ratelimit-remaining") == "0":
            try:
                return max(0.0, float(about["x-ratelimit-reset"]) - now) + 1 + self._patience.random()
            except (KeyError, ValueError):
                pass  # it does not say when: dealt with as a limit that is not explained
        elif status == 403 and not any(words in said.lower() for words in ("rate limit", "abuse")):
            return None
        return UNSAID_WAIT * (2.0 ** (tried - 1)) + self._patience.random()

    def _time_there(self, about: Mapping[str, str]) -> float:
        """The server's time, in seconds since the epoch: what it says is meant by its clock, and ours may be wrong."""
        said = _http_date(about.get("Date", ""))
        return self._patience.now() if said is None else said

    def _backoff(self, tried: int) -> float:
        return float((2.0 ** (tried - 1)) * (0.5 + self._patience.random()))

    def _wait(self, trouble: str, seconds: float, tried: int, is_limit: bool) -> None:
        """Wait before the next try. Raises RepositoryError where there was one try too many, or too long a wait."""
        if tried < self._patience.tries and self._waited + seconds <= self._patience.waits:
            self._waited += seconds
            self._patience.sleep(seconds)
            return
        if not is_limit:
            times = f"{tried} times in a row" if tried > 1 else "and asks for more patience than a tick has"
            raise RepositoryError(f"{trouble}, {times}", f"see https://www.githubstatus.com; {_WAIT_HINT}")
        until = self._patience.now() + min(seconds, LONGEST_PAUSE)
        self._memory.write({**self._memory.read(), "until": until, "with_token": bool(self._token)})
        raise self._paused(until)

    def _keep_the_pause(self) -> None:
        """Ask nothing before the time that an earlier tick was told: who goes on asking is shut out for longer."""
        noted = self._memory.read()
        until, now = noted.get("until"), self._patience.now()
        if not isinstance(until, int | float) or noted.get("with_token") is not bool(self._token):
            return
        if now < until <= now + LONGEST_PAUSE:
            raise self._paused(until)

    def _paused(self, until: float) -> RepositoryError:
        when = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        more = "" if self._token else "; with a token (ds_github_token) it may be asked more often"
        return RepositoryError(
            f"{self.host} limits how often it may be asked, and wants to be left alone until {when}", _WAIT_HINT + more
        )

    def _judged(self, status: int, value: Any, etag: str) -> Answer:
        if status == 304:
            return Answer(status, None, etag)
        if 200 <= status < 300:
            if value is _NO_JSON:
                raise RepositoryError(
                    f"{self.host} answers with something that is not JSON",
                    "check ds_github_api: a proxy or a login page may stand in between",
                )
            return Answer(status, value, etag)
        said = _said(value) or f"status {status}"
        who = f"the token from {self.token_from}" if self._token else "a request without a token"
        if status == 401:
            hint = f"make a new token and put it there ({self.token_from})" if self._token else "set ds_github_token"
            raise Refused(f"{self.host} does not accept {who}: {said}", hint, status, said)
        hint = f"see what {who} may do, and whether the repository is named rightly"
        raise Refused(f"{self.host} refuses {who}: {said}", hint, status, said)


#: Stands for a body that is not JSON, since None is JSON.
_NO_JSON = object()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NO_JSON


def _said(value: Any) -> str:
    """What an answer says in its ``message``, fit for a line; empty where there is none."""
    message = value.get("message") if isinstance(value, dict) else None
    return " ".join(message.split())[:200] if isinstance(message, str) else ""


def _is_redirect(method: str, status: int) -> bool:
    """Whether it is a redirect that keeps the question as it was; after 301 and 302 a POST would become a GET."""
    return status in (307, 308) or (method == "GET" and status in (301, 302, 303))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. Nothing that can be asked where the address is none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


def _http_date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _retry_after(about: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by ``Retry-After``, which is a number of them or a date; None where it is neither."""
    text = about.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    when = _http_date(text)
    return None if when is None else max(0.0, when - now)


def _is_about_the_certificate(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _in_words(error: Exception) -> str:
    """What went wrong, in words of our own: the library's may hold an address with a password."""
    import requests

    if _is_about_the_certificate(error):
        return "shows a certificate that is not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "is behind a proxy that does not let us through"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return "gives no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return "breaks its answer off"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached, or breaks the connection off"
    return f"cannot be asked ({type(error).__name__})"
