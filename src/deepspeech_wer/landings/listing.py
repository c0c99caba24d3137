"""The verb ``landings``: what has landed, oldest first, and what the journal knows of each.

``deepspeech-wer landings --json`` prints one array of objects. They have the fields of a landing, and these::

    state    where it stands in the journal, null where it is not there yet
    why      what the journal says of that
    skipped  why the next tick would not train it; empty where it would
"""

from __future__ import annotations

import json
import sys
from typing import Any

from deepspeech_wer import discovery
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EXIT_DONE, SettingsError
from deepspeech_wer.journal import Journal
from deepspeech_wer.landings.git import Found, Head, Mirror, public
from deepspeech_wer.landings.selection import select
from deepspeech_wer.terminal import printable


def list_landings(settings: Settings, since: str | None, as_json: bool) -> int:
    """Print what has landed after the commit ``since``, by default after ``last_sha1``; on a first run the head.

    Raises SettingsError where ``since`` is no commit of the branch, RepositoryError where that cannot be read.
    """
    url = settings.require_repository()
    journal = Journal(settings.dataroot / "journal.jsonl", settings.cache / "last_sha1")
    mirror = Mirror(settings.cache, url, settings.commit_url)
    head = discovery.find_head(settings)
    mirror.fetch(head)
    found = find(settings, journal, mirror, head, since)
    if found.remark:
        print(f"deepspeech-wer: {printable(found.remark)}", file=sys.stderr)
    rows = [_row(each.to_json(), found, journal) for each in found.landings]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print("\n".join(line for row in rows for line in _lines(row)))
    else:
        print(f"nothing new: {public(url)} is at {head.sha[:7]}")
    return EXIT_DONE


def find(settings: Settings, journal: Journal, mirror: Mirror, head: Head, since: str | None) -> Found:
    """What a tick would find, or would where ``last_sha1`` were the commit that ``since`` names."""
    if since is None:
        return discovery.find(settings, journal, mirror, head)
    sha = mirror.landing(since).sha
    if not mirror.is_on_branch(sha, head.sha):
        raise SettingsError(f"{since} is not on the branch {head.branch}", "give a commit that is")
    if settings.landings_source == "github":
        from deepspeech_wer.landings.github import GitHub

        return select(GitHub.of(settings).landings(head, sha, first=mirror.position), settings, mirror)
    return select(mirror.landings(head, sha), settings, mirror)


def _row(landing: dict[str, Any], found: Found, journal: Journal) -> dict[str, Any]:
    entry = journal.entry(landing["sha"])
    state, why = (str(entry.state), entry.why) if entry else (None, "")
    return landing | {"state": state, "why": why, "skipped": found.skipped.get(landing["sha"], "")}


def _lines(row: dict[str, Any]) -> list[str]:
    """One landing for a terminal."""
    state = row["state"] or ("left out" if row["skipped"] else "new")
    kind = f"rebase of {row['commits']}" if row["kind"] == "rebase" else row["kind"]
    when = row["date"][:16].replace("T", " ")
    head = f"{row['sha']}  {when} UTC  {kind:<7} {state:<9} {row['author']}: {row['subject']}"
    parents = " ".join(parent[:7] for parent in row["parents"]) or "none"
    notes = [f"parents {parents}", *dict.fromkeys(each for each in (row["why"], row["skipped"]) if each)]
    return [printable(head), "    " + printable("; ".join(notes))]
