"""The site that is to be published: its files in the order in which they are put in place, known by their content."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.assets import collect
from deepspeech_wer.publish.links import PAGE_SUFFIXES
from deepspeech_wer.publish.operations import Content, open_file


@dataclass(frozen=True)
class Site:
    """``files`` by their paths below the web root: data and assets first, then pages, ``page`` last of all.

    ``left_out`` says in one sentence each what was linked to and is not part of the site, and why.
    """

    page: str
    files: Mapping[str, Content]
    left_out: tuple[str, ...] = ()


def gather(web_root: Path, page: str) -> Site:
    """What ``page`` in ``web_root`` needs. Raises PublishError if there is no such page, or a file cannot be read."""
    collection = collect(web_root, page)
    files = {str(asset.path): _content(asset.source) for asset in collection.assets}
    return Site(page, files, collection.left_out)


def is_page(path: str) -> bool:
    """Whether readers begin with a file, and what it needs must be there before it."""
    return posixpath.splitext(path)[1].lower() in PAGE_SUFFIXES


def _content(source: Path) -> Content:
    with open_file(source) as file:
        digest = hashlib.sha256()
        size = 0
        try:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
        except OSError as error:
            raise PublishError(f"cannot read {source}: {error.strerror}", "see what is wrong with that disk") from error
    return Content(digest.hexdigest(), size, source)
