"""The page: built here from everything that is archived, and published to the server."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deepspeech_wer.config import Settings
from deepspeech_wer.errors import PublishError, SettingsError
from deepspeech_wer.files import write_atomically
from deepspeech_wer.landings.remote import public
from deepspeech_wer.log import Log

if TYPE_CHECKING:
    from deepspeech_wer.journal import Journal
    from deepspeech_wer.notify import Notifier
    from deepspeech_wer.publish.target import Target
    from deepspeech_wer.results.archive import RunRecord

#: In the data root: why the site could not be published the last time; there as long as that lasts.
TROUBLE = "publish-trouble.json"


def build(settings: Settings, log: Log) -> list[RunRecord]:
    """Make the web root whole from the archive, and give the archive's records, which are in commit order."""
    from deepspeech_wer.results import archive
    from deepspeech_wer.site.build import build as build_site

    records, troubles = archive.load(settings.dataroot)
    for trouble in troubles:
        log.step(trouble)
    address = public(settings.require_repository()) if settings.has_repository else ""
    name = PurePosixPath(urlsplit(address).path).name.removesuffix(".git")
    title = settings.site_title or (f"Word error rate of {name}" if name else "Word error rate")
    page = build_site(records, settings.web_root, title=title, repository=address)
    log.step(f"built {page} from {len(records)} runs")
    return records


def require_website(settings: Settings, is_needed: bool = False) -> None:
    """Raises SettingsError where something is missing that it takes to publish.

    To name no server at all is fine, unless publishing ``is_needed``.
    """
    missing = settings.missing_website_variables()
    if missing and (settings.is_publishing or is_needed):
        raise SettingsError(
            f"the site cannot be published: {' and '.join(missing)} not set",
            "set what is missing; without ds_website_server_fqdn the site is built on this machine only",
        )
    if settings.is_publishing:
        for name, file in (("privkey", settings.website_privkey), ("known_hosts", settings.website_known_hosts)):
            if file is not None and not file.exists():
                raise SettingsError(f"ds_website_{name} names {file}, which is not there", "name a file that is")


def show(settings: Settings, journal: Journal, notifier: Notifier, log: Log) -> bool:
    """Build the page, notify of what is news, publish it and note that. False where it could not be published."""
    from deepspeech_wer import news

    records = build(settings, log)
    pending = set(journal.pending(settings.seeds))
    over = set(journal.unpublished(settings.seeds)) - pending
    news.tell(settings, notifier, records, over, pending)
    try:
        publish(settings, log)
    except PublishError as error:
        log.step(f"not published: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        notifier.publish_failed(error)
        return False
    notifier.publish_recovered()
    journal.note_published(settings.seeds)
    return True


def last_trouble(settings: Settings) -> dict[str, str] | None:
    """Why the site could not be published when that was last tried: time, message, hint; None where it was."""
    try:
        value = json.loads((settings.dataroot / TROUBLE).read_text())
        return {name: str(value[name]) for name in ("time", "message", "hint")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def target_of(settings: Settings) -> Target:
    """Where the site is published to, and as whom."""
    from deepspeech_wer.publish.target import Target

    return Target(
        host=settings.website_server_fqdn,
        port=settings.website_server_port,
        username=settings.website_username,
        root=settings.website_server_root,
        privkey=settings.website_privkey,
        passphrase_command=settings.website_privkey_passphrase_command or None,
        known_hosts=settings.website_known_hosts,
        timeout=settings.website_timeout,
    )


def publish(settings: Settings, log: Log) -> None:
    """Publish the web root, where a server is named. Raises SettingsError and PublishError."""
    require_website(settings)
    trouble = settings.dataroot / TROUBLE
    if not settings.is_publishing:
        log.step(f"not published, since ds_website_server_fqdn is not set: the site is in {settings.web_root}")
        trouble.unlink(missing_ok=True)
        return
    from datetime import UTC, datetime

    from deepspeech_wer.publish.release import publish as publish_release

    target = target_of(settings)
    bar = log.bar("upload", "B", scale=True)
    try:
        release = publish_release(
            settings.web_root, target, progress=lambda path, done, total: bar.show(done, total, path)
        )
    except PublishError as error:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(trouble, json.dumps({"time": now, "message": error.message, "hint": error.hint}) + "\n")
        raise
    finally:
        bar.close()
    trouble.unlink(missing_ok=True)
    for sentence in release.left_out:
        log.step(f"left out: {sentence}")
    log.step(
        f"published {release.files} files, {release.bytes / 1e6:.1f} MB, in {release.seconds:.1f} s "
        f"to {target.host}:{target.port}, folder {target.root}"
    )
