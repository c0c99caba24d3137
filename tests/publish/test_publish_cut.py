"""A publish that is cut at any place, each followed by a second one, while a reader looks on all the time.

The site has 50 files, of which the second version leaves most, changes some, and gives some another name. The cuts are
spread over all the bytes that travel, both ways, from the first of the login to the last of the tidying up.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.errors import ConnectionFailed
from deepspeech_wer.publish.release import Manner, publish
from publish.lying import Linking
from publish.proxy import Fault, Proxy, proxied
from publish.reader import Reader, served
from publish.versions import LOOSE, version, write

OLD, NEW = version(1), version(2)
#: Files of somebody else in the web root.
FOREIGN = {"notes.txt": b"mine", "pictures/cat.jpg": b"a cat"}
#: Seconds that a publish may take which is cut.
BOUND = 20


def manner(way: str) -> Manner:
    return Manner(way=way, retries=0)


def leftovers(root: Path) -> list[str]:
    """What stands in the web root and ought not to."""
    ours = root / ".deepspeech-wer"
    found = [str(path) for name in ("incoming", "building") for path in (ours / name).glob("*")]
    is_atomic = (root / "releases").exists()
    for folder in sorted((root / "releases").glob("*")) if is_atomic else [root]:
        listed = json.loads((folder / ".deepspeech-wer.json").read_text())["files"]
        there = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and ours not in path.parents}
        expected = {".deepspeech-wer.json", *listed, *(() if is_atomic else FOREIGN)}
        found += sorted(expected ^ {str(path) for path in there})
    return found


class Ground:
    """Web roots on a server that show the old version, as many as are asked for, each a copy of the first."""

    def __init__(self, server: Any, site: Path, way: str) -> None:
        self.server, self.way = server, way
        self.before = server.home / "before"
        publish(site, server.target("before"), manner=manner(way))
        write(self.before, FOREIGN)
        self._number = 0

    def fresh(self) -> Path:
        self._number += 1
        root: Path = self.server.home / f"www{self._number}"
        # With times and symbolic links; that hard links come apart does not matter here.
        shutil.copytree(self.before, root, symlinks=True)
        return root


def traffic(proxy: Proxy, ground: Ground, site: Path) -> tuple[int, int]:
    """Bytes of a whole publish of ``site`` over the old version: to the server, and in all."""
    proxy.forget()
    root = ground.fresh()
    publish(site, proxy.target(ground.server, root.name), manner=manner(ground.way))
    shutil.rmtree(root)
    return proxy.up, proxy.up + proxy.down


@pytest.mark.parametrize(("kind", "places"), [("openssh", 60), ("asyncssh", 30)])
@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_a_publish_cut_anywhere_is_never_half_to_readers_and_is_gone_on_with(
    start_server: Callable[..., Any], tmp_path: Path, kind: str, way: str, places: int
) -> None:
    old, new = write(tmp_path / "old", OLD), write(tmp_path / "new", NEW)
    server = start_server(kind, **({"sftp": Linking} if kind == "asyncssh" else {}))
    ground = Ground(server, old, way)
    completed, again = 0, 0
    with proxied(server.port) as proxy, served(server.home) as address:
        whole, both = traffic(proxy, ground, new)
        for number in range(places):
            root = ground.fresh()
            after = 1 + both * number // places
            bases = [f"/{root.name}/", *([f"/{root.name}/current/"] if way == "atomic" else [])]
            with Reader(address, bases, [OLD, NEW], LOOSE, seed=number) as reader:
                proxy.plan = lambda connection, after=after: Fault(after)  # type: ignore[misc]
                try:
                    publish(new, proxy.target(server, root.name, timeout=BOUND), manner=manner(way))
                    completed += 1
                except ConnectionFailed as error:
                    assert error.hint, error
                reader.settle()
                proxy.plan = lambda connection: None
                proxy.forget()
                publish(new, proxy.target(server, root.name), manner=manner(way))
                again += proxy.up
                reader.settle()
            assert reader.failures == [], f"cut after {after} bytes of {both}"
            assert reader.loads >= 4
            for path, content in {**NEW, **FOREIGN}.items():
                assert (root / path).read_bytes() == content, f"{path}, cut after {after} bytes of {both}"
            assert leftovers(root) == [], f"cut after {after} bytes of {both}"
            shutil.rmtree(root)
    assert completed <= places // 10, "what is cut after almost all is done may have been done"
    assert again < 0.9 * whole * places, "what arrived is not sent again"
