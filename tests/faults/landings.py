"""Trackers that meet a fault, and what they are to have come to; landings that are published to a real server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from deepspeech_wer.results import hyperjs
from history import Repository
from installation import Installation
from ssh_servers import Server, asyncssh_server, new_key, public_line

#: What is injected, see the module in it.
INJECTED = Path(__file__).parent / "injected"

#: A training that takes no time, and tells in the end, outside of everything that the tracker knows, that it was.
TRAINING = """#!/bin/sh
cat > "$ds_result_dir/hyper.json" <<END
{{"context": {{}}, "parameters": {{}}, "results": {{"test_wer": {wer}}}}}
END
echo "${{ds_checkpoint_dir##*/}} $ds_run_id" >> "$FAULTS_TALLY"
"""

#: Ticks after which nothing may be left to do: the one that mends, one for the retry of a killed training, one to see.
MOST_TICKS = 3

#: Seconds between two looks at what is published.
_LOOK = 0.005


class Recording(asyncssh.SFTPServer):
    """A server that remembers what was written under its final name, and not where nobody looks."""

    written_in_place: list[str]

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if pflags & asyncssh.FXF_WRITE and b"/.deepspeech-wer/" not in path:
            self.written_in_place.append(path.decode())
        return super().open(path, pflags, attrs)


@dataclass
class Tracker:
    """An installation in ``folder``, where all that it writes is counted and can be met by a fault."""

    folder: Path
    installation: Installation
    #: Its web root on the server, where it has one.
    published: Path | None = None

    @classmethod
    def of(cls, folder: Path, repository: Repository, published: Path | None = None, **variables: str) -> Tracker:
        """A new one, which tries again at once what failed, and runs whatever room there is on the disk."""
        own = {
            "ds_repository": str(repository.path),
            "ds_retry_wait": "0",
            "ds_disk_free": "0",
            "PYTHONPATH": str(INJECTED),
            "FAULTS_LOG": str(folder / "points"),
            "FAULTS_TALLY": str(folder / "tally"),
        }
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, Installation(folder / "home", own | variables), published)

    @property
    def data(self) -> Path:
        """Its data root."""
        return Path(self.installation.variables.get("ds_dataroot", self.installation.data))

    @property
    def points(self) -> list[str]:
        """The points that its ticks have reached."""
        return (self.folder / "points").read_text().splitlines()

    def tick(self, at: str = "", do: str = "kill") -> subprocess.CompletedProcess[str]:
        """A tick to its end; ``at`` and ``do`` as FAULTS_AT and FAULTS_DO."""
        self.installation.variables |= {"FAULTS_AT": at, "FAULTS_DO": do}
        return self.installation.run("run")

    def tick_until_nothing_is_new(self) -> list[subprocess.CompletedProcess[str]]:
        """The ticks that it took."""
        done = []
        for _ in range(MOST_TICKS):
            done.append(self.tick())
            if "nothing new" in done[-1].stderr:
                return done
        raise AssertionError(f"there is still something to do: {done[-1].stderr}")

    def trainings(self) -> Counter[str]:
        """How often each landing was trained to the end, by the trainings' own count."""
        tally = self.folder / "tally"
        return Counter(line.split()[0] for line in tally.read_text().splitlines()) if tally.exists() else Counter()

    def whole_results(self) -> Counter[str]:
        """How many whole results of a training there are of each landing."""
        found: Counter[str] = Counter()
        for folder in (self.data / "runs").glob("[!.]*"):
            if json.loads((folder / "status.json").read_text())["state"] == "trained":
                found[json.loads((folder / "job.json").read_text())["landing"]["sha"]] += 1
        return found

    def journal(self) -> list[tuple[str, str]]:
        """The state and the commit of each of its lines, but for those that a full disk tore, and empty ones."""
        found = []
        for text in (self.data / "journal.jsonl").read_text().splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                found.append((line["state"], line["sha"]))
        return found

    def states(self, sha: str) -> list[str]:
        """The states of one landing, as the journal has them."""
        return [state for state, of in self.journal() if of == sha and state not in ("advanced", "settled")]

    def sites(self) -> list[Path]:
        """The web root here, and the one on the server where there is one."""
        return [self.data / "www"] + ([self.published] if self.published else [])

    def left_over(self) -> list[str]:
        """What nobody needs any more: partial folders, checkouts, temporary files, the lock."""
        cache, data = self.installation.cache, self.data
        found = [*cache.glob("clone/*"), *data.glob("runs/.*"), *cache.glob("lock")]
        found += [path for root in (*self.sites(), data / "runs") for path in root.rglob("*.tmp")]
        found += [path for root in (data, cache) for path in root.glob(".*.tmp")]
        return sorted(str(path) for path in found)

    def on_its_way(self) -> list[str]:
        """What has arrived on the server and is not in its place: all of it is, once a release is over."""
        ours = [self.published / ".deepspeech-wer"] if self.published else []
        return sorted(str(path) for folder in ours for path in folder.glob("*ing/*"))

    def processes(self) -> list[str]:
        """What still runs of it: the command lines."""
        home, found = f"HOME={self.installation.home}".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if home in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it is gone
                continue
        return found


@dataclass
class Landings:
    """The repository and the server; any number of trackers may track and publish them at once."""

    folder: Path
    repository: Repository
    begin: str
    landings: list[str]
    server: Server
    written_in_place: list[str]

    def tracker(self, name: str) -> Tracker:
        """A new installation that has not seen any of the landings."""
        published = self.server.home / name / "www"
        website = {
            "ds_website_server_fqdn": "127.0.0.1",
            "ds_website_server_port": str(self.server.port),
            "ds_website_server_root": f"{name}/www",
            "ds_website_username": self.server.username,
            "ds_website_privkey": str(self.server.privkey),
            "ds_website_known_hosts": str(self.server.known_hosts),
            "PYTHONPATH": f"{INJECTED}:{self.folder / 'standin'}",
        }
        tracker = Tracker.of(self.folder / name, self.repository, published, **website)
        tracker.installation.cache.mkdir(parents=True)
        (tracker.installation.cache / "last_sha1").write_text(f"{self.begin}\n")
        published.parent.mkdir()
        return tracker


@contextlib.contextmanager
def landings_and_server(folder: Path, number: int = 3) -> Iterator[Landings]:
    """A repository with ``number`` landings, and a server."""
    repository = Repository.begun(folder / "repository")
    begin = repository.git("rev-parse", "HEAD")
    landings = [
        repository.land(f"Number {n}", {"bin/run-wer-automation.sh": TRAINING.format(wer=0.5 - n / 10)})
        for n in range(number)
    ]
    # Five megabytes less to send for each landing; what the file holds, nothing here looks at.
    standin = folder / "standin" / "plotly"
    (standin / "package_data").mkdir(parents=True)
    (standin / "__init__.py").touch()
    (standin / "package_data" / "plotly.min.js").write_text("// stands in for plotly.js\n")

    at = folder / "server"
    (at / "home").mkdir(parents=True)
    key, host_key = new_key("ed25519"), new_key("ed25519")
    (at / "user_key").write_bytes(key.export_private_key())
    (at / "user_key").chmod(0o600)
    (at / "authorized_keys").write_text(public_line(key) + "\n")
    in_place: list[str] = []
    recording = type("Recorder", (Recording,), {"written_in_place": in_place})
    with asyncssh_server(at, at / "home", (host_key,), at / "user_key", sftp=recording) as server:
        server.know(host_key)
        yield Landings(folder, repository, begin, landings, server, in_place)


def torn(site: Path) -> str:
    """What is not whole in the site in ``site``; empty where all is, or nothing is there yet."""
    for name, is_whole in (("js/hyper.js", _is_hyperjs), ("js/landings.js", _is_landingsjs), ("index.html", _is_page)):
        try:
            text = (site / name).read_text()
        except FileNotFoundError:
            continue
        if not is_whole(text):
            return f"{site / name} is torn: {text[-100:]!r}"
    return ""


def _is_hyperjs(text: str) -> bool:
    try:
        return len(hyperjs.read(text)) >= 0
    except ValueError:
        return False


def _is_landingsjs(text: str) -> bool:
    try:
        return isinstance(json.loads(text.removeprefix("window.LANDINGS = ").rstrip().removesuffix(";")), list)
    except ValueError:
        return False


def _is_page(text: str) -> bool:
    return text.startswith("<!DOCTYPE html>") and text.rstrip().endswith("</html>")


@dataclass
class Watcher:
    """A thread that looks at sites over and over, and remembers what was not whole."""

    seen: list[str] = field(default_factory=list)
    looks: int = 0
    _sites: set[Path] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def on(self, *sites: Path) -> Iterator[None]:
        """Look at these sites as well, for the time of the block."""
        self._sites = self._sites | set(sites)
        try:
            yield
        finally:
            self._sites = self._sites - set(sites)

    def __enter__(self) -> Watcher:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        marks: dict[Path, list[tuple[int, int, int]]] = {}
        while not self._over.wait(_LOOK):
            for site in self._sites:
                now = [_mark(site / name) for name in ("js/hyper.js", "js/landings.js", "index.html")]
                if now != marks.get(site):
                    marks[site] = now
                    self.looks += 1
                    if what := torn(site):
                        self.seen.append(what)


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        state = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return state.st_ino, state.st_size, state.st_mtime_ns
