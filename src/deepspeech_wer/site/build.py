"""The web root, made whole again from the archive's records, every time.

::

    index.html              the headline, the charts' places, every landing in a table; works without JavaScript
    css/site.<hash>.css     its look
    js/plotly.min.<hash>.js plotly.js, from the plotly package
    js/hyper.<hash>.js      window.ALL_THE_DATA: parameters and results of every trained run
    js/landings.<hash>.js   window.LANDINGS: every landing in commit order with its runs, failed ones too
    js/*.<hash>.js          the charts, drawn in the browser from those two
    js/hyper.js, landings.js    the same data where other readers look for them
    runs/<run id>/log.txt   what a run printed

What the page loads has the hash of its content in its name (:mod:`deepspeech_wer.site.named`). Everything is loaded by
``src`` and ``href`` from beside the page, so that it works from ``file://``. The same records give the same bytes; the
only time on the page is that of the newest run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jinja2

from deepspeech_wer import templates
from deepspeech_wer.errors import TrackerError
from deepspeech_wer.results import hyper, hyperjs
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.site import logs, text, webroot
from deepspeech_wer.site.named import Assets
from deepspeech_wer.site.rows import Row, headline, rows

PAGE = "index.html"

#: The parts of the template folder that are copied as they are.
_STATIC = ("css/*.css", "js/*.js")


def build(records: Sequence[RunRecord], web_root: Path, *, title: str, repository: str = "") -> Path:
    """Make the site of ``records``, which are in commit order, in ``web_root``; gives the path of its page.

    Only what differs is written, each file atomically, the page after all that it needs. ``repository`` is the
    tracked repository's address, linked if it is one of http or https; of a path on this machine only the last
    component is shown. Raises TrackerError where a file cannot be
    written or read, SettingsError where a file in the web root is somebody else's.
    """
    logged = [record for record in records if record.landing and logs.is_there(record.folder)]
    table = rows(records, frozenset(record.folder.name for record in logged))
    data = {"js/hyper.js": hyperjs.merge(records).encode(), "js/landings.js": landings_js(table).encode()}
    assets = Assets({**_static_files(), "js/plotly.min.js": _plotly(), **data})
    files: dict[str, Callable[[], bytes]] = {
        **assets.files(),
        # js/hyper.js has been there since 2016: who reads the figures from it, goes on to.
        **{name: partial(bytes, content) for name, content in data.items()},
        **{_log(record): partial(logs.read, record.folder) for record in logged},
        PAGE: lambda: _page(table, title, repository, assets, tuple(data)).encode(),
    }
    copied = {name for record in logged if logs.is_copied(record.folder, web_root / (name := _log(record)))}
    webroot.write(web_root, files, copied)
    return web_root / PAGE


def _log(record: RunRecord) -> str:
    return f"runs/{record.folder.name}/log.txt"


def landings_js(table: Sequence[Row]) -> str:
    """The text of ``js/landings.js``: ``window.LANDINGS = [...];``, one landing a line, in commit order."""
    lines = ",\n".join(hyper.dump(row.to_json()) for row in table)
    return f"window.LANDINGS = [\n{lines}\n];\n" if lines else "window.LANDINGS = [];\n"


def _static_files() -> dict[str, bytes]:
    source = templates.folder() / "site"
    return {
        path.relative_to(source).as_posix(): path.read_bytes()
        for pattern in _STATIC
        for path in sorted(source.glob(pattern))
    }


def _plotly() -> bytes:
    """plotly.js in the plotly package, which is found but not imported: importing it takes half a second."""
    spec = importlib.util.find_spec("plotly")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_bytes()
    raise TrackerError(
        "plotly.min.js, which draws the charts, is not there: the plotly package is missing or not whole",
        "install it again: python -m pip install --force-reinstall plotly",
    )


def _page(table: Sequence[Row], title: str, repository: str, assets: Assets, data: Sequence[str]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates.folder() / "site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": text.percent,
        "points": text.points,
        "spread": text.spread,
        "duration": text.duration,
        "energy": text.energy,
        "count": text.count,
    }
    trained = [row.figures.test for row in table if row.figures]
    return environment.get_template(PAGE).render(
        asset=assets.seen_from(PAGE),
        data=data,
        title=text.plain(title),
        repository=text.address(repository),
        repository_url=text.link(repository),
        rows=list(reversed(table)),
        headline=headline(table),
        landings=sum(not row.legacy for row in table),
        others=sum(row.legacy for row in table),
        has_seeds=any(row.seeds > 1 for row in table),
        has_energy=any(row.figures and row.figures.energy is not None for row in table),
        unnamed=text.UNNAMED,
        has_commits=any(row.url for row in table),
        failures=sum(row.failed for row in table),
        best=min(trained, default=None),
        worst=max(trained, default=None),
        updated=max(
            (when for row in table for run in row.runs if (when := text.moment(run.finished)).iso),
            key=_iso,
            default=None,
        ),
    )


def _iso(moment: text.Moment) -> str:
    return moment.iso
