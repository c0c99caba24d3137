"""A publish that is cut at any place, each followed by a second one, while a reader looks on all the time.

The site has 50 files, of which the second version leaves most, changes some, and gives some another name. The cuts are
spread over all the bytes that travel, both ways, from the first of the login to the last of the tidying up; every third
is in the last tenth of them, where what arrived is put in place.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.errors import ConnectionFailed
from deepspeech_wer.publish.release import Manner, publish
from publish.ground import Ground
from publish.lying import Linking
from publish.proxy import Fault, proxied
from publish.reader import Reader, served
from publish.versions import LOOSE, version, write

OLD, NEW = version(1), version(2)
#: Seconds that the server may say nothing.
TIMEOUT = 20


@pytest.mark.parametrize(("kind", "places"), [("openssh", 30), ("asyncssh", 12)])
@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_a_publish_cut_anywhere_is_never_half_to_readers_and_is_gone_on_with(
    start_server: Callable[..., Any], tmp_path: Path, kind: str, way: str, places: int
) -> None:
    old, new = write(tmp_path / "old", OLD), write(tmp_path / "new", NEW)
    server = start_server(kind, **({"sftp": Linking} if kind == "asyncssh" else {}))
    manner = Manner(way=way, retries=0)
    before = Ground(server.home / "before", [OLD, NEW])
    publish(old, server.target("before"), manner=manner)
    before.settle()
    completed, again = 0, 0
    with proxied(server.port) as proxy, served(server.home) as address:
        before.copy(server.home / "whole")
        publish(new, proxy.target(server, "whole"), manner=manner)
        whole, both = proxy.up, proxy.up + proxy.down
        for number in range(places):
            ground = before.copy(server.home / f"www{number}")
            spread = number / places
            after = 1 + int(both * (0.9 + spread / 10 if number % 3 == 0 else spread))
            where = f"cut after {after} bytes of {both}"
            base = f"/{ground.root.name}/"
            bases = [base, *([f"{base}current/"] if way == "atomic" else [])]
            with Reader(address, bases, [OLD, NEW], LOOSE, seed=number) as reader:
                proxy.plan = lambda connection, after=after: Fault(after)  # type: ignore[misc]
                try:
                    publish(new, proxy.target(server, ground.root.name, timeout=TIMEOUT), manner=manner)
                    completed += 1
                except ConnectionFailed as error:
                    assert error.hint, error
                reader.settle()
                proxy.plan = lambda connection: None
                proxy.forget()
                publish(new, proxy.target(server, ground.root.name), manner=manner)
                again += proxy.up
                reader.settle()
            assert reader.failures == [] and reader.loads >= 4, where
            assert (ground.differs(NEW), ground.wrong(), ground.leftovers()) == ([], [], []), where
            shutil.rmtree(ground.root)
    assert completed <= places // 6, "only what is cut when almost all is done may have been done"
    assert again < 0.9 * whole * places, "what arrived is not sent again"
