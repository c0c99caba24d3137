"""The page: built here from everything that is archived, and published to the server."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deepspeech_wer import website
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import PublishError
from deepspeech_wer.files import read_regular, write_atomically
from deepspeech_wer.landings.remote import public
from deepspeech_wer.log import Log

if TYPE_CHECKING:
    from deepspeech_wer.journal import Journal
    from deepspeech_wer.notify import Notifier
    from deepspeech_wer.results.archive import RunRecord

#: In the data root: why the site could not be published the last time; there as long as that lasts.
TROUBLE = "publish-trouble.json"

#: In the data root: which release was gone back to; there until something is published again.
GONE_BACK = "gone-back.json"


def build(settings: Settings, log: Log) -> list[RunRecord]:
    """Make the web root whole from the archive, and give the archive's records, which are in commit order."""
    records = _build(settings, settings.web_root, log)
    log.step(f"built the site in {settings.web_root} from {len(records)} run{'s' * (len(records) != 1)}")
    return records


def _build(settings: Settings, web_root: Path, log: Log) -> list[RunRecord]:
    from deepspeech_wer.results import archive
    from deepspeech_wer.site.build import build as build_site

    records, troubles = archive.load(settings.dataroot)
    for trouble in troubles:
        log.step(trouble)
    address = public(settings.require_repository()) if settings.has_repository else ""
    name = PurePosixPath(urlsplit(address).path).name.removesuffix(".git")
    title = settings.site_title or (f"Word error rate of {name}" if name else "Word error rate")
    build_site(records, web_root, title=title, repository=address)
    return records


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


def rollback(settings: Settings, log: Log) -> None:
    """Show the release before the present one, and remember that. Raises SettingsError and PublishError."""
    from datetime import UTC, datetime

    done = website.rollback(settings, log)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = {"time": now, "release": done.release, "published": done.published}
    write_atomically(settings.dataroot / GONE_BACK, json.dumps(note) + "\n")


def gone_back(settings: Settings) -> dict[str, str] | None:
    """The release that readers are shown since it was gone back to: time, release, published; None for the newest."""
    try:
        value = json.loads((settings.dataroot / GONE_BACK).read_text())
        return {name: str(value[name]) for name in ("time", "release", "published")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def publish(settings: Settings, log: Log, verify: bool = False) -> None:
    """Publish the web root, where a place is named. Raises SettingsError and PublishError."""
    website.require(settings)
    trouble = settings.dataroot / TROUBLE
    if not settings.is_publishing:
        log.step(f"not published, since ds_website_server_fqdn is not set: the site is in {settings.web_root}")
        trouble.unlink(missing_ok=True)
        return
    try:
        website.publish(settings, settings.web_root, log, verify=verify)
    except PublishError as error:
        from datetime import UTC, datetime

        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(trouble, json.dumps({"time": now, "message": error.message, "hint": error.hint}) + "\n")
        raise
    trouble.unlink(missing_ok=True)
    (settings.dataroot / GONE_BACK).unlink(missing_ok=True)


def preview(settings: Settings, verify: bool = False) -> None:
    """Print what publishing would send, of a site that is built from the archive for that alone.

    Nothing stays changed, neither there nor here. Raises TrackerError.
    """
    website.require(settings, is_needed=True)
    from tempfile import TemporaryDirectory

    from deepspeech_wer.publish.assets import SERVER_SETTINGS

    with TemporaryDirectory(prefix="deepspeech-wer-") as folder:
        web_root = Path(folder) / "www"
        _build(settings, web_root, Log())
        with suppress(OSError):  # the user's own, where there is one, travels with the page
            (web_root / SERVER_SETTINGS).write_bytes(read_regular(settings.web_root / SERVER_SETTINGS))
        website.preview(settings, web_root, verify=verify)
