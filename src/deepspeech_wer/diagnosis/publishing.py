"""What publishing needs: the variables, the key, the host key, the login, the web root; and whether the page is read.

Nothing is changed there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from deepspeech_wer import website as places
from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, fail, ok, warn, within
from deepspeech_wer.errors import PublishError, SettingsError, TrackerError

if TYPE_CHECKING:
    from deepspeech_wer.publish.manifest import Entry
    from deepspeech_wer.publish.ssh.config import Hop
    from deepspeech_wer.publish.target import Place

#: Seconds for the published page, and the bytes of it that are read: a page of ours is a hundredth of that.
_PAGE_SECONDS, _PAGE_BYTES = 20.0, 64 << 20


def website(settings: Settings) -> Iterator[Check]:
    """Everything on the way to the web root, in the order in which a release meets it; ends where it cannot go on."""
    from deepspeech_wer.publish.target import Folder

    if not settings.is_publishing:
        others = [f"ds_{name}" for name in ("website_username", "website_server_root") if getattr(settings, name)]
        found = f"no server is named; the site is built here, in {settings.web_root}"
        mend = "set ds_website_server_fqdn, too, to publish it"
        yield warn("website", f"{found}, though {', '.join(others)} set", mend) if others else ok("website", found)
        return
    try:
        place = places.place_of(settings)
    except SettingsError as error:
        yield fail("website", error.message, error.hint)
        return
    if not isinstance(place, Folder):
        from deepspeech_wer.publish.ssh.config import route

        try:
            *jumps, server = route(place)
        except PublishError as error:
            yield fail("website", error.message, error.hint)
            return
        way = f", by way of {', '.join(map(str, jumps))}" if jumps else ""
        yield ok("website", f"{server.name}, port {server.port}, folder {place.root}{way}")
        looks = (("ssh key", partial(_key, server)), ("host key", partial(_host_key, server)))
        for name, look in looks:
            try:
                yield look()
            except TrackerError as error:
                yield fail(name, error.message, error.hint)
                return
    else:
        yield ok("website", places.where_of(place))
    yield from _place(settings, place)


def _key(server: Hop) -> Check:
    """Raises PublishError where no key file can be used, nor the agent."""
    from deepspeech_wer.publish.ssh.identities import identities

    with identities(server) as found:
        names = ", ".join(identity.label for identity in found.tried)
    try:
        with identities(replace(server, agent="")):
            return ok("ssh key", names)
    except PublishError:
        return warn(
            "ssh key",
            f"{names}, at {server.agent}",
            "what cron starts has no agent: set ds_website_privkey to a key file of its own",
        )


def _host_key(server: Hop) -> Check:
    from deepspeech_wer.publish.ssh.knownhosts import lookup

    trust = lookup(server)
    if not trust.trusted and not trust.authorities:
        return warn(
            "host key", f"no key of {trust.name} is known", "to see it and to trust it: deepspeech-wer trust-host"
        )
    return ok("host key", f"{trust.name}: {trust}")


def _place(settings: Settings, place: Place) -> Iterator[Check]:
    """The login where there is one, by it the web root, and the page as its readers get it."""
    from deepspeech_wer.publish import release
    from deepspeech_wer.publish.claim import way_of
    from deepspeech_wer.publish.places import opened, root_of
    from deepspeech_wer.publish.survey import survey
    from deepspeech_wer.publish.target import Target

    name = "ssh login" if isinstance(place, Target) else "web root"
    try:
        with opened(place) as store:
            if isinstance(place, Target):
                yield ok(name, f"{store.name}, with SFTP")
                name = "web root"
            found = survey(store, root_of(place))
            way_of(store, found, settings.website_release, ())
            is_chosen = settings.website_release != "auto" and not found.mark
            chosen = f"; {settings.website_release} is what ds_website_release asks for" if is_chosen else ""
            yield ok(name, release.look(store, place) + chosen)
    except TrackerError as error:
        yield fail(name, error.message, error.hint)
        return
    page = found.shown.files.get(found.shown.page or "index.html") if found.shown else None
    if settings.site_url and page:
        yield _read(settings.site_url, page)


def _read(url: str, page: Entry) -> Check:
    """Whether the page that is published is what is read at ``url``."""
    name = "site"
    mend = "let the web server show the web root, and set ds_site_url to the address of the page there"
    try:
        status, found = within(_PAGE_SECONDS, url, lambda: _digest(url))
    except TrackerError as error:
        return warn(name, error.message, error.hint)
    if status != 200:
        return warn(name, f"{url} answers {status}", mend)
    if found != page.sha256:
        return warn(
            name, f"{url} shows something else than the page that is published", f"{mend}; or a cache is in between"
        )
    return ok(name, f"{url} shows what is published")


def _digest(url: str) -> tuple[int, str]:
    """What the address answers, and the SHA-256 of that. Raises TrackerError where it does not."""
    import hashlib

    import requests

    content = hashlib.sha256()
    left = _PAGE_BYTES
    try:
        with requests.get(url, timeout=_PAGE_SECONDS / 2, stream=True) as response:
            for piece in response.iter_content(1 << 16):
                content.update(piece)
                left -= len(piece)
                if left < 0:
                    break
            return response.status_code, content.hexdigest()
    except requests.RequestException as error:
        raise TrackerError(
            f"{url} cannot be read from here: {type(error).__name__}",
            "see whether the web server is up and ds_site_url is right (curl -I)",
        ) from error
