"""Notifications through real commands and a real web server on loopback; sendmail is a fake, and so is GitHub's API."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import site_records
from deepspeech_wer import config
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EnvironmentFailure, PublishError, RepositoryError
from deepspeech_wer.log import Log
from deepspeech_wer.notify import FAILED_TICKS, Notifier, channels
from deepspeech_wer.notify.memory import MOST_CAUSES, MOST_TRIES
from deepspeech_wer.results.landed import figures_of

SECRET = "T024-xoxb-9f8e7d"

#: What somebody could write into a commit's subject.
HOSTILE = (
    "Fix\r\nBcc: everybody@example.org\n\nbody\0 \x1b[31mred\x1b[0m \u202eevil <!channel> @channel é \ud800"
    + "x" * 100_000
)


class Hook:
    """A server that takes posts; ``answers`` are the statuses it gives in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers = [200]
        self.location = ""
        self.raw: list[bytes] = []
        self.posts: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.hold = threading.Event()
        self.is_slow = False
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.requests.append((self.command, self.path))
                hook.headers.append(dict(self.headers))
                hook.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if hook.is_slow:
                    hook.hold.wait(30)
                    return
                if hook.raw:
                    self.wfile.write(hook.raw.pop(0))
                    return
                self.send_response(hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0])
                if hook.location:
                    self.send_header("Location", hook.location)
                    hook.location = ""
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "RETRY_WAITS", (0.0, 0.0))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def settings_for(tmp_path: Path, **values: Any) -> Settings:
    values.setdefault("repository", "https://ada:hunter22@git.example.org/acme/speech.git")
    return Settings(dataroot=tmp_path / "data", **values)


def notifier(tmp_path: Path, **values: Any) -> Notifier:
    """One as each tick makes it."""
    return Notifier(settings_for(tmp_path, **values), Log(tmp_path / "log"))


def logged(tmp_path: Path) -> str:
    path = tmp_path / "log"
    return path.read_text() if path.exists() else ""


def saving(folder: Path) -> str:
    """A command that keeps each message as a file of its own."""
    folder.mkdir(exist_ok=True)
    return f"cat > $(mktemp -p '{folder}')"


def saved(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.iterdir()]


def test_the_webhook_gets_what_a_chat_can_show(tmp_path: Path, hook: Hook) -> None:
    told = notifier(tmp_path, notify_webhook=hook.address)
    told.tell("failure", "landing:1", "It failed <!channel>", "Why: a & b\n@channel [x](http://evil)", sha="1" * 40)
    (post,) = hook.posts
    assert set(post) == {"kind", "cause", "subject", "text", "sha", "url", "repository", "host", "time"}
    assert (post["kind"], post["cause"], post["sha"]) == ("failure", "landing:1", "1" * 40)
    assert post["subject"] == "It failed <!channel>"
    assert post["text"] == ("It failed &lt;!channel&gt;\nWhy: a &amp; b\n@\u200bchannel [x]\u200b(http://evil)"), (
        "a chat calls nobody and shows no disguised link"
    )
    assert post["repository"] == "https://git.example.org/acme/speech.git"
    assert post["time"].endswith("+00:00")
    assert hook.headers[0]["Content-Type"] == "application/json"
    assert "notified by ds_notify_webhook: It failed" in logged(tmp_path)


@pytest.mark.parametrize("first", [500, 503, 429])
def test_a_server_that_is_out_of_order_for_a_moment_is_asked_again(tmp_path: Path, hook: Hook, first: int) -> None:
    hook.answers = [first, first, 204]
    notifier(tmp_path, notify_webhook=hook.address).tell("failure", "a", "S", "T")
    assert len(hook.posts) == 3
    assert "not notified" not in logged(tmp_path)


def test_a_refusal_is_not_repeated_and_the_address_is_not_told(
    tmp_path: Path, hook: Hook, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.answers = [403]
    notifier(tmp_path, notify_webhook=hook.address).tell("failure", "a", "S", "T")
    assert len(hook.posts) == 1
    assert "not notified by ds_notify_webhook: the server answers with HTTP status 403; see whether" in logged(tmp_path)
    assert SECRET not in logged(tmp_path) + "".join(capfd.readouterr())


def test_what_no_channel_took_is_tried_at_later_ticks_five_times_in_all(tmp_path: Path, hook: Hook) -> None:
    hook.answers = [403]
    for number in range(MOST_TRIES + 2):
        tick = notifier(tmp_path, notify_webhook=hook.address)
        tick.retry()
        tick.tell("failure", "a", "S", "T")
        tick.tell("failure", "a", "S", "T")
        assert len(hook.posts) == min(number + 1, MOST_TRIES), "once a tick"
    assert not (tmp_path / "data" / "unsent.json").exists()


def test_what_no_channel_took_is_sent_once_by_a_later_tick(tmp_path: Path, hook: Hook) -> None:
    hook.answers = [500, 500, 500, 200]
    notifier(tmp_path, notify_webhook=hook.address).tell("failure", "a", "The first", "T")
    assert (tmp_path / "data" / "unsent.json").exists()
    for _ in range(3):
        notifier(tmp_path, notify_webhook=hook.address).retry()
    assert [post["subject"] for post in hook.posts] == ["The first"] * 4
    assert not (tmp_path / "data" / "unsent.json").exists()


def test_one_channel_that_took_it_is_enough(tmp_path: Path, hook: Hook) -> None:
    hook.answers = [403]
    for _ in range(2):
        tick = notifier(tmp_path, notify_webhook=hook.address, notify_command=saving(tmp_path / "saved"))
        tick.retry()
        tick.tell("failure", "a", "S", "T")
    assert len(hook.posts) == len(saved(tmp_path / "saved")) == 1


def test_a_server_that_gives_no_answer(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(channels, "ANSWER_SECONDS", 0.1)
    hook.is_slow = True
    notifier(tmp_path, notify_webhook=hook.address).tell("failure", "a", "S", "T")
    assert len(hook.posts) == 3
    assert "gave no answer" in logged(tmp_path)
    assert SECRET not in logged(tmp_path) + "".join(capfd.readouterr())


def test_a_server_that_never_comes_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "WEBHOOK_SECONDS", 0.5)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not done.wait(0.05):
                    connection.sendall(b"X: y\r\n"[:1])

        threading.Thread(target=drip, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}"
        notifier(tmp_path, notify_webhook=address).tell("failure", "a", "S", "T")
        done.set()
    assert "it did not end within" in logged(tmp_path)


def test_a_redirect_is_followed_on_the_same_server_only(tmp_path: Path, hook: Hook) -> None:
    other = Hook()
    try:
        hook.answers, hook.location = [307], other.address
        notifier(tmp_path, notify_webhook=hook.address).tell("failure", "a", "S", "T")
        assert other.requests == []
        assert "redirects to another server" in logged(tmp_path)
        assert SECRET not in logged(tmp_path)
        hook.answers, hook.location = [301, 200], f"/services/{SECRET}/"
        notifier(tmp_path, notify_webhook=hook.address).tell("failure", "b", "S", "T")
        assert hook.requests[-1] == ("POST", f"/services/{SECRET}/")
        assert hook.posts[-1]["cause"] == "b"
        hook.answers, hook.location = [302], ""
        notifier(tmp_path, notify_webhook=hook.address).tell("failure", "c", "S", "T")
        assert "redirects again and again" in logged(tmp_path)
    finally:
        other.close()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}/" + SECRET, "http://[" + SECRET, "http://127.0.0.1:99999/" + SECRET]
)
def test_nobody_there(tmp_path: Path, capfd: pytest.CaptureFixture[str], address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there any more
    notifier(tmp_path, notify_webhook=address.format(port=port)).tell("failure", "a", "S", "T")
    assert "not notified by ds_notify_webhook: " in logged(tmp_path)
    assert SECRET not in logged(tmp_path) + "".join(capfd.readouterr())


def test_an_answer_that_is_no_http(tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    """The libraries below warn of such headers, and name the address as they do."""
    hook.raw = [b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n"]
    notifier(tmp_path, notify_webhook=hook.address).tell("failure", "a", "S", "T")
    hook.raw = [b"\x16\x03\x01 nonsense \r\n\r\n"] * 3
    notifier(tmp_path, notify_webhook=hook.address).tell("failure", "b", "S", "T")
    assert len(hook.posts) == 4
    assert SECRET not in logged(tmp_path) + caplog.text


def test_the_command_gets_json_and_two_variables(tmp_path: Path) -> None:
    command = f'cat > {tmp_path}/json; printf \'%s|%s\' "$ds_notify_kind" "$ds_notify_subject" > {tmp_path}/variables'
    notifier(tmp_path, notify_command=command).tell("regression", "a", "WER +2.1", "One\nTwo", test_wer=0.194)
    message = json.loads((tmp_path / "json").read_text())
    assert (message["kind"], message["subject"], message["text"]) == ("regression", "WER +2.1", "One\nTwo")
    assert message["test_wer"] == 0.194
    assert (tmp_path / "variables").read_text() == "regression|WER +2.1"
    assert (tmp_path / "json").read_text().endswith("}\n"), "a line, which a shell can read"


def test_a_hostile_subject_does_no_harm(tmp_path: Path, hook: Hook, fake_sendmail: Path) -> None:
    command = f"cat > {tmp_path}/json; printf '%s' \"$ds_notify_subject\" > {tmp_path}/subject"
    told = notifier(tmp_path, notify_command=command, notify_webhook=hook.address, notify_mail=("team@example.org",))
    record = site_records.failed(tmp_path, 4, why=HOSTILE, subject=HOSTILE, author=HOSTILE, url="javascript:alert(1)")
    told.landing_failed(figures_of([record])[0])
    message = json.loads((tmp_path / "json").read_text())
    subject = (tmp_path / "subject").read_text()
    assert message["subject"] == subject == hook.posts[0]["subject"]
    assert subject.isprintable()
    assert len(subject) <= 160
    assert len(message["text"]) < 2500
    assert message["url"] == ""
    lines = [line for line in message["text"].splitlines() if line]
    assert not any(line.startswith(("Bcc", "body")) for line in lines), "one line of theirs stays one line"
    mail, arguments = mailed(fake_sendmail)
    assert mail["Subject"] == subject
    assert mail["To"] == "team@example.org"
    assert mail["Bcc"] is None
    ours = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"}
    assert set(mail.keys()) == ours | {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert arguments == ["-oi", "--", "team@example.org"]
    assert "\x1b" not in logged(tmp_path)
    assert "not notified" not in logged(tmp_path)


def test_a_command_that_fails_is_told_without_its_secrets(
    tmp_path: Path, hook: Hook, capfd: pytest.CaptureFixture[str]
) -> None:
    """As wget would: the whole address in its output, behind much else."""
    script = tmp_path / "send"
    script.write_text('#!/bin/sh\nseq 500\necho "cannot reach $2 for $4" >&2\nexit 7\n')
    script.chmod(0o755)
    command = f"{script} -X 'https://chat.example.org/{SECRET}' --token {SECRET}"
    notifier(tmp_path, notify_command=command).tell("failure", "a", "S", "T")
    assert "not notified by ds_notify_command: exit code 7, and it said: 4" in logged(tmp_path)
    assert "cannot reach *** for ***; try it by hand" in logged(tmp_path)
    assert SECRET not in logged(tmp_path) + "".join(capfd.readouterr())


def test_the_words_that_are_cut_off_leave_no_half_secret(tmp_path: Path) -> None:
    secret = "secret-" + "0123456789abcdef" * 4
    for filler in range(250, 300):
        folder = tmp_path / str(filler)
        folder.mkdir()
        command = f"printf 'begin %s %0{filler}d' {secret} 1; exit 1"
        notifier(folder, notify_command=command).tell("failure", "a", "S", "T")
        assert "789abcdef" not in logged(folder)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_command_over_its_limit_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "COMMAND_SECONDS", 1.0)
    command = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; sleep 300'; true"
    notifier(tmp_path, notify_command=command).tell("failure", "a", "S", "T")
    assert "it did not end within 1 s and was ended" in logged(tmp_path)
    pid = int((tmp_path / "pid").read_text())
    limit = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    command = f"sleep 300 & echo $! > {tmp_path}/pid"
    begun = time.monotonic()
    notifier(tmp_path, notify_command=command).tell("failure", "a", "S", "T")
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert time.monotonic() - begun < 60
    assert "notified by ds_notify_command" in logged(tmp_path)


def test_a_command_that_prints_without_end_and_reads_nothing(tmp_path: Path) -> None:
    notifier(tmp_path, notify_command="yes | head -c 30000000; exit 3").tell("failure", "a", "S", "T" * 10_000)
    assert "exit code 3, and it said: y y y" in logged(tmp_path)


def test_ctrl_c_ends_the_command_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = subprocess.Popen.wait

    def waiting(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        (tmp_path / "waiting").touch()
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", waiting)
    command = (
        f"echo $$ > {tmp_path}/pid; until [ -e {tmp_path}/waiting ]; do sleep 0.01; done; kill -INT $PPID; sleep 9"
    )
    with pytest.raises(KeyboardInterrupt):
        notifier(tmp_path, notify_command=command).tell("failure", "a", "S", "T")
    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.fixture
def fake_sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake: keeps what it is given in the folder, and sends nothing."""
    folder = tmp_path / "mail"
    folder.mkdir()
    script = tmp_path / "bin" / "sendmail"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {folder}/arguments\ncat > {folder}/message\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return folder


def mailed(folder: Path) -> tuple[email.message.EmailMessage, list[str]]:
    message = email.message_from_bytes((folder / "message").read_bytes(), policy=email.policy.default)
    return message, (folder / "arguments").read_text().splitlines()


def test_a_mail(tmp_path: Path, fake_sendmail: Path) -> None:
    told = notifier(tmp_path, notify_mail=("ada@example.org", "Grace <grace@example.org>", "root"))
    told.tell("failure", "a", "Naïve – it failed", "Größer:\n" + "w" * 3000)
    mail, arguments = mailed(fake_sendmail)
    assert arguments == ["-oi", "--", "ada@example.org", "grace@example.org", "root"]
    assert mail["To"] == "ada@example.org, grace@example.org, root"
    assert mail["Subject"] == "Naïve – it failed"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["From"].addresses[0].domain == socket.gethostname()
    assert mail.get_content().startswith("Größer:\nwww")
    assert max(map(len, (fake_sendmail / "message").read_bytes().splitlines())) <= 998


@pytest.mark.parametrize("address", ["-bd", "-oQ/tmp@x", "a@b\r\nBcc: c@d", "a@b c@d", ""])
def test_what_is_no_address_is_not_given_to_sendmail(tmp_path: Path, fake_sendmail: Path, address: str) -> None:
    notifier(tmp_path, notify_mail=(address,)).tell("failure", "a", "S", "T")
    given = mailed(fake_sendmail)[1] if (fake_sendmail / "arguments").exists() else []
    assert address not in given[2:]
    assert all(not argument.startswith("-") for argument in given[2:])
    assert not given or mailed(fake_sendmail)[0]["Bcc"] is None


def test_a_sendmail_that_fails(tmp_path: Path, fake_sendmail: Path) -> None:
    (tmp_path / "bin" / "sendmail").write_text("#!/bin/sh\necho queue is full\nexit 75\n")
    notifier(tmp_path, notify_mail=("ada@example.org",)).tell("failure", "a", "S", "T")
    assert "not notified by ds_notify_mail: exit code 75, and it said: queue is full" in logged(tmp_path)


def test_a_channel_that_breaks_does_not_keep_the_others(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(channels, "run_command", broken)
    notifier(tmp_path, notify_command="true", notify_webhook=hook.address).tell("failure", "a", "S", "T")
    assert len(hook.posts) == 1
    assert "not notified by ds_notify_command: RuntimeError" in logged(tmp_path)
    assert SECRET not in logged(tmp_path)


def test_each_cause_once(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    for cause in ("a", "b", "a", "b", "a"):
        notifier(tmp_path, notify_command=saving(folder)).tell("failure", cause, "S", "T")
    assert sorted(message["cause"] for message in saved(folder)) == ["a", "b"]


def test_each_cause_once_also_at_the_same_time(tmp_path: Path) -> None:
    folder, barrier = tmp_path / "saved", threading.Barrier(8)
    told = [notifier(tmp_path, notify_command=saving(folder)) for _ in range(8)]

    def tell(one: Notifier) -> None:
        barrier.wait()
        one.tell("failure", "a", "S", "T")

    threads = [threading.Thread(target=tell, args=(one,)) for one in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(saved(folder)) == 1


def test_only_the_kinds_that_are_wanted(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    told = notifier(tmp_path, notify_command=saving(folder), notify_on=("regression", "nonsense"))
    told.tell("failure", "a", "S", "T")
    told.tell("regression", "b", "S", "T")
    assert [message["cause"] for message in saved(folder)] == ["b"]


def test_without_a_channel_nothing_is_written(tmp_path: Path) -> None:
    told = notifier(tmp_path)
    told.tell("failure", "a", "S", "T")
    told.tick_failed(RepositoryError("away"))
    told.tick_recovered()
    told.retry()
    assert not (tmp_path / "data").exists()
    assert logged(tmp_path) == ""


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"told": 3}', b'{"told": {"a": 3}}', b"\xff\xfe", b"[" * 100_000, b"null", b'"x"']
)
def test_a_damaged_memory_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "saved"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notified.json").write_bytes(content)
    (tmp_path / "data" / "unsent.json").write_bytes(content.replace(b"told", b"unsent"))
    for _ in range(2):
        told = notifier(tmp_path, notify_command=saving(folder))
        told.retry()
        told.tell("failure", "a", "S", "T")
    assert len(saved(folder)) == 1
    for name in ("notified.json", "unsent.json"):
        assert logged(tmp_path).count(f"{name} is damaged and is begun anew") == 1


def test_the_newest_causes_are_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    old = {f"old:{number}": "2026-01-01T00:00:00+00:00" for number in range(MOST_CAUSES)}
    (folder / "notified.json").write_text(json.dumps({"told": old}))
    notifier(tmp_path, notify_command="true").tell("failure", "new", "S", "T")
    told = json.loads((folder / "notified.json").read_text())["told"]
    assert list(told) == [*list(old)[1:], "new"]


def test_a_data_folder_that_cannot_be_written(tmp_path: Path, hook: Hook) -> None:
    """A file stands in its place, which keeps root out as well. It would be told at every tick, so it is not."""
    (tmp_path / "data").write_text("")
    told = notifier(tmp_path, notify_webhook=hook.address)
    told.tell("failure", "a", "S", "T")
    told.tick_failed(RepositoryError("away"))
    told.publish_recovered()
    told.clear("a")
    told.retry()
    assert hook.posts == []
    assert "notified.json cannot be written (" in logged(tmp_path)
    assert "not notified, since" in logged(tmp_path)


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    disk, folder = tmp_path / "data", tmp_path / "saved"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]).returncode:
        pytest.skip("only root can make a small disk")
    try:
        filler = (disk / "filler").open("wb", buffering=0)
        with pytest.raises(OSError), filler:
            while True:
                filler.write(b"0" * 4096)
        full = EnvironmentFailure("the disk is full", "make room there")
        for _ in range(3):
            notifier(tmp_path, notify_command=saving(folder)).environment_failed(full)
        assert [message["kind"] for message in saved(folder)] == ["failure"]
        (disk / "filler").unlink()
        for _ in range(3):
            notifier(tmp_path, notify_command=saving(folder)).environment_recovered()
        assert sorted(message["kind"] for message in saved(folder)) == ["failure", "recovery"]
        assert list(disk.glob(".notified-*")) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_publishing_fails_and_works_again(tmp_path: Path) -> None:
    folder = tmp_path / "saved"

    def tick() -> Notifier:
        return notifier(tmp_path, notify_command=saving(folder))

    tick().publish_recovered()
    assert saved(folder) == [], "nothing was told that could be over"
    for seconds in (3.1, 4.7):
        tick().publish_failed(PublishError(f"no answer for {seconds} s", f"see whether the server is up: {seconds} s"))
    tick().publish_failed(PublishError("permission denied", "let the user write there"))
    assert [message["kind"] for message in saved(folder)] == ["publish", "publish"], "one of each kind of trouble"
    tick().publish_recovered()
    tick().publish_recovered()
    assert [message["kind"] for message in saved(folder)].count("recovery") == 1
    tick().publish_failed(PublishError("no answer for 9 s", "see whether the server is up: 9 s"))
    assert [message["kind"] for message in saved(folder)].count("publish") == 3, "a new outage is told"


def test_clear_forgets_what_begins_so(tmp_path: Path) -> None:
    told = notifier(tmp_path, notify_command="true")
    told.tell("publish", "publish:a", "S", "T")
    told.tell("failure", "landing:a", "S", "T")
    assert told.clear("publish:")
    assert not told.clear("publish:")
    assert list(json.loads((tmp_path / "data" / "notified.json").read_text())["told"]) == ["landing:a"]


def test_what_is_over_before_anybody_heard_of_it_is_not_told(tmp_path: Path, hook: Hook) -> None:
    hook.answers = [403]
    notifier(tmp_path, notify_webhook=hook.address).environment_failed(EnvironmentFailure("no GPU", "mend it"))
    hook.answers = [200]
    later = notifier(tmp_path, notify_webhook=hook.address)
    later.environment_recovered()
    later.retry()
    assert len(hook.posts) == 1


def test_ticks_that_fail_are_told_after_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "saved"

    def tick() -> Notifier:
        return notifier(tmp_path, notify_command=saving(folder))

    away = RepositoryError("the repository https://git.example.org/acme/speech.git cannot be read", "check the network")
    for _ in range(FAILED_TICKS - 1):
        tick().tick_failed(away)
    tick().tick_recovered()
    for _ in range(FAILED_TICKS - 1):
        tick().tick_failed(away)
    assert saved(folder) == [], "they were not in a row"
    for _ in range(3):
        tick().tick_failed(away)
    (message,) = saved(folder)
    assert message["subject"] == "speech: nothing is tracked any more"
    assert f"The last {FAILED_TICKS} ticks ended early" in message["text"]
    assert "What to do: check the network" in message["text"]
    tick().tick_recovered()
    assert sorted(message["kind"] for message in saved(folder)) == ["failure", "recovery"]


def test_the_words(tmp_path: Path, hook: Hook) -> None:
    told = notifier(tmp_path, notify_webhook=hook.address)
    archive = tmp_path / "data" / "runs"
    first = site_records.trained(archive, 2, site_records.hyper(0.194))
    worse = site_records.trained(archive, 3, site_records.hyper(0.352))
    fails = [site_records.failed(archive, 4, attempt=attempt) for attempt in (1, 2, 3)]
    broken = fails[-1]
    before, after, failing = figures_of([first, worse, *fails])
    for _ in range(2):
        told.landing_failed(failing)
        told.landing_recovered(after, broken)
        told.regression(after, before, 15.8, "the difference is real (95 % interval 12.0 to 19.4 points)")
    failed, recovered, regression = hook.posts
    assert failed["subject"] == f"speech: {broken.sha[:7]} failed 3 times: Lower the dropout"
    assert failed["sha"] == broken.sha
    assert failed["url"] == f"https://example.org/speech/commit/{broken.sha}"
    for part in ("Why: its notebook stopped in cell 3", "What to do: look at the end of its log", "Grace Hopper"):
        assert part in failed["text"]
    assert f"Log on {socket.gethostname()}: {broken.folder / 'log.txt'}" in failed["text"]
    assert recovered["kind"] == "recovery"
    assert "test WER of 35.2 %" in recovered["text"]
    assert broken.sha[:7] in recovered["text"]
    assert regression["kind"] == "regression"
    assert regression["subject"].startswith(f"speech: WER +15.8 points at {worse.sha[:7]}")
    assert "19.4 % before, 35.2 % after (+15.8 points)" in regression["text"]
    assert "Is it more than noise? The difference is real (95 % interval" in regression["text"]
    assert (regression["test_wer"], regression["before_wer"], regression["points"]) == (0.352, 0.194, 15.8)


def test_no_secret_of_ours_is_told(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a message that should hold none does."""
    monkeypatch.setenv("GH_TOKEN", "ghp_of_the_environment")
    secrets = ["ghp_of_the_settings", "ghp_of_the_environment", "hunter22", hook.address]
    told = notifier(tmp_path, notify_webhook=hook.address, github_token=secrets[0])
    told.tell("failure", "a", " ".join(secrets), "\n".join(secrets), author=" ".join(secrets))
    assert len(hook.posts) == 1
    assert not [secret for secret in secrets if secret in json.dumps(hook.posts) + logged(tmp_path)]


def test_the_status_on_github(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's API is a fake that takes everything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("xdg.BaseDirectory.xdg_cache_home", str(tmp_path))
    hook.answers = [201]
    about = {
        "github_account": "acme",
        "github_project": "speech",
        "repository": "",
        "github_api": f"http://127.0.0.1:{hook.server.server_port}",
    }
    landing = site_records.landing(1)
    notifier(tmp_path, **about, github_token=SECRET).status(landing, "success", "WER 17 %")
    assert hook.posts == [], "it is not asked for"
    for state in ("pending", "failure", "failure", "pending", "failure"):
        notifier(tmp_path, **about, github_token=SECRET, github_status=True).status(landing, state, "as\nit is")
    assert [post["state"] for post in hook.posts] == ["pending", "failure", "pending", "failure"]
    assert hook.posts[0]["description"] == "as it is"
    assert hook.requests[0] == ("POST", f"/repos/acme/speech/statuses/{landing.sha}")

    notifier(tmp_path, **about, github_status=True).status(landing, "success", "WER 17 %")
    assert f"no status was set on GitHub for {landing.short}: " in logged(tmp_path)
    assert "ds_github_token" in logged(tmp_path)
    assert SECRET not in logged(tmp_path)


def test_nothing_heavy_is_imported_where_nothing_is_told() -> None:
    code = (
        "import sys; from deepspeech_wer.notify import Notifier; "
        "print(*{'requests', 'email.message', 'http', 'logging'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_every_kind_is_wanted_by_default(tmp_path: Path) -> None:
    assert set(config.names()["ds_notify_on"]["default"]) == {"failure", "recovery", "regression", "publish"}
