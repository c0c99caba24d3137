from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deepspeech_wer import schedule
from deepspeech_wer.errors import SettingsError, TrackerError
from deepspeech_wer.schedule import crontab, timer

#: A fake of crontab(1): the real one needs root's spool, and would change the crontab of whoever tests.
CRONTAB = """#!/bin/sh
table="$FAKE_CRONTAB"
[ -f "$table.refused" ] && { echo "You (ada) are not allowed to use this program (crontab)" >&2; exit 1; }
case "$1" in
-l) [ -f "$table" ] || { echo "no crontab for ada" >&2; exit 1; }; cat "$table" ;;
-) cat > "$table.new"
   grep -q BAD "$table.new" && { echo "errors in crontab file, can't install." >&2; exit 1; }
   echo written >> "$table.log"; mv "$table.new" "$table" ;;
*) exit 2 ;;
esac
"""

#: A fake of systemctl(1): the real one needs a systemd that runs.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$FAKE_SYSTEMCTL"
[ -f "$FAKE_SYSTEMCTL.down" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
[ "$2" = show ] && cat "$FAKE_SYSTEMCTL.show"
exit 0
"""


@dataclass
class Machine:
    """The fakes' files."""

    home: Path
    table: Path
    systemctl: Path
    programs: Path

    @property
    def writes(self) -> int:
        log = Path(f"{self.table}.log")
        return len(log.read_text().splitlines()) if log.exists() else 0

    def units(self) -> Path:
        return self.home / ".config" / "systemd" / "user"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    for name, text in (("crontab", CRONTAB), ("systemctl", SYSTEMCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in list(os.environ):
        if name.startswith(("ds_", "XDG_")) or name.endswith(("_proxy", "_PROXY")) or name == "SSH_AUTH_SOCK":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_CRONTAB", str(tmp_path / "table"))
    monkeypatch.setenv("FAKE_SYSTEMCTL", str(tmp_path / "systemctl"))
    monkeypatch.setattr("xdg.BaseDirectory.xdg_config_home", str(home / ".config"))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(crontab, "is_daemon_seen", lambda: True)
    return Machine(home, tmp_path / "table", tmp_path / "systemctl", programs)


def as_cron_runs_it(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """What cron does with a line: five fields, the backslash of each escaped % taken away, the rest to /bin/sh."""
    command = line.split(None, 5)[5]
    text, escaped = "", False
    for c in command:
        if escaped and c == "%":
            text = text[:-1]
        elif c == "%":
            break
        escaped = c == "\\" and not escaped
        text += c
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    return subprocess.run(["/bin/sh", "-c", text], env=environment, cwd=home, capture_output=True, text=True)


def test_the_entry_is_added_after_what_is_there_and_not_twice(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    others = b"MAILTO=ada@example.org\n# m\xe9nage\n\n0 4 * * *\tbackup\xff  \n5 5 * * 1 last line without an end"
    machine.table.write_bytes(others)
    assert schedule.install_cron(None) == 0
    wanted = others + f"\n{crontab.MARK}\n{crontab.entry(None)}\n".encode()
    assert machine.table.read_bytes() == wanted
    assert "added to the crontab" in capsys.readouterr().out
    assert schedule.install_cron(None) == 0
    assert machine.table.read_bytes() == wanted
    assert machine.writes == 1
    assert "already" in capsys.readouterr().out


def test_an_older_entry_is_replaced_in_its_place_and_taken_out_again(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = b"1 1 * * * first\n", b"2 2 * * * last\n"
    old = f"{crontab.MARK} of an older version\n#*/30 * * * * /old/bin/deepspeech-wer run 2>>/old.log\n".encode()
    machine.table.write_bytes(before + old + after)
    file = tmp_path / "wer.toml"
    file.write_text("")
    schedule.install_cron(file)
    assert machine.table.read_bytes() == before + f"{crontab.MARK}\n{crontab.entry(file)}\n".encode() + after
    assert f"--config {file}" in crontab.entry(file)
    assert "replaced" in capsys.readouterr().out
    schedule.install_cron(None, remove=True, print_only=True)
    assert machine.writes == 1
    schedule.install_cron(None, remove=True)
    assert machine.table.read_bytes() == before + after
    capsys.readouterr()
    schedule.install_cron(None, remove=True)
    assert machine.writes == 2
    assert "no entry" in capsys.readouterr().out


def test_a_mark_whose_line_is_gone_does_not_take_its_neighbour_along(machine: Machine) -> None:
    machine.table.write_text(f"{crontab.MARK}\n0 4 * * * backup\n")
    schedule.install_cron(None)
    assert machine.table.read_text() == f"{crontab.MARK}\n{crontab.entry(None)}\n0 4 * * * backup\n"


def test_print_changes_nothing_and_needs_no_cron(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    (machine.programs / "crontab").unlink()
    schedule.install_cron(None, print_only=True)
    assert capsys.readouterr().out == f"{crontab.MARK}\n{crontab.entry(None)}\n"
    with pytest.raises(TrackerError, match="no program crontab") as caught:
        schedule.install_cron(None)
    assert "--systemd" in caught.value.hint


def test_a_crontab_that_cannot_be_read_is_not_written_over(machine: Machine) -> None:
    machine.table.write_text("0 4 * * * backup\n")
    Path(f"{machine.table}.refused").touch()
    with pytest.raises(TrackerError, match="not allowed to use this program"):
        schedule.install_cron(None)
    assert machine.table.read_text() == "0 4 * * * backup\n"
    assert schedule.next_run(datetime.now(UTC)) is None


def test_a_crontab_that_is_refused_is_told(machine: Machine) -> None:
    machine.table.write_text("BAD\n")
    with pytest.raises(TrackerError, match="errors in crontab file"):
        schedule.install_cron(None)
    assert machine.table.read_text() == "BAD\n"


@pytest.mark.parametrize(
    "name", ["plain", "a b", "100%", "%", "it's", 'say "hi"', "back\\slash", "a\\%b", "$HOME", "a;b"]
)
def test_any_path_comes_through_cron(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    script = folder / "deepspeech-wer"
    script.write_text('#!/bin/sh\nprintf "%s|" "$@" "$XDG_DATA_HOME"\ngit\necho trouble >&2\n')
    git = folder / "programs" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\necho this git\n")
    file = folder / "c.toml"
    file.write_text("")
    for each in (script, git):
        each.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("HOME", str(home))
    found = {"git": str(git)}
    real = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda program, path=None: real(program, path=path) if program != "git" else
        (None if path else found["git"])
    )  # fmt: skip
    schedule.install_cron(file)
    line = machine.table.read_text().splitlines()[1]
    done = as_cron_runs_it(line, home)
    assert done.stdout == f"run|--config|{file}|{folder / 'data'}|this git\n"
    assert done.stderr == ""
    assert (home / ".deepspeech_wer.cron.log").read_text() == "trouble\n"
    (starter,) = schedule.planned(datetime.now(UTC))
    assert starter.program == script


def test_without_its_script_the_module_is_called(machine: Machine) -> None:
    assert f"{sys.executable} -P -m deepspeech_wer run 2>>" in crontab.entry(None)
    schedule.install_cron(None)
    assert [starter.program for starter in schedule.planned(datetime.now(UTC))] == [Path(sys.executable)]


def test_a_line_end_in_a_path_is_refused(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "a\nb.toml"
    file.write_text("")
    for systemd in (False, True):
        with pytest.raises(SettingsError, match="cannot be written"):
            schedule.install_cron(file, systemd=systemd)
    with pytest.raises(SettingsError, match="no settings file"):
        schedule.install_cron(tmp_path / "absent.toml")


def test_what_cron_will_not_have_is_named_and_not_shown(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_github_token", "geheim")
    monkeypatch.setenv("ds_epochs", "3")
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:geheim@proxy")
    schedule.install_cron(None)
    shown = capsys.readouterr()
    assert "ds_epochs, ds_github_token" in shown.err
    assert str(machine.home / ".config" / "deepspeech_wer" / "config.toml") in shown.err
    assert "HTTPS_PROXY" in shown.err
    assert "geheim" not in shown.out + shown.err + machine.table.read_text()


def test_another_line_that_starts_ticks_is_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.table.write_text("*/5 * * * * $HOME/.venv/bin/deepspeech-wer run\n")
    schedule.install_cron(None)
    assert "another line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*/15 * * * * /x/deepspeech-wer run", "2026-11-21T02:45:00+00:00"),
        ("0 4 * * * cd /x && python3 -m deepspeech_wer run", "2026-11-21T04:00:00+00:00"),
        ("7 * * * * curl https://example.org/bin/bootstrap.py | python3 -", "2026-11-21T03:07:00+00:00"),
        ("#*/15 * * * * /x/deepspeech-wer run", None),
        ("*/15 * * * * /x/deepspeech-wer status", None),
        ("@hourly /x/deepspeech-wer run", None),
    ],
)
def test_when_cron_starts_the_next_tick(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, line: str, expected: str | None
) -> None:
    machine.table.write_text(f"* * * * * something else\n{line}\n")
    when = schedule.next_run(datetime(2026, 11, 21, 2, 30, 0, 5000, tzinfo=UTC).astimezone())
    assert (when and when.isoformat()) == expected


def test_the_units_are_written_once_and_the_timer_is_started(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule.install_cron(None, systemd=True)
    assert machine.systemctl.read_text() == "--user daemon-reload\n--user enable --now deepspeech-wer.timer\n"
    times = {path: path.stat().st_mtime_ns for path in machine.units().iterdir()}
    assert {path.name for path in times} == {timer.SERVICE, timer.TIMER}
    schedule.install_cron(None, systemd=True)
    assert times == {path: path.stat().st_mtime_ns for path in machine.units().iterdir()}
    assert "is there already" in capsys.readouterr().out
    schedule.install_cron(None, systemd=True, remove=True)
    assert list(machine.units().iterdir()) == []
    assert "disable --now deepspeech-wer.timer\n--user daemon-reload" in machine.systemctl.read_text()
    schedule.install_cron(None, systemd=True, remove=True)
    assert "no timer of ours" in capsys.readouterr().out


def test_where_no_systemd_runs_the_units_are_written_and_the_commands_told(machine: Machine) -> None:
    Path(f"{machine.systemctl}.down").touch()
    with pytest.raises(TrackerError, match="not started: Failed to connect") as caught:
        schedule.install_cron(None, systemd=True)
    assert "systemctl --user daemon-reload && systemctl --user enable --now deepspeech-wer.timer" in caught.value.hint
    assert (machine.units() / timer.TIMER).is_file()
    with pytest.raises(TrackerError, match="was not told"):
        schedule.install_cron(None, systemd=True, remove=True)
    assert list(machine.units().iterdir()) == []


def test_printed_units_change_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    schedule.install_cron(None, systemd=True, print_only=True)
    assert not machine.units().exists()
    assert "OnCalendar=*:0/15" in capsys.readouterr().out


def test_what_starts_ticks_twice_is_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    schedule.install_cron(None)
    schedule.install_cron(None, systemd=True)
    assert "both an entry in the crontab and a timer" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plain", "a b", "100%~", "$HOME and ${x}", 'say "hi"', "back\\slash", "it's"])
def test_systemd_takes_the_units(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    analyze = shutil.which("systemd-analyze")
    folder = tmp_path / "etc" / name
    folder.mkdir(parents=True)
    (folder / "c.toml").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    script = tmp_path / "opt" / "100% $" / "deepspeech-wer"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    with pytest.raises(SettingsError, match="systemd cannot start"):
        timer.units(None)
    script = script.rename(tmp_path / "opt" / "deepspeech-wer")
    monkeypatch.setattr(sys, "argv", [str(script)])
    units = timer.units(folder / "c.toml")
    assert "TimeoutStartSec=infinity" in units[timer.SERVICE]
    if "%" in name:
        assert "/100%%~/c.toml" in units[timer.SERVICE]  # a specifier that systemd does not know it would leave alone
    if "$" in name:
        assert "/$$HOME and $${x}/c.toml" in units[timer.SERVICE]  # in a command
        assert '/$HOME and ${x}"\n' in units[timer.SERVICE]  # in the environment
    if analyze is None:
        pytest.skip("systemd-analyze is missing: install the system package systemd")
    for file, text in units.items():
        (tmp_path / file).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--user", str(tmp_path / timer.TIMER), str(tmp_path / timer.SERVICE)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("NextElapseUSecRealtime=Sat 2026-11-21 02:45:00 UTC\nActiveState=active\n", "2026-11-21T02:45:00+00:00"),
        ("NextElapseUSecRealtime=\nActiveState=active\n", None),
        ("NextElapseUSecRealtime=Sat 2026-11-21 02:45:00 UTC\nActiveState=inactive\n", None),
    ],
)
def test_when_the_timer_starts_the_next_tick(machine: Machine, shown: str, expected: str | None) -> None:
    Path(f"{machine.systemctl}.show").write_text(shown)
    assert schedule.next_run(datetime.now(UTC)) is None  # it is not installed
    machine.units().mkdir(parents=True)
    (machine.units() / timer.TIMER).write_text("")
    when = schedule.next_run(datetime.now(UTC))
    assert (when and when.isoformat()) == expected
