"""The files ``~/.ssh/config`` and ``/etc/ssh/ssh_config``: what they say about one host, by the rules of ssh_config(5).

A file is a list of lines ``Keyword value ...`` (or ``Keyword=value``), in blocks that begin with ``Host PATTERN ...``
or ``Match CRITERION ...`` and count where those fit. Of each keyword the first value that is obtained is used; only
``IdentityFile`` and ``CertificateFile`` add up. ``Include`` reads other files, inside a block for that block.

paramiko's own reader is not used: it knows no ``Include``, takes one ``CertificateFile``, knows no quotes within a
line, and cannot say which line is wrong. Not followed here: ``CanonicalizeHostname`` (the settings name a full name).
Keywords that we have no use for are passed over, whatever stands behind them.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_wer.errors import PublishError

SYSTEM_FILE = Path("/etc/ssh/ssh_config")

#: How long a command of ``Match exec`` may take, in seconds.
EXEC_SECONDS = 30.0

#: Files within files within files; as many as ssh takes.
_DEEPEST_INCLUDE = 16

#: Keywords of which every occurrence counts; all others: the first alone.
_ADDING = {"identityfile", "certificatefile"}

#: Keywords whose value is the rest of the line, as it is: a shell reads it.
_RAW = {"proxycommand"}

#: Keywords that we use; of these a value is required.
KEYWORDS = {
    "certificatefile",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "revokedhostkeys",
    "user",
    "userknownhostsfile",
}

#: Whichever of the two comes first keeps the other from counting.
_RIVALS = {"proxyjump": "proxycommand", "proxycommand": "proxyjump"}


@dataclass
class Answers:
    """What was found for the host ``name`` (as the user calls it), beside what was given before."""

    name: str
    values: dict[str, list[str]] = field(default_factory=dict)
    #: Where each value stands, for messages: ``FILE, line 3``.
    origins: dict[str, str] = field(default_factory=dict)

    def first(self, keyword: str, default: str = "") -> str:
        return self.values[keyword][0] if self.values.get(keyword) else default

    @property
    def address(self) -> str:
        """The host to connect to: HostName, in which %h is the name."""
        return expanded(self.first("hostname", "%h"), {"%": "%", "h": self.name}, self.origins.get("hostname", ""))

    def tokens(self) -> dict[str, str]:
        """What ``%h`` and the like stand for, as ssh_config(5) lists them under TOKENS."""
        local = socket.gethostname()
        return {
            "%": "%",
            "h": self.address,
            "n": self.name,
            "p": self.first("port", "22"),
            "r": self.first("user", local_user()),
            "u": local_user(),
            "d": str(Path.home()),
            "i": str(os.getuid()),
            "k": self.first("hostkeyalias", self.name),
            "L": local.split(".")[0],
            "l": local,
            "j": self.first("proxyjump"),
        }


def lookup(name: str, files: Sequence[Path], *, user: str = "", port: int | None = None) -> Answers:
    """What the ``files`` say about the host ``name``; the first one counts most, and what is given here counts more.

    Raises PublishError, with file and line, where a file cannot be read or understood.
    """
    answers = Answers(name)
    if user:
        answers.values["user"] = [user]
    if port is not None:
        answers.values["port"] = [str(port)]
    reader = _Reader(answers)
    for last in (False, True):
        reader.begin_pass(last=last)
        for file in files:
            reader.read(file, active=True, depth=0, strict=file == own_file())
        if not reader.wants_another_pass:
            break
    return answers


def default_files() -> tuple[Path, ...]:
    """The files that ssh reads, as far as they exist; the first one counts most."""
    return tuple(file for file in (own_file(), SYSTEM_FILE) if file.exists())


def own_file() -> Path:
    """The user's own, which nobody else may be able to write, nor what it includes: it can have commands run."""
    return Path.home() / ".ssh" / "config"


def local_user() -> str:
    """Who runs this; by number where the user has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def expanded(text: str, tokens: dict[str, str], origin: str) -> str:
    """``text`` with its ``%x`` tokens. Raises PublishError on one that is not in ``tokens``."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in tokens:
            raise PublishError(
                f"{origin}: %{match[1]} is not known here, in {text!r}",
                f"write it without; what is known: {' '.join('%' + token for token in tokens)}",
            )
        return tokens[match[1]]

    return re.sub(r"%(.?)", replaced, text)


def with_variables(text: str, origin: str) -> str:
    """``text`` with its ``${NAME}`` from the environment. Raises PublishError on one that is not set."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise PublishError(
                f"{origin}: the environment has no variable {match[1]}, which {text!r} needs",
                "set it where publishing runs (cron's environment is small), or write the value itself",
            )
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", replaced, text)


def matches(name: str, pattern: str) -> bool:
    """Whether ``name`` fits a pattern of ssh's: ``*`` and ``?`` alone are special (to fnmatch brackets are, too)."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None


def matches_list(name: str, patterns: Sequence[str]) -> bool:
    """Whether ``name`` fits one of the patterns, and none of those that begin with ``!``."""
    if any(pattern.startswith("!") and matches(name, pattern[1:]) for pattern in patterns):
        return False
    return any(not pattern.startswith("!") and matches(name, pattern) for pattern in patterns)


class _Reader:
    """Reads files and notes what counts for one host; see ``lookup``."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._host = answers.name
        self._last = False
        self.wants_another_pass = False

    def begin_pass(self, *, last: bool) -> None:
        """``Match final`` asks for a second pass, in which hosts are known by the address that the first one found."""
        self._last = last
        if last:
            self._host = self._answers.address
        self.wants_another_pass = False

    def read(self, file: Path, *, active: bool, depth: int, strict: bool) -> None:
        """The lines of ``file``; where not ``active``, for their form alone."""
        enclosing = active
        for number, line in enumerate(_text(file, strict=strict).splitlines(), 1):
            origin = f"{file}, line {number}"
            split = _split(line, origin)
            if split is None:
                continue
            keyword, words = split
            if keyword in ("host", "match", "include", *KEYWORDS) and not words:
                raise wrong(origin, f"there is nothing behind {line.split()[0]}")
            if keyword == "host":
                active = enclosing and matches_list(self._host.lower(), [word.lower() for word in words])
            elif keyword == "match":
                active = self._fits(words, origin, active=enclosing)
            elif keyword == "include":
                for included in _included(words, file, origin):
                    if depth >= _DEEPEST_INCLUDE:
                        raise wrong(origin, "files include each other too deep")
                    self.read(included, active=active, depth=depth + 1, strict=strict)
            elif active and keyword in KEYWORDS:
                self._note(keyword, words, origin)

    def _note(self, keyword: str, words: list[str], origin: str) -> None:
        values = self._answers.values
        if keyword in _ADDING:
            # A second pass comes by the same lines again.
            known = values.setdefault(keyword, [])
            known.extend(word for word in words[:1] if word not in known)
        elif keyword in values or _RIVALS.get(keyword) in values:
            return
        else:
            values[keyword] = words
        self._answers.origins.setdefault(keyword, origin)

    def _fits(self, words: list[str], origin: str, *, active: bool) -> bool:
        fits = active
        words = list(words)
        while words:
            word = words.pop(0)
            negated = word.startswith("!")
            criterion, separator, argument = word.lstrip("!").partition("=")
            criterion = criterion.lower()
            if criterion == "all":
                found = True
            elif criterion in ("canonical", "final"):
                self.wants_another_pass |= criterion == "final" and not self._last
                found = self._last
            else:
                if not separator and not words:
                    raise wrong(origin, f"there is nothing behind Match {criterion}")
                argument = argument if separator else words.pop(0)
                # Nothing is run for a block that is out already.
                found = fits and self._holds(criterion, argument, origin)
            fits = fits and found != negated
        return fits

    def _holds(self, criterion: str, argument: str, origin: str) -> bool:
        answers = self._answers
        if criterion == "exec":
            return _succeeds(expanded(argument, answers.tokens(), origin), origin)
        subjects = {
            "host": answers.address.lower(),
            "originalhost": answers.name.lower(),
            "user": answers.first("user", local_user()),
            "localuser": local_user(),
        }
        if criterion not in subjects:
            raise wrong(origin, f"Match {criterion} is not known here")
        patterns = argument.lower() if "host" in criterion else argument
        return matches_list(subjects[criterion], patterns.split(","))


def wrong(origin: str, what: str) -> PublishError:
    return PublishError(
        f"{origin}: {what}", "mend that line (man ssh_config), or name another file: ds_website_ssh_config"
    )


def _split(line: str, origin: str) -> tuple[str, list[str]] | None:
    """The keyword in lower case and the words behind it, quotes taken off; None for an empty line or a comment."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    found = re.fullmatch(r'"?(\w+)"?(?:\s*=\s*|\s+|$)(.*)', line)
    if not found:
        raise wrong(origin, f"{line[:60]!r} is not a keyword and its value")
    keyword, rest = found[1].lower(), found[2]
    if keyword in _RAW:
        return keyword, [rest] if rest else []
    if keyword not in ("host", "match", "include", *KEYWORDS):
        return keyword, []
    return keyword, _words(rest, origin)


#: A word, parts of which may be quoted. A backslash takes the special sense from a quote, a space and a backslash.
_PART = re.compile(r'"((?:\\["\\]|[^"])*)"|\'((?:\\[\'\\]|[^\'])*)\'|\\(["\'\\ ])|([^\s"\'])')


def _words(text: str, origin: str) -> list[str]:
    """The words of a line; a word that begins with ``#`` ends it."""
    words: list[str] = []
    at = 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        if text[at] == "#":
            break
        word = ""
        while at < len(text) and not text[at].isspace():
            part = _PART.match(text, at)
            if not part:
                raise wrong(origin, "a quotation mark is open")
            quoted = part[1] if part[1] is not None else part[2]
            word += re.sub(r'\\(["\'\\])', r"\1", quoted) if quoted is not None else part[3] or part[4]
            at = part.end()
        words.append(word)
    return words


def _text(file: Path, *, strict: bool) -> str:
    try:
        with file.open("rb") as opened:
            info = os.fstat(opened.fileno())
            # As ssh does.
            if strict and (info.st_uid not in (0, os.getuid()) or info.st_mode & 0o022):
                raise PublishError(
                    f"{file} can be changed by others (mode {stat.S_IMODE(info.st_mode):04o}, owner {info.st_uid}); "
                    "it is not used",
                    f"chmod 600 {shlex.quote(str(file))}",
                )
            return opened.read().decode("utf-8", errors="replace")
    except OSError as error:
        raise PublishError(
            f"cannot read the ssh config file {file}: {error.strerror}",
            "make it a file that you can read, or name another one: ds_website_ssh_config",
        ) from error


def _included(words: Sequence[str], file: Path, origin: str) -> list[Path]:
    """The files that exist of those that an Include names."""
    folder = SYSTEM_FILE.parent if file.is_relative_to(SYSTEM_FILE.parent) else Path.home() / ".ssh"
    found = []
    for word in words:
        path = folder / Path(with_variables(word, origin)).expanduser()
        found += sorted(file for file in Path("/").glob(str(path.relative_to("/"))) if file.is_file())
    return found


def _succeeds(command: str, origin: str) -> bool:
    """Whether the command of a ``Match exec`` ends well, run as ssh runs it: by the user's shell."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        done = subprocess.run(
            [shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=EXEC_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"did not end within {EXEC_SECONDS:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise wrong(origin, f"the command of Match exec {why}") from None
    return done.returncode == 0
