"""A site of 50 files in several versions: what stays, what changes, what gets another name, what comes and goes."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path, PurePosixPath

#: What scripts of other people load: one name in all versions, each time a whole file of one of them.
LOOSE = ("js/hyper.js",)


def version(number: int, *, files: int = 50, size: int = 2000) -> dict[str, bytes]:
    """The site's files by path, the same for the same ``number``: 1, 2, ...

    Every third asset changes from one version to the next, the images go round in the names that they are shown under,
    and all else stays. Assets have their content's hash in their names. Contents do not compress well; some are large.
    """
    made: dict[str, bytes] = {}

    def asset(name: str, content: bytes) -> str:
        path = PurePosixPath(name)
        named = str(path.with_name(f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"))
        made[named] = content
        return named

    images = [_text(f"image {n}", size) for n in range(6)]
    # The same content under another name.
    shown = [asset(f"img/{'abcdef'[(n + number) % 6]}.png", content) for n, content in enumerate(images)]
    rules = "".join(f".i{n} {{ background: url(../{path}) }}\n" for n, path in enumerate(shown))
    css = [asset("css/site.css", rules.encode()), asset("css/print.css", _text("print", size))]
    pages = 10
    scripts = []
    for n in range(files - len(images) - len(css) - len(LOOSE) - pages):
        changed = number if n % 3 == 0 else 0
        scripts.append(asset(f"js/part{n}.js", _text(f"script {n} {changed}", size * 20 if n == 3 else size)))
    made[LOOSE[0]] = _text(f"data {number}", size * 10)
    for n in range(pages):
        path = f"runs/{n}.html" if n else "index.html"
        up = "../" if n else ""
        loaded = scripts if n == 0 else scripts[n::pages]
        lines = [f'<link rel="stylesheet" href="{up}{name}">' for name in css]
        lines += [f'<script src="{up}{name}"></script>' for name in [*loaded, *LOOSE]]
        lines += [
            f'<a href="{up}{f"runs/{other}.html" if other else "index.html"}">{other}</a>' for other in range(pages)
        ]
        made[path] = ("<!doctype html>\n" + "\n".join(lines) + "\n").encode()
    assert len(made) == files
    return made


def _text(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size // 2).hex().encode()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
