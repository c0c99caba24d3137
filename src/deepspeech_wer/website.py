"""The website as the settings name it: the place that it is published to, how, and what is missing for that.

What is published is told in one line, ``published release 20261121T123456Z-3fa9c2d1 (atomic): 3 of 45 files sent,
0.2 MB in 0.8 s, 42 unchanged, 1 removed, to wer@www.example.org:22, folder www/wer``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer.errors import PublishError, SettingsError
from deepspeech_wer.terminal import printable

if TYPE_CHECKING:
    from deepspeech_wer.config import Settings
    from deepspeech_wer.log import Log
    from deepspeech_wer.publish.release import Manner, Release
    from deepspeech_wer.publish.rollback import Rollback
    from deepspeech_wer.publish.target import Place, Target

#: How a release is put in place, to the user.
WAYS = {"atomic": "by one switch", "plain": "file by file"}


def missing(settings: Settings) -> list[str]:
    """The variables without which nothing can be published, and that are not set.

    The login may stand in ``~/.ssh/config``, which is read only where it is not set: an idle tick has no time for that.
    Raises SettingsError where it cannot be read.
    """
    if settings.website_folder:
        return []
    needed = {
        "ds_website_server_fqdn": settings.website_server_fqdn,
        "ds_website_username": settings.website_username
        or (settings.website_server_fqdn and _server(settings).username),
        "ds_website_server_root": settings.website_server_root,
    }
    return [name for name, value in needed.items() if not value]


def require(settings: Settings, is_needed: bool = False) -> None:
    """Raises SettingsError where something is missing that it takes to publish, or wrong.

    To name no place at all is fine, unless publishing ``is_needed``.
    """
    if settings.website_folder and settings.website_server_fqdn:
        raise SettingsError(
            f"two places to publish to are named: the folder {settings.website_folder} (ds_website_folder) and the "
            f"server {settings.website_server_fqdn} (ds_website_server_fqdn)",
            "choose one: name only one of them in the settings",
        )
    if not (settings.is_publishing or is_needed):
        return
    for name in ("privkey", "known_hosts", "ssh_config"):
        file: Path | None = getattr(settings, f"website_{name}")
        if file is not None and not settings.website_folder and not file.exists():
            how = "to have it made: deepspeech-wer trust-host" if name == "known_hosts" else "name a file that is"
            raise SettingsError(f"ds_website_{name} names {file}, which is not there", how)
    if absent := missing(settings):
        names = " and ".join(filter(None, (", ".join(absent[:-1]), absent[-1])))
        if settings.website_server_fqdn:
            login = " (the login may stand in ~/.ssh/config)" if "ds_website_username" in absent else ""
            hint = f"set what is missing{login}; without ds_website_server_fqdn the site is built on this machine only"
        else:
            hint = "set them to publish to a server, or ds_website_folder for a folder of this machine"
        raise SettingsError(f"the site cannot be published: {names} not set", hint)


def place_of(settings: Settings) -> Place:
    """Where the site is published to, and as whom. Raises SettingsError as :func:`require` does."""
    require(settings, is_needed=True)
    if settings.website_folder:
        from deepspeech_wer.publish.target import Folder

        return Folder(settings.website_folder, settings.website_time_limit)
    return _server(settings)


def server_of(settings: Settings) -> Target:
    """The server alone, as far as it takes to ask for its host key. Raises SettingsError where none is named."""
    if not settings.website_server_fqdn:
        raise SettingsError(
            "no server is named: ds_website_server_fqdn not set", "set it to the server that the site is published to"
        )
    return _server(settings)


def _server(settings: Settings) -> Target:
    """The server; what is not set of the port and the login is as ``~/.ssh/config`` has it. Raises SettingsError."""
    from deepspeech_wer.publish.target import Target

    server = Target(
        host=settings.website_server_fqdn,
        port=settings.website_server_port,
        username=settings.website_username,
        root=settings.website_server_root,
        privkey=settings.website_privkey,
        passphrase_command=settings.website_privkey_passphrase_command or None,
        known_hosts=settings.website_known_hosts,
        ssh_config=settings.website_ssh_config,
        timeout=settings.website_timeout,
        time_limit=settings.website_time_limit,
        compression=settings.website_compression,
    )
    if server.port and server.username:
        return server
    from deepspeech_wer.publish.ssh.config import resolve

    try:
        return resolve(server)
    except PublishError as error:
        raise SettingsError(error.message, error.hint) from error


def manner_of(settings: Settings, verify: bool = False) -> Manner:
    """How it is published; with ``verify`` what is there is read back and compared."""
    from deepspeech_wer.publish.release import Manner

    return Manner(
        way=settings.website_release, keep=settings.website_keep, retries=settings.website_retries, verify=verify
    )


def publish(settings: Settings, web_root: Path, log: Log, *, page: str = "index.html", verify: bool = False) -> Release:
    """Publish ``page`` of ``web_root``, and tell of it. Raises SettingsError and PublishError."""
    from deepspeech_wer.publish.release import publish as publish_release

    place = place_of(settings)
    bar = log.bar("upload", "B", scale=True)
    try:
        release = publish_release(
            web_root,
            place,
            page=page,
            manner=manner_of(settings, verify),
            progress=lambda path, done, total: bar.show(done, total, path),
            tell=log.step,
        )
    finally:
        bar.close()
    for sentence in _remarks(release):
        log.step(sentence)
    log.step(summary(release, place))
    return release


def preview(settings: Settings, web_root: Path, *, page: str = "index.html", verify: bool = False) -> None:
    """Print what publishing ``page`` of ``web_root`` would send and remove: a line a file, then the sum.

    Nothing is changed, neither there nor here. Raises SettingsError and PublishError.
    """
    from deepspeech_wer.publish.release import preview as preview_release

    place = place_of(settings)
    release = preview_release(web_root, place, page=page, manner=manner_of(settings, verify))
    for path, size in release.sent:
        print(f"send   {size:>12}  {printable(path)}")
    for path in release.removed:
        print(f"remove {'':>12}  {printable(path)}")
    for sentence in _remarks(release):
        print(printable(sentence))
    print(printable(summary(release, place, is_done=False)))


def summary(release: Release, place: Place, is_done: bool = True) -> str:
    """What was published, or would be, in one line."""
    where = f"to {where_of(place)}"
    if not release.is_new:
        return f"nothing to publish {where}: what is there is up to date"
    size = f"{release.bytes / 1e6:.1f} MB"
    counts = f"{release.carried} unchanged, {len(release.removed)} removed"
    files = f"{len(release.sent)} of {release.files} files"
    if not is_done:
        return f"would publish {where}, {WAYS[release.way]} ({release.way}): {files} to send, {size}, {counts}"
    return (
        f"published release {release.id} ({release.way}): {files} sent, {size} in {release.seconds:.1f} s, {counts}, "
        f"{where}"
    )


def _remarks(release: Release) -> list[str]:
    return [*(f"left out: {sentence}" for sentence in release.left_out), *release.notes]


def rollback(settings: Settings, log: Log) -> Rollback:
    """Put the release before the present one in its place, and tell of it. Raises SettingsError and PublishError."""
    from deepspeech_wer.publish.rollback import rollback as roll_back

    place = place_of(settings)
    done = roll_back(place, manner=manner_of(settings), tell=log.step)
    since = f", published {done.published}" if done.published else ""
    log.step(f"rolled back from release {done.before} to {done.release}{since}, at {where_of(place)}")
    log.step("the archive is as it was: the next publish, or the next landing, makes a new release of all of it")
    return done


def where_of(place: Place) -> str:
    """The place to the user: ``wer@www.example.org:22, folder www/wer``."""
    from deepspeech_wer.publish.target import Folder

    if isinstance(place, Folder):
        return f"the folder {place.root}"
    return f"{place}, folder {place.root}"
