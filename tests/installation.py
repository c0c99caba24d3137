"""A tracker installed for one test: folders of its own, and the command as cron would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepspeech_wer.results import hyperjs


@dataclass
class Installation:
    """XDG folders below ``home``, and ``ds_`` variables; nothing of the user's own comes in."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.home / "data" / "deepspeech_wer"

    @property
    def cache(self) -> Path:
        return self.home / "cache" / "deepspeech_wer"

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ds_", "XDG_", "SSH_"))}
        folders = {f"XDG_{name.upper()}_HOME": str(self.home / name) for name in ("cache", "data", "config")}
        return inherited | folders | {"HOME": str(self.home)} | self.variables

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.home.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "deepspeech_wer", *arguments],
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end; no traceback, whatever it was given."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def last_sha1(self) -> str:
        return (self.cache / "last_sha1").read_text().strip()

    def runs(self) -> list[dict[str, Any]]:
        """What the page draws."""
        return hyperjs.read((self.data / "www" / "js" / "hyper.js").read_text())

    def trained(self) -> list[str]:
        """The commits of the page's runs, in the page's order."""
        return [run["context"]["git_hash"] for run in self.runs()]
