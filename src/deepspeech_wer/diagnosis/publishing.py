"""What publishing needs: the variables, the key, the host key, the login, the web root; and whether the page is read.

Nothing is changed there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from deepspeech_wer import website as places
from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, fail, ok, warn, within
from deepspeech_wer.errors import SettingsError, TrackerError

if TYPE_CHECKING:
    from deepspeech_wer.publish.manifest import Entry
    from deepspeech_wer.publish.operations import Store
    from deepspeech_wer.publish.target import Place, Target

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
        yield ok("website", f"{place.host}, port {place.port}, folder {place.root}")
        looks = (("ssh key", partial(_key, settings, place)), ("host key", partial(_host_key, place)))
        for name, look in looks:
            try:
                yield look()
            except TrackerError as error:
                yield fail(name, error.message, error.hint)
                return
    else:
        yield ok("website", places.where_of(place))
    yield from _place(settings, place)


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
        return warn(
            "host key", f"no key of {trust.name} is known", "to see it and to trust it: deepspeech-wer trust-host"
        )
    return ok("host key", f"{trust.name}: {', '.join(str(key) for key in trust.trusted)}")


def _place(settings: Settings, place: Place) -> Iterator[Check]:
    """The login where there is one, by it the web root, and the page as its readers get it."""
    from deepspeech_wer.publish import release
    from deepspeech_wer.publish.places import opened
    from deepspeech_wer.publish.target import Target

    name = "ssh login" if isinstance(place, Target) else "web root"
    try:
        with opened(place) as store:
            if isinstance(place, Target):
                yield ok(name, f"{store.name}, with SFTP")
                name = "web root"
            forced = "" if settings.website_release == "auto" else f"; ds_website_release: {settings.website_release}"
            yield ok(name, release.look(store, place) + forced)
            shown = _page(store, place)
    except TrackerError as error:
        yield fail(name, error.message, error.hint)
        return
    if settings.site_url and shown:
        yield _read(settings.site_url, shown)


def _page(store: Store, place: Place) -> Entry | None:
    """The main page of the release that is shown, as its manifest tells it."""
    from deepspeech_wer.publish.places import root_of
    from deepspeech_wer.publish.survey import survey

    shown = survey(store, root_of(place)).shown
    return shown.files.get(shown.page or "index.html") if shown else None


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
