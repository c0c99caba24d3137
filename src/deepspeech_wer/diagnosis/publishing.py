"""What publishing needs: the variables, the key, the host key, the login, the web root. Nothing is changed there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepspeech_wer import page
from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, fail, ok, warn
from deepspeech_wer.errors import TrackerError

if TYPE_CHECKING:
    from deepspeech_wer.publish.target import Target


def website(settings: Settings) -> Iterator[Check]:
    """Everything on the way to the web root, in the order in which a release meets it; ends where it cannot go on."""
    missing = settings.missing_website_variables()
    if not settings.is_publishing:
        others = [f"ds_{name}" for name in ("website_username", "website_server_root") if getattr(settings, name)]
        found = f"no server is named; the site is built here, in {settings.web_root}"
        mend = "set ds_website_server_fqdn, too, to publish it"
        yield warn("website", f"{found}, though {', '.join(others)} set", mend) if others else ok("website", found)
        return
    if missing:
        yield fail("website", f"not set: {', '.join(missing)}", "set what is missing, or no ds_website_server_fqdn")
        return
    target = page.target_of(settings)
    yield ok("website", f"{target.host}, port {target.port}, folder {target.root}")
    try:
        yield _key(settings, target)
    except TrackerError as error:
        yield fail("ssh key", error.message, error.hint)
        return
    try:
        yield _host_key(target)
    except TrackerError as error:
        yield fail("host key", error.message, error.hint)
        return
    yield from _login(target)


def _key(settings: Settings, target: Target) -> Check:
    """Raises PublishError where the key file or the agent cannot be used."""
    from deepspeech_wer.publish.keys import identities

    with identities(target) as found:
        names = ", ".join(identity.label for identity in found)
    if settings.website_privkey is None:
        return warn(
            "ssh key",
            f"{names}, at {os.environ.get('SSH_AUTH_SOCK', '')}",
            "what cron starts has no agent: set ds_website_privkey to a key file of its own",
        )
    return ok("ssh key", names)


def _host_key(target: Target) -> Check:
    from deepspeech_wer.publish.knownhosts import lookup

    trust = lookup(target.host, target.port, target.known_hosts)
    if not trust.trusted:
        return warn("host key", f"no key of {trust.name} is known", "the next line tells which one the server shows")
    return ok("host key", f"{trust.name}: {', '.join(str(key) for key in trust.trusted)}")


def _login(target: Target) -> Iterator[Check]:
    """The login and, by it, the web root."""
    from deepspeech_wer.publish import release
    from deepspeech_wer.publish.sftp import connect

    name = "ssh login"
    try:
        with connect(target) as connection:
            yield ok(name, f"{target.username} at {target.host}, with SFTP")
            name = "web root"
            yield ok(name, release.look(connection, target))
    except TrackerError as error:
        yield fail(name, error.message, error.hint)
