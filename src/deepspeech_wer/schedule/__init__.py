"""What starts a tick every 15 minutes: an entry in the user's crontab, or a systemd timer of the user's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from deepspeech_wer import config
from deepspeech_wer.errors import EXIT_DONE, SettingsError
from deepspeech_wer.schedule import crontab, timer
from deepspeech_wer.schedule.start import Starter, lost_variables, unknown_settings, warn


def install_cron(
    settings_file: Path | None, *, systemd: bool = False, print_only: bool = False, remove: bool = False
) -> int:
    """Install the crontab's entry, or the timer with ``systemd``; ``remove`` takes it out again.

    With ``print_only`` nothing is changed. Installing twice changes nothing, and what is not ours in the crontab stays
    as it is. Gives the exit code of the command. Raises SettingsError and TrackerError.
    """
    if settings_file is not None and not settings_file.is_file():
        raise SettingsError(f"there is no settings file {settings_file}", "name another with --config")
    way = timer if systemd else crontab
    if remove:
        way.remove(print_only)
        return EXIT_DONE
    way.install(settings_file, print_only)
    if not print_only and crontab.planned(datetime.now().astimezone()) and timer.is_installed():
        warn("both an entry in the crontab and a timer start ticks; take one out: install-cron [--systemd] --remove")
    if names := unknown_settings():
        warn(
            f"set in this shell, and not in a tick that starts by itself: {', '.join(names)}; put what the tracker "
            f"needs into {settings_file or config.config_file()}, what the training needs into its table [job]"
        )
    if names := lost_variables():
        warn(f"set in this shell, and not in a tick that starts by itself: {', '.join(names)}; set there what it needs")
    return EXIT_DONE


def planned(now: datetime) -> list[Starter]:
    """All that starts ticks by itself: lines of the user's crontab, ours or not, and the timer."""
    return [*crontab.planned(now), *timer.planned()]


def next_run(now: datetime) -> datetime | None:
    """When cron or the timer starts the next tick after ``now`` (with a zone), in UTC; None where nobody can tell."""
    return min((each.next for each in planned(now) if each.next is not None), default=None)
