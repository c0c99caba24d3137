"""A published web root on this machine, looked at from outside: what readers find there, and what ought to be gone.

ground = Ground(server.home / "www", [OLD, NEW])
assert ground.wrong() == [] and ground.differs(NEW) == [] and ground.leftovers() == []
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from publish.reader import judge, links_of
from publish.versions import LOOSE, write

#: Files of somebody else in the web root.
FOREIGN = {"notes.txt": b"mine", "pictures/cat.jpg": b"a cat"}

_MANIFEST = ".deepspeech-wer.json"


class Ground:
    """``versions`` of the site that may be shown; ``root`` holds FOREIGN files once :meth:`settle` was called."""

    def __init__(self, root: Path, versions: Sequence[Mapping[str, bytes]]) -> None:
        self.root, self.versions = root, versions
        self._foreign: dict[str, bytes] = {}

    def settle(self) -> None:
        write(self.root, FOREIGN)
        self._foreign = FOREIGN

    def copy(self, root: Path) -> Ground:
        """The same elsewhere, in place of what is there."""
        shutil.rmtree(root, ignore_errors=True)
        # With times and symbolic links; that hard links come apart does not matter here.
        shutil.copytree(self.root, root, symlinks=True)
        ground = Ground(root, self.versions)
        ground._foreign = self._foreign
        return ground

    @property
    def is_atomic(self) -> bool:
        return (self.root / "releases").exists()

    def wrong(self) -> list[str]:
        """What is wrong with what readers find, whichever page they begin with and by whichever address."""
        bases = [self.root, *([self.root / "current"] if self.is_atomic else [])]
        pages = sorted({path for version in self.versions for path in version if path.endswith(".html")})
        failures = [
            f"{base / failure}"
            for base in bases
            for page in pages
            for failure in judge(lambda path, base=base: _read(base / path), page, self.versions, LOOSE)[1]  # type: ignore[misc]
        ]
        return failures + [
            f"{path} was touched" for path, content in self._foreign.items() if self._get(path) != content
        ]

    def missed_by_readers_of(self, version: Mapping[str, bytes]) -> list[str]:
        """What is not there of what the pages of a version need, for those who loaded them before."""
        needed = {path for page in version for path in links_of(page, version[page]) if not path.endswith(".html")}
        return sorted(path for path in needed.difference(LOOSE) if self._get(path) != version[path])

    def differs(self, version: Mapping[str, bytes]) -> list[str]:
        """The paths that do not hold what they hold in this version."""
        return sorted(path for path, content in version.items() if self._get(path) != content)

    def leftovers(self) -> list[str]:
        """What stands in the web root and ought not to, or the other way round: by the manifests there."""
        ours = self.root / ".deepspeech-wer"
        found = [str(path) for name in ("incoming", "building") for path in (ours / name).glob("*")]
        for folder in sorted((self.root / "releases").glob("*")) if self.is_atomic else [self.root]:
            listed = json.loads((folder / _MANIFEST).read_text())["files"]
            paths = (path for path in folder.rglob("*") if path.is_file() and ours not in path.parents)
            expected = {_MANIFEST, *listed, *(() if self.is_atomic else self._foreign)}
            found += sorted(expected ^ {str(path.relative_to(folder)) for path in paths})
        return found

    def _get(self, path: str) -> bytes | None:
        return _read(self.root / path)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
