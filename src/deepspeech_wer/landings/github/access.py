"""Which repository on GitHub the settings mean, and the token for its API.

The token is set, or in the environment, or printed by a command such as ``gh auth token``.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deepspeech_wer import secret
from deepspeech_wer.errors import SettingsError

if TYPE_CHECKING:
    from deepspeech_wer.config import Settings

#: Where GitHub's own tools look for one.
VARIABLES = ("GITHUB_TOKEN", "GH_TOKEN")

#: How long a command may take to print the token, in seconds.
COMMAND_SECONDS = 60.0

_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._-]+")
#: host, account and project of https, ssh, git and scp-like addresses.
_ADDRESS = re.compile(r"(?:[a-z+]+://)?(?:[^/]*@)?([^/:@]+)(?::\d+)?[/:]/*([^/:]+)/([^/]+?)(?:\.git)?/*")


def repository_of(settings: Settings) -> tuple[str, str]:
    """Account and project: those that are set, else those of ``ds_repository``. Raises SettingsError."""
    account, project = settings.github_account, settings.github_project
    if settings.repository and not (account and project):
        match = _ADDRESS.fullmatch(settings.repository)
        host = host_of(settings.github_api)
        if match is None or match[1].lower() not in (host, f"api.{host}", f"www.{host}", f"ssh.{host}"):
            raise SettingsError(
                f"ds_repository is no address of a repository on {host}, whose API is to be asked",
                "set ds_github_account and ds_github_project as well, or ds_github_api for a server of your own",
            )
        account, project = match[2], match[3]
    elif not (account and project):
        settings.require_repository()
        account, project = account or "mozilla", project or "DeepSpeech"
    if not _NAME.fullmatch(account) or not _NAME.fullmatch(project):
        raise SettingsError(
            "what is set cannot be a repository on GitHub", "check ds_github_account, ds_github_project"
        )
    return account, project


def host_of(api: str) -> str:
    """The host of the website that belongs to the API at ``api``, which is at ``api.`` or ``/api/v3`` of it.

    Raises SettingsError where the address is none.
    """
    try:
        host = urlsplit(api).hostname
    except ValueError:
        host = None
    if not host:
        raise SettingsError("ds_github_api is no address of a server", "give one such as https://api.github.com")
    return host.removeprefix("api.")


def website_of(api: str) -> str:
    """The address of that website."""
    parts = urlsplit(api)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].removeprefix('api.')}"


def is_overheard(api: str) -> bool:
    """Whether what is sent to ``api`` goes over a network unencrypted."""
    host = urlsplit(api).hostname or ""
    return not api.startswith("https://") and host not in ("localhost", "::1") and not host.startswith("127.")


def find_token(settings: Settings) -> tuple[str, str]:
    """The token and the name of where it came from; two empty texts where there is none. Raises SettingsError."""
    given = {"ds_github_token": settings.github_token} | {name: os.environ.get(name, "") for name in VARIABLES}
    for name, value in given.items():
        if value.strip():
            return _checked(value.strip(), name), name
    if settings.github_token_command:
        name = "ds_github_token_command"
        return _checked(printed_by(settings.github_token_command), name), name
    return "", ""


def _checked(token: str, name: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"what {name} gives is no token", "a token is one word of letters, digits and _")
    return token


def printed_by(command: str, seconds: float = COMMAND_SECONDS) -> str:
    """The token that ``command`` prints, without the space around it. Raises SettingsError."""
    output = secret.printed_by(command, "ds_github_token_command:", "token", seconds, SettingsError)
    return output.decode(errors="replace").strip()
