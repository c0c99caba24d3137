"""The SFTP store: what a release asks of an SSH server, carried out on one connection by several channels at once.

The thread that asks watches, and worker threads talk, one for each channel; they take chains from a common heap. So a
server that says nothing, a time limit, Ctrl-C and SIGTERM end it at once, whatever a worker is waiting for: the
transport is closed, and that ends them all.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paramiko

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish import operations as op
from deepspeech_wer.publish.sftp import wire
from deepspeech_wer.publish.sftp.channel import Channel, Hello, Job, Lost
from deepspeech_wer.publish.sftp.compression import Compression
from deepspeech_wer.publish.sftp.exchange import carry_out
from deepspeech_wer.publish.ssh.connection import Connection

#: How many channels there are at most; and for how many bytes or files to upload one more pays. OpenSSH's window for a
#: channel is 2 MiB, which at 40 ms makes 40 MB/s for each: 16 files of 8 MB took 3.9 s on one, 2.5 s on two, 1.2 s on
#: four and on eight. On loopback it makes no difference.
_MOST_CHANNELS = 4
_BYTES_A_CHANNEL, _FILES_A_CHANNEL = 4 << 20, 125
#: Seconds between two looks at how the workers fare.
_TICK = 0.1

_FAILURE_HINT = "see whether the server's disk or the user's quota is full (df -h, quota), and what is at that path"
_HINTS = {
    "full": "make room on the server (df -h, quota), then publish again: it goes on from what is there",
    "differs": "see what is wrong with the server's disk, or who else writes there; then publish again",
    "unsupported": "set ds_website_release to plain, which needs less of the server",
}


class _Work:
    """Chains that wait to be carried out; taken by several threads."""

    def __init__(self, chains: Sequence[op.Chain]) -> None:
        self._lock = threading.Lock()
        self.jobs = [Job(chain, self._one_is_finished) for chain in chains]
        self._waiting: Iterator[Job] = iter([job for job in self.jobs if job.chain])
        self._unfinished = sum(1 for job in self.jobs if job.chain)
        #: None when all is done, else what went wrong.
        self.events: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        if not self._unfinished:
            self.events.put(None)

    def take(self) -> Job | None:
        with self._lock:
            return next(self._waiting, None)

    def _one_is_finished(self) -> None:
        with self._lock:
            self._unfinished -= 1
            if not self._unfinished:
                self.events.put(None)


class _Worker(threading.Thread):
    """Opens a channel and carries out on it whatever is put into ``works``; None ends it."""

    def __init__(self, number: int, opened: Callable[[], Channel]) -> None:
        super().__init__(name=f"sftp-{number}", daemon=True)
        self.works: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self.channel: Channel | None = None
        self.is_busy = False
        self._is_first = number == 0
        self._opened = opened

    def run(self) -> None:
        try:
            self.channel = self._opened()
        except Exception as error:
            work = self.works.get()
            # One channel does, if a server allows no more.
            if work and self._is_first:
                work.events.put(error)
            return
        while work := self.works.get():
            self.is_busy = True
            try:
                self.channel.work(work.take)
            except BaseException as error:
                work.events.put(error)
            finally:
                self.is_busy = False


class Session:
    """See :class:`deepspeech_wer.publish.operations.Store`."""

    symlinks = True
    root_setting = "ds_website_server_root"

    def __init__(self, connection: Connection, began: float) -> None:
        self._connection = connection
        self._target = connection.target
        self._transport = connection.transport
        self.name = str(self._target)
        self.in_order = "OpenSSH_" in self._transport.remote_version
        self._end = began + self._target.time_limit if self._target.time_limit else float("inf")
        self._workers: list[_Worker] = []
        self._is_closed = False
        self._compression = Compression(self._transport, self._target.compression)

    @property
    def replaces(self) -> bool:
        return "posix-rename@openssh.com" in self._extensions

    @property
    def links(self) -> bool:
        return "hardlink@openssh.com" in self._extensions

    @property
    def _extensions(self) -> dict[str, str]:
        for channel in self._channels:
            if channel.extensions is not None:
                return channel.extensions
        found: dict[str, str] = self.run([[Hello("")]])[0][0]
        return found

    @property
    def _channels(self) -> list[Channel]:
        return [worker.channel for worker in self._workers if worker.channel]

    def run(self, chains: Sequence[op.Chain], progress: op.Progress | None = None) -> list[list[Any]]:
        """Carries out all chains, side by side; the answers in the same shape.

        After a PublishError the connection is closed: what was under way is given up.
        """
        if self._is_closed:
            raise ConnectionFailed(f"{self.name}: the connection is closed", "publish again")
        work = _Work(chains)
        uploads = [o for chain in chains for o in chain if isinstance(o, op.Put)]
        size = sum(put.content.size - put.offset for put in uploads)
        wanted = 1 + max(size // _BYTES_A_CHANNEL, len(uploads) // _FILES_A_CHANNEL)
        wanted = min(wanted, len(work.jobs), _MOST_CHANNELS) or 1
        while len(self._workers) < wanted:
            self._workers.append(_Worker(len(self._workers), self._opened))
            self._workers[-1].start()
        for worker in self._workers[:wanted]:
            worker.works.put(work)
        try:
            self._watch(work, progress, [put.content for put in uploads], size)
        except (Lost, wire.Garbled, OSError, EOFError, paramiko.SSHException) as error:
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise
        return [job.answers for job in work.jobs]

    def close(self) -> None:
        """Ends all that is under way, without waiting for the server."""
        self._is_closed = True
        self._transport.close()
        for worker in self._workers:
            worker.works.put(None)
        for worker in self._workers:
            worker.join(10)
        self._compression.end()

    def _opened(self) -> Channel:
        return Channel(self._transport, self.in_order, carry_out)

    # Watching ---------------------------------------------------------------------------------------------------------

    def _watch(self, work: _Work, progress: op.Progress | None, contents: Sequence[op.Content], size: int) -> None:
        """Until all is done. Raises what a worker raised, and PublishError where it takes too long."""
        before = told = sum(channel.arrived for channel in self._channels)
        self._compression.begin()
        answers, heard = -1, time.monotonic()
        while True:
            try:
                event = work.events.get(timeout=_TICK)
                finished = True
            except queue.Empty:
                finished = False
            if finished and event is not None:
                raise event
            channels = self._channels
            arrived = sum(channel.arrived for channel in channels)
            if progress and arrived > told:
                progress(arrived - told)
                told = arrived
            if finished:
                return
            self._compression.consider(arrived - before, contents, size)
            now = time.monotonic()
            if now > self._end:
                raise PublishError(
                    f"publishing to {self.name} took longer than {round(self._target.time_limit, 1):g} s and was ended",
                    "publish again: it goes on from what is there; or set ds_website_time_limit higher",
                )
            count = sum(channel.answers for channel in channels)
            works_here = any(w.is_busy and w.channel and not w.channel.waiting for w in self._workers)
            if count != answers or works_here:
                answers, heard = count, now
            elif now - heard > self._target.timeout:
                self._connection.socket.silent = True
                raise Lost("silent")

    # Telling ----------------------------------------------------------------------------------------------------------

    def _failure(self, error: Exception) -> PublishError:
        # The thread that reads from the network notices the end of the connection a moment later than its channels.
        self._transport.join(0.3)
        is_active = self._transport.is_active()
        self.close()
        oldest = [channel.oldest for channel in self._channels]
        # A channel more that is being opened is nothing to the user.
        pending = sorted((p for p in oldest if p), key=lambda p: (isinstance(p.operation, Hello), p.since))
        tried = f"{self.name}: could not {pending[0].operation if pending else Hello('')}"
        if self._connection.socket.silent:
            return ConnectionFailed(
                f"{tried}: the server said nothing for {self._target.timeout:g} s",
                "see whether the server and the network are up; publishing again goes on from what is there",
            )
        said = str(self._transport.get_exception() or error)[:200] or type(error).__name__
        if not is_active:
            return ConnectionFailed(
                f"{tried}: the connection was lost ({said!r})",
                "see whether an SSH server is there and what its log says; publishing again goes on from what is there",
            )
        if not any(channel.extensions is not None for channel in self._channels):
            port = f"-P {self._target.port} " if self._target.port else ""
            return PublishError(
                f"{self.name}: could not open an SFTP session: {error}",
                "see whether the server offers SFTP to that user (Subsystem sftp in sshd_config), and whether "
                f"the login prints anything: sftp {port}{self._target.username}@{self._target.host}",
            )
        if isinstance(error, wire.Garbled):
            return PublishError(
                f"{tried}: the server does not keep to SFTP: {error}",
                "see what server that is and what its log says",
            )
        return ConnectionFailed(
            f"{tried}: the server has ended the SFTP session ({said})",
            "see what the server's log says; publishing again goes on from what is there",
        )

    def refused(self, operation: op.Operation, refusal: op.Refusal, hint: str = "") -> PublishError:
        """The error that tells of a refusal."""
        tried = f"{self.name}: could not {operation}"
        if refusal.kind == "denied":
            write = f"let the user {self._target.username} write there (ls -ld, chown or chmod on the server)"
            return PublishError(f"{tried}: permission denied", hint or write)
        if refusal.kind == "missing":
            return PublishError(f"{tried}: there is no such file or folder", hint or _FAILURE_HINT)
        said = f"the server says {refusal.said!r}" if refusal.kind == "failed" else refusal.said
        return PublishError(f"{tried}: {said}", hint or _HINTS.get(refusal.kind, _FAILURE_HINT))
