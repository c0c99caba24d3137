"""A checkout, its script or notebook, and the engine that runs them: what the tests of a job share."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

from deepspeech_wer.engines import Progress
from deepspeech_wer.engines.local import LocalEngine
from deepspeech_wer.job import processes
from deepspeech_wer.job.spec import JobSpec, Status
from deepspeech_wer.landings import Landing

SHA = "0123456789abcdef0123456789abcdef01234567"

#: A cell that leaves a valid hyper.json in the result folder.
WRITE_HYPER = f"""\
import json, os
content = {{"context": {{"git_hash": "{SHA}"}}, "parameters": {{}}, "results": {{"test_wer": 0.25}}}}
with open(os.path.join(os.environ["ds_result_dir"], "hyper.json"), "w") as file:
    json.dump(content, file)"""


@dataclass
class Bench:
    """One job and what came of it."""

    root: Path
    run_id: str
    settings: dict[str, Any] = field(default_factory=dict)
    seen: list[Progress] = field(default_factory=list)

    @property
    def checkout(self) -> Path:
        return self.root / "checkout"

    @property
    def spec(self) -> JobSpec:
        values: dict[str, Any] = {
            "run_id": self.run_id,
            "landing": Landing(SHA, (), "A. Uthor", "2026-01-02T03:04:05Z", "A landing", 7),
            "branch": "main",
            "checkout": self.checkout,
            "result": self.root / "runs" / "run",
            "checkpoint_dir": self.root / "checkpoints",
            "script": "./bin/run-wer-automation.sh",
            "notebook": "DeepSpeech.ipynb",
        }
        return JobSpec(**(values | self.settings))

    def script(self, text: str, mode: int = 0o755) -> Path:
        """Write the checkout's script."""
        path = self.checkout / "bin" / "run-wer-automation.sh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def notebook(self, *cells: str, tags: dict[int, str] | None = None) -> Path:
        """Write the checkout's notebook; ``tags`` gives the cell of an index its tag."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        for index, tag in (tags or {}).items():
            notebook.cells[index].metadata["tags"] = [tag]
        path = self.checkout / "DeepSpeech.ipynb"
        nbformat.write(notebook, path)
        return path

    def run(self) -> Status:
        """Run the job and check what holds for every job that ends: a whole folder, and nothing left behind."""
        folder = LocalEngine().run(self.spec, self.watch)
        assert folder == self.spec.result
        assert not self.spec.partial.exists()
        assert JobSpec.from_json((folder / "job.json").read_text()) == self.spec
        assert not [path.name for path in folder.rglob(".*")]
        assert processes.marked(self.spec.run_id) == []
        status = Status.from_json((folder / "status.json").read_text())
        assert status.started <= status.finished
        return status

    def watch(self, progress: Progress) -> None:
        self.seen.append(progress)

    def result(self, name: str) -> str:
        """A file of the result folder."""
        return (self.spec.result / name).read_text()

    def hyper(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.result("hyper.json"))
        return content

    def printed(self) -> list[str]:
        """The log's lines as the watcher saw them."""
        return [line for progress in self.seen for line in progress.lines]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, f"run-{os.getpid()}-{tmp_path.name}")
    bench.checkout.mkdir()
    yield bench
    processes.end_run(bench.spec.run_id, grace=0)


class Interrupted(BaseException):
    """What a tick makes of SIGTERM."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Send this process SIGTERM, which becomes an exception, as a tick would have it."""

    def stop(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGTERM, stop)
    yield lambda: os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def interrupted() -> type[BaseException]:
    return Interrupted


@pytest.fixture
def write_hyper() -> str:
    return WRITE_HYPER


@pytest.fixture
def shell_write_hyper() -> str:
    """A line of shell that leaves a valid hyper.json in the result folder, at a tenth of what Python takes."""
    content = json.dumps({"context": {"git_hash": SHA}, "parameters": {}, "results": {"test_wer": 0.25}})
    return f"echo '{content}' > \"$ds_result_dir/hyper.json\""
