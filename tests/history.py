"""Small real git repositories for the tests."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Scripts of a tracked repository that train nothing and leave a hyper.json; {wer} is put in.
SCRIPT = """#!/bin/sh
echo training
cat > "$ds_result_dir/hyper.json" <<END
{{"context": {{}}, "parameters": {{"rate": {wer}}}, "results": {{"test_wer": {wer}}}}}
END
"""
BROKEN = "#!/bin/sh\necho 'no such corpus' >&2\nexit 3\n"


@dataclass(frozen=True)
class Repository:
    """A repository with a work tree."""

    path: Path

    @classmethod
    def new(cls, path: Path) -> Repository:
        path.mkdir(parents=True)
        made = cls(path)
        made.git("init", "--quiet", "--initial-branch=main")
        return made

    @classmethod
    def begun(cls, path: Path) -> Repository:
        """One with a first commit."""
        made = cls.new(path)
        made.commit("Begin")
        return made

    def git(self, *arguments: str, author: str = "Ada Park") -> str:
        identity = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": author,
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": author,
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments], env=os.environ | identity, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, subject: str, files: dict[str, str] | None = None, author: str = "Ada Park") -> str:
        """Commit ``files`` (name -> content; a script becomes executable) and give the SHA."""
        for name, content in (files or {}).items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject, author=author)
        return self.git("rev-parse", "HEAD")

    def land(self, subject: str, files: dict[str, str] | None = None) -> str:
        """Merge a feature branch with one commit into main and give the merge's SHA."""
        self.git("checkout", "--quiet", "-B", "feature")
        self.commit(subject, files)
        self.git("checkout", "--quiet", "main")
        self.git("merge", "--quiet", "--no-ff", "-m", f"Merge: {subject}", "feature")
        return self.git("rev-parse", "HEAD")

    def train(self, subject: str, wer: float) -> str:
        """Land a change after which the script gives a test WER of ``wer``."""
        return self.land(subject, {"bin/run-wer-automation.sh": SCRIPT.format(wer=wer)})
