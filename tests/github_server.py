"""A fake of GitHub's REST API, for what cannot be had in a test: GitHub.

It serves the history of a real git repository on the loopback, in the form that https://docs.github.com/rest gives: one
repository, refs and annotated tags, lists of commits, comparisons in pages, pull requests of a commit, commit statuses,
ETags and 304, and the refusals of these. It is no GitHub: what the documentation does not say, it does not know.

What goes wrong is put before it: each of ``faults`` answers one request in the place of the real answer.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from history import Repository

TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ456789"

Values = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One answer that is not the real one; ``cut`` breaks it off after so many bytes, ``hang`` never gives it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "{}"
    cut: int | None = None
    hang: bool = False


def limit(status: int, message: str, **headers: str) -> Fault:
    """A refusal with a message, as GitHub has it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(status, named, json.dumps({"message": message, "documentation_url": "https://docs.github.com"}))


@dataclass(frozen=True)
class Request:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int


class FakeGitHub:
    """The API of the repository ``acme/speech``, whose history is that of ``repository``."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.name = "acme/speech"
        self.moved_from = ""
        self.default_branch = "main"
        self.token = TOKEN
        self.faults: list[Fault] = []
        #: Answers to particular paths, for as long as they are set.
        self.refusals: dict[str, Fault] = {}
        self.requests: list[Request] = []
        #: Pull requests by the SHA of their commits.
        self.pulls: dict[str, list[Values]] = {}
        #: Commits that a comparison lists at most, in all its pages.
        self.most_compared = 1_000_000
        self.released = threading.Event()
        self.address = ""

    def merge_pull(self, number: int, commits: list[str], is_merged: bool = True) -> None:
        """Note that these commits of the branch came with a pull request, oldest first."""
        pull = {
            "number": number,
            "state": "closed" if is_merged else "open",
            "merged_at": "2026-11-01T10:00:00Z" if is_merged else None,
            "merge_commit_sha": commits[-1],
            "base": {"ref": self.default_branch},
        }
        for sha in commits:
            self.pulls.setdefault(sha, []).append(pull)

    def paths(self) -> list[str]:
        """What was asked, without the repository's name."""
        return [request.path.removeprefix(f"/repos/{self.name}") for request in self.requests]

    def counted(self) -> int:
        """Requests that count against the rate limit: all but 304."""
        return sum(request.status != 304 for request in self.requests)

    @contextmanager
    def serving(self) -> Iterator[FakeGitHub]:
        """Serve on a free port of the loopback."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body at once, or each answer takes 40 ms

            def do_GET(self) -> None:
                fake.handle(self)

            def do_POST(self) -> None:
                fake.handle(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        path, query = unquote(parts.path), {name: values[0] for name, values in parse_qs(parts.query).items()}
        length = int(handler.headers.get("Content-Length") or 0)
        sent = json.loads(handler.rfile.read(length)) if length else None
        fault = self.faults.pop(0) if self.faults else self.refusals.get(path.removeprefix(f"/repos/{self.name}"))
        if fault is None:
            fault = self.answer(handler, path, query, sent)
        seen = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.command, path, query, seen, sent, fault.status))
        if fault.hang:
            self.released.wait(60)
            handler.close_connection = True
            return
        data = fault.body.encode()
        handler.send_response_only(fault.status)  # without a Date: the tests have a clock of their own
        for name, value in fault.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0" if fault.status == 304 else str(len(data)))
        handler.end_headers()
        if fault.status != 304:
            handler.wfile.write(data if fault.cut is None else data[: fault.cut])
        if fault.cut is not None:
            handler.wfile.flush()
            handler.close_connection = True

    def answer(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str], sent: Any) -> Fault:
        """The answer that the documentation promises."""
        given = handler.headers.get("Authorization")
        if given not in (None, f"Bearer {self.token}"):
            return limit(401, "Bad credentials")
        if self.moved_from and path.startswith(f"/repos/{self.moved_from}"):
            rest = handler.path.removeprefix(f"/repos/{self.moved_from}")
            status = 301 if handler.command == "GET" else 307
            return Fault(
                status, {"Location": f"{self.address}/repositories/1{rest}"}, '{"message": "Moved Permanently"}'
            )
        path = path.replace("/repositories/1", f"/repos/{self.name}", 1)
        if not path.startswith(f"/repos/{self.name}"):
            return limit(404, "Not Found")
        rest = path.removeprefix(f"/repos/{self.name}")
        if handler.command == "POST":
            if given is None:
                return limit(404, "Not Found")
            return Fault(201, {}, json.dumps({"state": sent["state"], "context": sent["context"]}))
        value, status = self.read(rest, query)
        if status != 200:
            return limit(status, value)
        body = json.dumps(value)
        etag = f'W/"{hashlib.sha256(body.encode()).hexdigest()}"'
        if handler.headers.get("If-None-Match") == etag:
            return Fault(304, {"ETag": etag}, "")
        return Fault(200, {"ETag": etag, "Content-Type": "application/json; charset=utf-8"}, body)

    def read(self, path: str, query: dict[str, str]) -> tuple[Any, int]:
        """The value at ``path`` and 200, or a message and the status of a refusal."""
        if path == "":
            return {"full_name": self.name, "default_branch": self.default_branch}, 200
        if path.startswith("/git/ref/"):
            return self.ref("refs/" + path.removeprefix("/git/ref/"))
        if path.startswith("/git/tags/"):
            return self.tag(path.removeprefix("/git/tags/"))
        if path.startswith("/git/commits/"):
            sha = path.removeprefix("/git/commits/")
            return ({"sha": sha}, 200) if self.has(sha) else ("Not Found", 404)
        per_page, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        if path == "/commits":
            if not self.has(query["sha"]):
                return "Not Found", 404
            first = f"--skip={per_page * (page - 1)}"
            return self.commits(first, f"--max-count={per_page}", query["sha"]), 200
        if path.startswith("/commits/") and path.endswith("/pulls"):
            return self.pulls.get(path.split("/")[2], []), 200
        if path.startswith("/compare/"):
            return self.compare(*path.removeprefix("/compare/").split("..."), per_page, page)
        return "Not Found", 404

    def ref(self, name: str) -> tuple[Any, int]:
        if not self.git("for-each-ref", "--count=1"):
            return "Git Repository is empty.", 409
        found = self.git("for-each-ref", "--format=%(objecttype) %(objectname)", name)
        if "\n" in found or not found or self.git("for-each-ref", "--format=%(refname)", name) != name:
            return "Not Found", 404
        kind, sha = found.split()
        return {"ref": name, "object": {"type": kind, "sha": sha}}, 200

    def tag(self, sha: str) -> tuple[Any, int]:
        lines = dict(line.split(" ", 1) for line in self.git("cat-file", "-p", sha).splitlines()[:2])
        return {"sha": sha, "object": {"type": lines["type"], "sha": lines["object"]}}, 200

    def compare(self, base: str, head: str, per_page: int, page: int) -> tuple[Any, int]:
        if not self.has(base) or not self.has(head):
            return "Not Found", 404
        bases = self.git("merge-base", "--all", base, head, may_fail=True).split()
        if not bases:
            return f"No common ancestor between {base} and {head}.", 404
        ahead = int(self.git("rev-list", "--count", f"{base}..{head}"))
        behind = int(self.git("rev-list", "--count", f"{head}..{base}"))
        # In chronological order, as `git log base..head` reversed; the newest of them where not all are listed.
        listed = self.git("rev-list", "--reverse", f"{base}..{head}").split()
        listed = listed[max(0, len(listed) - self.most_compared) :]
        shown = listed[per_page * (page - 1) : per_page * page]
        status = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind"}
        return {
            "status": status.get((ahead > 0, behind > 0), "identical"),
            "ahead_by": ahead,
            "behind_by": behind,
            "total_commits": ahead,
            "merge_base_commit": {"sha": bases[0]},
            "commits": self.commits("--no-walk=unsorted", *shown) if shown else [],
            "files": [],
        }, 200

    def commits(self, *what: str) -> list[Values]:
        text = self.git("log", "-z", "--format=%H%x01%P%x01%an%x01%cI%x01%B", *what)
        commits = []
        for record in text.removesuffix("\0").split("\0"):
            sha, parents, author, date, message = record.split("\1")
            commits.append(
                {
                    "sha": sha,
                    "html_url": f"https://github.com/{self.name}/commit/{sha}",
                    "commit": {
                        "author": {"name": author, "email": "a@example.org", "date": date},
                        "committer": {"name": "GitHub", "email": "noreply@github.com", "date": date},
                        "message": message.rstrip("\n"),
                    },
                    "author": None,
                    "parents": [{"sha": parent} for parent in parents.split()],
                }
            )
        return commits

    def has(self, sha: str) -> bool:
        return self.git("cat-file", "-t", sha, may_fail=True) == "commit"

    def git(self, *arguments: str, may_fail: bool = False) -> str:
        try:
            return self.repository.git(*arguments)
        except AssertionError:
            if may_fail:
                return ""
            raise
