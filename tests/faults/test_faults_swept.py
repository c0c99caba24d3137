"""What a writer that was killed leaves under a temporary name is swept, and nobody else's files with it."""

from __future__ import annotations

import json
from pathlib import Path

from deepspeech_wer import housekeeping
from deepspeech_wer.config import Settings
from deepspeech_wer.journal import Journal
from deepspeech_wer.site import webroot


def test_only_temporary_files_of_ours_are_swept(tmp_path: Path) -> None:
    settings = Settings(dataroot=tmp_path)
    root, run = settings.web_root, tmp_path / "runs" / "20261121-120000-aaaaaaa-123456"
    (root / "js").mkdir(parents=True)
    (run / "model").mkdir(parents=True)
    (root / webroot.LIST).write_text(json.dumps({"files": ["index.html", "js/hyper.js"]}))
    swept = [
        tmp_path / ".trouble.json.abcdefgh.tmp",
        root / ".index.html.abcd_123.tmp",
        root / f".{webroot.LIST}.abcdefgh.tmp",
        root / "js" / ".hyper.js.abcdefgh.tmp",
        run / ".status.json.abcdefgh.tmp",
    ]
    kept = [
        root / ".thesis.tex.abcdefgh.tmp",  # beside a file of somebody else
        root / "js" / ".index.html.abcdefgh.tmp",
        root / ".index.html.tmp",
        run / "model" / ".weights.abcdefgh.tmp",  # the training's own
        run / "log.txt",
    ]
    for path in swept + kept:
        path.write_text("half")
    housekeeping.tidy(settings, Journal(tmp_path / "journal.jsonl", tmp_path / "last_sha1"))
    assert [path for path in swept if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
