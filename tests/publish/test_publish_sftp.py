"""The SFTP store against real servers: what each operation does and answers, and how its work is shared and packed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

import support
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.operations import (
    CHECKED_WHOLE,
    Attributes,
    Content,
    Digest,
    Link,
    List,
    Look,
    MakeFolder,
    Put,
    Read,
    ReadLink,
    Refusal,
    Remove,
    RemoveFolder,
    Rename,
    Symlink,
)
from deepspeech_wer.publish.sftp import channel, connect, session, wire
from deepspeech_wer.publish.sftp.session import Session
from publish.lying import Linking
from publish.proxy import proxied
from ssh_servers import Server

Start = Callable[..., Server]


@pytest.fixture
def chroot() -> Iterator[Path]:
    """A folder that sshd shuts a user into: it and all above it belong to root alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can shut a user into a folder")
    folder = Path(tempfile.mkdtemp(dir="/srv"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["asyncssh", "internal-sftp", "sftp-server", "chrooted"])
def place(request: pytest.FixtureRequest, start_server: Start, tmp_path: Path) -> Server:
    """A server of every kind; its ``home`` is the folder that paths are relative to."""
    if request.param == "asyncssh":
        return start_server("asyncssh", sftp=Linking)
    if request.param == "internal-sftp":
        return start_server("openssh")
    if request.param == "sftp-server":
        program = support.system_program("openssh-sftp-server", "/usr/lib/openssh/sftp-server")
        return start_server("openssh", settings=[f"Subsystem sftp {program} -d {tmp_path}/server1/home"])
    root = request.getfixturevalue("chroot")
    settings = [f"ChrootDirectory {root}", "ForceCommand internal-sftp", "Subsystem sftp internal-sftp"]
    server = start_server("openssh", settings=settings)
    server.home = root
    return server


@pytest.fixture
def store(place: Server) -> Iterator[Session]:
    with connect(place.target()) as opened:
        yield opened


def content(size: int, seed: int = 1) -> Content:
    return Content.of_bytes(random.Random(seed).randbytes(size))


def one(store: Session, operation: Any) -> Any:
    [[answer]] = store.run([[operation]])
    return answer


# Each operation ------------------------------------------------------------------------------------------------------


def test_what_a_server_can_do(place: Server, store: Session) -> None:
    assert store.replaces and store.links and store.symlinks
    assert store.in_order == (place.pid is not None)
    assert store.name == f"{place.username}@127.0.0.1:{place.port}"


def test_looking_at_files_folders_and_links(place: Server, store: Session) -> None:
    (place.home / "a").write_bytes(b"12345")
    os.utime(place.home / "a", (1_000_000_000, 1_200_000_000))
    (place.home / "b").mkdir()
    (place.home / "c").symlink_to("a")
    a, b, c, d = (answers[0] for answers in store.run([[Look(name)] for name in "abcd"]))
    assert a.is_file and a.size == 5 and a.mtime == 1_200_000_000
    assert b.is_folder and c.is_link and not c.is_file
    assert d == Refusal("missing", d.said) and d.said
    assert one(store, ReadLink("c")) == "a"
    assert one(store, ReadLink("a")).kind == "failed"


def test_a_folder_of_many_entries(place: Server, store: Session) -> None:
    names = {f"file-{n:04}" for n in range(1500)} | {"\u00fc ber", "-", "...", "x" * 200}
    for name in names:
        (place.home / name).touch()
    found = one(store, List("."))
    assert set(found) == names
    assert all(info.is_file for info in found.values())
    assert one(store, List("nowhere")).kind == "missing"


def test_reading(place: Server, store: Session) -> None:
    data = content(1_500_000).data
    (place.home / "a").write_bytes(data)
    (place.home / "empty").touch()
    answers = store.run(
        [
            [Read("a"), Read("a", 1_000_000, 100), Read("a", 1_499_990, 100), Read("a", 2_000_000)],
            [Read("a", limit=700_000), Read("empty"), Read("nowhere"), Digest("a"), Digest("empty"), Digest("nowhere")],
        ]
    )
    assert answers[0] == [data, data[1_000_000:1_000_100], data[-10:], b""]
    assert answers[1][:2] == [data[:700_000], b""]
    assert answers[1][2].kind == answers[1][5].kind == "missing"
    assert answers[1][3:5] == [hashlib.sha256(data).hexdigest(), hashlib.sha256().hexdigest()]


def test_a_folder_cannot_be_read_as_a_file(place: Server, store: Session) -> None:
    (place.home / "folder").mkdir()
    assert isinstance(one(store, Read("folder")), Refusal)


@pytest.mark.parametrize("size", [0, 1, 32767, 300_000, CHECKED_WHOLE, CHECKED_WHOLE + 1, 9_000_000])
def test_uploads_of_every_size(place: Server, store: Session, size: int) -> None:
    arrived: list[int] = []
    [[answer]] = store.run([[Put("a", content(size), 1_234_567_890)]], arrived.append)
    assert (answer.size, answer.mtime, answer.is_file) == (size, 1_234_567_890, True)
    assert (place.home / "a").read_bytes() == content(size).data
    assert sum(arrived) == size


def test_an_upload_replaces_all_that_was_there(place: Server, store: Session) -> None:
    (place.home / "a").write_bytes(bytes(500_000))
    assert one(store, Put("a", content(1000), 5)).size == 1000
    assert (place.home / "a").read_bytes() == content(1000).data


@pytest.mark.parametrize("there", [3_000_000, 3_500_000, 8_000_000])
def test_an_upload_goes_on_where_it_was(place: Server, store: Session, there: int) -> None:
    whole = content(5_000_000)
    (place.home / "a").write_bytes(whole.data[:3_000_000] + bytes(there - 3_000_000))
    arrived: list[int] = []
    [[answer]] = store.run([[Put("a", whole, 5, offset=3_000_000)]], arrived.append)
    assert answer.size == whole.size and sum(arrived) == 2_000_000
    assert (place.home / "a").read_bytes() == whole.data


def test_what_is_behind_the_end_and_cannot_be_cut_is_noticed(start_server: Start) -> None:
    class Uncut(asyncssh.SFTPServer):
        def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
            raise asyncssh.SFTPOpUnsupported("fsetstat")

    server = start_server("asyncssh", sftp=Uncut)
    (server.home / "a").write_bytes(content(500_000).data[:300_000] + bytes(300_000))
    (server.home / "b").write_bytes(content(500_000).data[:300_000])
    with connect(server.target()) as store:
        a, b = (answers[0] for answers in store.run([[Put(n, content(500_000), 5, offset=300_000)] for n in "ab"]))
    assert a == Refusal("differs", "600000 bytes of 500000 arrived") and b.size == 500_000


def test_an_upload_from_a_file_of_this_machine(place: Server, store: Session, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(content(2_000_000).data)
    source = Content(content(2_000_000).sha256, 2_000_000, tmp_path / "source")
    assert one(store, Put("a", source, 5)).size == source.size
    assert (place.home / "a").read_bytes() == content(2_000_000).data


@pytest.mark.parametrize("now", [1_999_999, 2_000_001, 2_000_000, 0])
@pytest.mark.parametrize("offset", [0, 1_000_000])
def test_a_file_that_changes_while_it_is_uploaded(
    place: Server, store: Session, tmp_path: Path, now: int, offset: int
) -> None:
    (tmp_path / "source").write_bytes(content(now, seed=2).data)
    (place.home / "a").write_bytes(content(offset).data)
    source = Content(content(2_000_000).sha256, 2_000_000, tmp_path / "source")
    with pytest.raises(PublishError, match="source changed while it was being published"):
        store.run([[Put("a", source, 5, offset=offset)]])
    # What is there must not be taken for half of what it should be.
    assert (place.home / "a").stat().st_size in (0, offset)
    assert not offset or (place.home / "a").read_bytes() in (b"", content(offset).data)


def test_uploads_to_where_none_can_be(place: Server, store: Session) -> None:
    (place.home / "folder").mkdir()
    answers = store.run([[Put("folder", content(10), 5)], [Put("nowhere/a", content(10), 5)]])
    assert [answer.kind for [answer] in answers] == ["failed", "missing"]


def test_a_file_that_may_be_written_and_not_read(start_server: Start) -> None:
    class WriteOnly(asyncssh.SFTPServer):
        def open(self, path: bytes, flags: int, attrs: asyncssh.SFTPAttrs) -> object:
            if flags & 1:
                raise asyncssh.SFTPPermissionDenied("you may not read")
            return super().open(path, flags, attrs)

    server = start_server("asyncssh", sftp=WriteOnly)
    with connect(server.target()) as store:
        assert one(store, Put("a", content(100_000), 5)).size == 100_000
        assert one(store, Read("a")) == Refusal("denied", "you may not read")
    assert (server.home / "a").read_bytes() == content(100_000).data


def test_folders(place: Server, store: Session) -> None:
    (place.home / "file").touch()
    (place.home / "link").symlink_to("deep")
    answers = store.run([[MakeFolder("deep"), MakeFolder("deep/er"), MakeFolder("deep"), MakeFolder("link")]])
    assert answers == [[None] * 4]
    assert (place.home / "deep/er").is_dir()
    assert one(store, MakeFolder("file")) == Refusal("failed", "a file is in the way")
    assert one(store, MakeFolder("nowhere/folder")).kind == "missing"
    assert one(store, RemoveFolder("deep")).kind == "failed"
    assert store.run([[RemoveFolder("deep/er"), RemoveFolder("deep")]]) == [[None, None]]
    assert not (place.home / "deep").exists()


def test_renames_links_and_removals(place: Server, store: Session) -> None:
    for name in "ab":
        (place.home / name).write_text(name)
    # One after the other, each needing the one before: a server that works in order gets them all at once.
    chain = [Link("a", "c"), Rename("a", "b"), Symlink("d", "b"), Symlink("e", "b"), Rename("e", "d"), Remove("c")]
    assert store.run([chain]) == [[None] * len(chain)]
    assert {path.name for path in place.home.iterdir()} == {"b", "d"}
    assert (place.home / "b").read_text() == "a" and (place.home / "d").readlink() == Path("b")
    assert one(store, Link("b", "d")).kind == "failed"
    assert [one(store, operation).kind for operation in (Rename("x", "y"), Link("x", "y"), Remove("x"))] == [
        "missing"
    ] * 3


def test_a_chain_is_carried_out_in_its_order(place: Server, store: Session) -> None:
    chains = [
        [
            MakeFolder(f"f{n}"),
            Put(f"f{n}/a", content(5000, n), 5),
            Rename(f"f{n}/a", f"f{n}/b"),
            Link(f"f{n}/b", f"f{n}/c"),
            Look(f"f{n}/c"),
            Read(f"f{n}/b", 4990),
        ]
        for n in range(60)
    ]
    answers = store.run(chains)
    for n, (made, put, renamed, linked, looked, read) in enumerate(answers):
        assert made is renamed is linked is None
        assert put == looked == Attributes(put.mode, 5000, 5)
        assert read == content(5000, n).data[4990:]


def test_a_server_that_does_several_things_at_once_gets_one_after_the_other(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[asyncio.Task[None]] = []
    process = asyncssh.sftp.SFTPServerHandler._process_packet

    async def at_once(*arguments: Any) -> None:
        # asyncssh's server waits for one request before it looks at the next; others do not.
        tasks.append(asyncio.create_task(process(*arguments)))

    monkeypatch.setattr(asyncssh.sftp.SFTPServerHandler, "_process_packet", at_once)

    class Slow(asyncssh.SFTPServer):
        async def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
            await asyncio.sleep(0.1)
            super().mkdir(path, attrs)

        async def write(self, file_obj: object, offset: int, data: bytes) -> int:
            await asyncio.sleep(0.1 if offset == 0 else 0)
            return super().write(file_obj, offset, data)  # type: ignore[return-value]

    with connect(start_server("asyncssh", sftp=Slow).target()) as store:
        chain = [MakeFolder("a"), MakeFolder("a/b"), Put("a/b/c", content(200_000), 5), Read("a/b/c"), Remove("a/b/c")]
        [answers] = store.run([chain])
    assert answers == [None, None, Attributes(answers[2].mode, 200_000, 5), content(200_000).data, None]


def test_one_refusal_leaves_the_others_alone(place: Server, store: Session) -> None:
    chains = [[Put(f"{'nowhere/' * (n == 7)}a{n}", content(100, n), 5)] for n in range(20)]
    answers = [answer for [answer] in store.run(chains)]
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Refusal)] == [7]


def test_nothing_to_do(store: Session) -> None:
    assert store.run([]) == []
    assert store.run([[], [Look(".")], []])[0::2] == [[], []]


def test_what_a_refusal_says_to_the_user(place: Server, store: Session) -> None:
    look = Look("www/js")
    said = {
        kind: store.refused(look, Refusal(kind, "Words")).message  # type: ignore[arg-type]
        for kind in ("missing", "denied", "full", "unsupported", "differs", "failed")
    }
    assert all(message.startswith(f"{store.name}: could not look at www/js: ") for message in said.values())
    assert "permission denied" in said["denied"] and "no such file" in said["missing"]
    assert "the server says 'Words'" in said["failed"]
    assert store.refused(look, Refusal("failed", "Words"), "Do this").hint == "Do this"


def test_permission_denied(start_server: Start) -> None:
    class ReadOnly(asyncssh.SFTPServer):
        def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
            raise PermissionError(13, "Permission denied")

    with connect(start_server("asyncssh", sftp=ReadOnly).target()) as store:
        refusal = one(store, MakeFolder("www"))
        assert refusal.kind == "denied"
        error = store.refused(MakeFolder("www"), refusal)
        assert "could not make the folder www: permission denied" in error.message and "chmod" in error.hint


# A full disk, and wrong bytes ----------------------------------------------------------------------------------------


def test_a_full_disk_is_told_from_other_failures(start_server: Start) -> None:
    class Full(asyncssh.SFTPServer):
        free = 0

        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            if offset:
                raise asyncssh.SFTPFailure("Failure")
            return super().write(file_obj, offset, data)  # type: ignore[return-value]

        def statvfs(self, path: bytes) -> asyncssh.SFTPVFSAttrs:
            return asyncssh.SFTPVFSAttrs(4096, 4096, 1000, self.free, self.free, 100, 50, 50)

    with connect(start_server("asyncssh", sftp=Full).target()) as store:
        assert one(store, Put("a", content(500_000), 5)) == Refusal("full", "the disk is full")
        Full.free = 1000
        assert one(store, Put("a", content(500_000), 5)) == Refusal("failed", "Failure")


def test_a_quota_that_is_reached_says_so(start_server: Start) -> None:
    class Quota(asyncssh.SFTPServer):
        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            raise OSError(122, "Disk quota exceeded")

    with connect(start_server("asyncssh", sftp=Quota).target()) as store:
        refusal = one(store, Put("a", content(500_000), 5))
        assert refusal.kind == "full" and "quota" in refusal.said
        assert "df -h" in store.refused(Put("a", content(1), 5), refusal).hint


def test_sshd_that_cannot_write_more(start_server: Start) -> None:
    # The message of a full disk is the same, "Failure"; here the disk has room.
    server = start_server("openssh", largest_file=1_000_000)
    with connect(server.target()) as store:
        answers = store.run([[Put("a", content(3_000_000), 5)], [Put("b", content(900_000), 5)]])
    assert answers[0][0].kind == "failed" and answers[1][0].size == 900_000


@pytest.mark.parametrize("wrong", [0, 250_000, 499_999])
def test_wrong_bytes_on_the_disk_are_noticed(start_server: Start, wrong: int) -> None:
    class Liar(asyncssh.SFTPServer):
        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            if offset <= wrong < offset + len(data):
                at = wrong - offset
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            return super().write(file_obj, offset, data)  # type: ignore[return-value]

    with connect(start_server("asyncssh", sftp=Liar).target()) as store:
        assert one(store, Put("a", content(500_000), 5)).kind == "differs"


def test_a_large_file_is_sampled(start_server: Start) -> None:
    reads: list[tuple[int, int]] = []

    class Counting(asyncssh.SFTPServer):
        def read(self, file_obj: object, offset: int, size: int) -> bytes:
            reads.append((offset, size))
            return super().read(file_obj, offset, size)  # type: ignore[return-value]

    size = 40_000_000
    with connect(start_server("asyncssh", sftp=Counting).target()) as store:
        assert one(store, Put("a", content(size), 5)).size == size
    assert sum(length for _, length in reads) < 1_000_000
    assert min(reads)[0] < 300_000 and max(reads)[0] + max(reads)[1] == size
    gaps = [later[0] - earlier[0] for earlier, later in zip(sorted(reads), sorted(reads)[1:], strict=False)]
    assert len(reads) >= 8 and max(gaps) < size / 6


# How the work is shared and packed -----------------------------------------------------------------------------------


def test_a_thousand_links_are_few_packets_and_round_trips(start_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    packets: list[int] = []
    sent = channel.Channel._send

    def counting(self: Any) -> None:
        if not packets:
            send = self._channel.send

            def count(data: bytes) -> Any:
                packets.append(len(data))
                return send(data)

            self._channel.send = count
        sent(self)

    server = start_server("openssh")
    (server.home / "a").touch()
    with proxied(server.port, delay=0.02) as proxy, connect(proxy.target(server)) as store:
        assert store.links
        monkeypatch.setattr(channel.Channel, "_send", counting)
        begin = time.monotonic()
        assert all(answer is None for [answer] in store.run([[Link("a", f"b{n}")] for n in range(1000)]))
        seconds = time.monotonic() - begin
    assert len(packets) < 20
    assert seconds < 0.5, "some twelve round trips; one by one it would be a thousand"


def test_connecting_and_reading_cost_few_round_trips(start_server: Start) -> None:
    server = start_server("openssh")
    (server.home / "a").write_bytes(b"hallo")
    delay = 0.1
    with proxied(server.port, delay=delay) as proxy, connect(proxy.target(server)) as store:
        begin = time.monotonic()
        assert store.run([[Look("a")], [List(".")], [Read("a")]])[2] == [b"hallo"]
        trips = (time.monotonic() - begin) / (2 * delay)
        # The channel; the session, since sshd lets nothing be sent before; its first word and handles; what is read.
        assert 4 <= trips < 5
        begin = time.monotonic()
        store.run([[Look("a")], [MakeFolder("b"), MakeFolder("b/c"), Link("a", "b/c/a"), Rename("b/c/a", "b/d")]])
        assert (time.monotonic() - begin) / (2 * delay) < 2


def test_many_large_files_are_shared_by_several_channels(start_server: Start) -> None:
    server = start_server("openssh")
    chains = [[Put(f"a{n}", content(3_000_000, n), 5)] for n in range(10)]
    with connect(server.target()) as store:
        assert all(isinstance(answer, Attributes) for [answer] in store.run(chains))
        assert len([c for c in store._channels if c.answers > 10]) == session._MOST_CHANNELS


def test_a_server_that_allows_one_channel(start_server: Start) -> None:
    server = start_server("openssh", settings=["MaxSessions 1"])
    chains = [[Put(f"a{n}", content(3_000_000, n), 5)] for n in range(10)]
    with connect(server.target()) as store:
        assert all(isinstance(answer, Attributes) for [answer] in store.run(chains))
        assert len(store._channels) == 1
        assert all(isinstance(answer, Attributes) for [answer] in store.run(chains))


def test_open_files_are_bounded(start_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_MOST_OPEN", 5)
    monkeypatch.setattr(channel, "_MOST_OPEN_EVER", 5)

    class Few(asyncssh.SFTPServer):
        open_now = most = 0

        def open(self, path: bytes, flags: int, attrs: asyncssh.SFTPAttrs) -> object:
            Few.open_now += 1
            Few.most = max(Few.most, Few.open_now)
            return super().open(path, flags, attrs)

        def close(self, file_obj: object) -> None:
            Few.open_now -= 1
            super().close(file_obj)  # type: ignore[arg-type]

    with connect(start_server("asyncssh", sftp=Few).target()) as store:
        assert all(isinstance(a, Attributes) for [a] in store.run([[Put(f"a{n}", content(10), 5)] for n in range(60)]))
    assert 2 <= Few.most <= 5


@pytest.mark.parametrize("files", [1, 4])
def test_a_thin_line_is_compressed_in_the_middle(start_server: Start, files: int) -> None:
    server = start_server("openssh")
    data = "".join(f'{{"test_wer": {n / 7}, "epochs": 75}},\n' for n in range(60_000 // files)).encode()
    whole = Content.of_bytes(data)
    chains = [[Put(f"a{n}", whole, 5)] for n in range(files)]
    seconds, travelled = {}, {}
    with proxied(server.port, rate=800_000) as proxy:
        for compression in ("no", "auto"):
            proxy.forget()
            begin = time.monotonic()
            with connect(proxy.target(server, compression=compression)) as store:
                assert all(isinstance(answer, Attributes) for [answer] in store.run(chains))
                assert store.run([[Digest("a0")]]) == [[whole.sha256]]
            seconds[compression], travelled[compression] = time.monotonic() - begin, proxy.up
    assert travelled["auto"] < 0.8 * travelled["no"] and seconds["auto"] < 0.9 * seconds["no"]


def test_what_does_not_shrink_is_not_compressed(start_server: Start) -> None:
    server = start_server("openssh")
    with proxied(server.port, rate=1_000_000) as proxy, connect(proxy.target(server)) as store:
        store.run([[Put("a", content(3_500_000), 5)]])
        assert store._transport.local_compression == "none"


@pytest.mark.parametrize("kind", ["openssh", "asyncssh"])
def test_compression_that_is_asked_for(start_server: Start, kind: str) -> None:
    server = start_server(kind)
    zeros = Content.of_bytes(bytes(4_000_000))
    with proxied(server.port) as proxy, connect(proxy.target(server, compression="yes")) as store:
        assert store.run([[Look(".")]])[0][0].is_folder
        store._compression.end()
        assert store._transport.local_compression == "zlib@openssh.com"
        assert store.run([[Put("a", zeros, 5), Digest("a")]])[0][1] == zeros.sha256
        assert proxy.up < 200_000


# The wire itself -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, 12))
def test_messages_are_found_however_they_are_cut(cut: int) -> None:
    version = struct.pack(">IBI", 5, wire.VERSION, 3)
    messages = version + b"".join(wire.ask(wire.STATUS, n, b"x" * n) for n in range(20))
    inbox = wire.Inbox()
    found = [m for at in range(0, len(messages), cut) for m in inbox.feed(messages[at : at + cut])]
    assert [number for number, _, _ in found] == [-1, *range(20)]
    assert [body for _, _, body in found[1:]] == [b"x" * n for n in range(20)]


@pytest.mark.parametrize(
    "said",
    [
        b"Last login: today\r\n",
        struct.pack(">IBI", 5, wire.STATUS, 3),
        struct.pack(">IBI", 1 << 31, wire.VERSION, 3),
        struct.pack(">IBI", 5, wire.VERSION, 3) + struct.pack(">IB", 1 << 31, wire.DATA),
        struct.pack(">IBI", 5, wire.VERSION, 3) + struct.pack(">IB", 0, wire.DATA),
    ],
)
def test_what_is_not_sftp(said: bytes) -> None:
    with pytest.raises(wire.Garbled):
        list(wire.Inbox().feed(said))


def test_random_answers_are_read_or_refused() -> None:
    dice = random.Random(4)
    for _ in range(3000):
        body = dice.randbytes(dice.randrange(60))
        for read in (wire.status, wire.refusal, wire.names, wire.extensions):
            try:
                read(body)
            except wire.Garbled:
                pass
