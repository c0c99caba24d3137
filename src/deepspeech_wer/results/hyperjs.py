"""``js/hyper.js``: all runs that gave figures, for the page.

The form is that of the page of 2016: ``window.ALL_THE_DATA = [ ... ];``, oldest first, one run a line, each the
content of its hyper.json. What is new stands beside it and is optional: ``run`` (id of the run), and ``seed_index``
where a landing is trained several times: which of its seeds this is, counted from 0, and left out for 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deepspeech_wer.results import hyper
from deepspeech_wer.results.archive import RunRecord

_HEAD, _TAIL = "window.ALL_THE_DATA = [", "];"


def merge(records: Iterable[RunRecord]) -> str:
    """The text of ``js/hyper.js`` for ``records``, which are in commit order; failed runs have no line.

    The commit of a landing is written into ``context.git_hash`` where the run itself named none.
    """
    lines = []
    for record in records:
        if record.hyper is None:
            continue
        context = dict(record.hyper["context"])
        if record.landing:
            context["git_hash"] = record.landing.sha
        beside: dict[str, Any] = {"context": context, "run": record.run_id}
        if record.seed:
            beside["seed_index"] = record.seed
        lines.append(hyper.dump({**record.hyper, **beside}))
    return "\n".join([_HEAD, ",\n".join(lines), _TAIL]) + "\n" if lines else f"{_HEAD}{_TAIL}\n"


def read(text: str) -> list[dict[str, Any]]:
    """The runs in the text of a ``hyper.js``, of today's or of the old form. Raises ValueError if it is neither."""
    body = text.strip()
    name, _, value = body.partition("=")
    if name.strip() not in {"window.ALL_THE_DATA", "var ALL_THE_DATA", "ALL_THE_DATA"}:
        raise ValueError("it does not assign window.ALL_THE_DATA")
    runs = json.loads(value.strip().rstrip(";"))
    if not isinstance(runs, list):
        raise ValueError("window.ALL_THE_DATA is not a list")
    return runs
