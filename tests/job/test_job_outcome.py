"""What counts as the result of a job: its hyper.json, wherever and whatever it is."""

from __future__ import annotations

import json

import pytest

from deepspeech_wer.job.spec import FAILED, TRAINED

SHA = "0123456789abcdef0123456789abcdef01234567"


def text(wer=0.25, sha=SHA):
    return json.dumps({"context": {"git_hash": sha}, "parameters": {}, "results": {"test_wer": wer}})


@pytest.mark.parametrize(
    ("folder", "environment"),
    [(".", {}), ("logs/2026-01-02", {}), ("elsewhere/deep/er", {"ds_logs_dir": "elsewhere"})],
)
def test_it_is_found_in_the_checkout_with_what_belongs_to_it(bench, folder, environment):
    bench.settings["environment"] = environment
    bench.script(
        f"#!/bin/sh\nmkdir -p {folder}; cd {folder}; echo '{text()}' > hyper.json; echo u > utterances.jsonl\n"
        'echo stays > "$ds_result_dir/learning.jsonl"; echo l > learning.jsonl\n'
    )
    assert bench.run().state == TRAINED
    assert bench.hyper()["results"]["test_wer"] == 0.25
    assert bench.result("utterances.jsonl") == "u\n"
    assert bench.result("learning.jsonl") == "stays\n"


def test_the_result_folder_goes_before_the_checkout_and_the_newest_log_before_the_older(bench):
    bench.script(
        f"#!/bin/sh\nmkdir -p logs/b logs/a; echo '{text(0.1)}' > logs/b/hyper.json; sleep 0.02\n"
        f"echo '{text(0.2)}' > logs/a/hyper.json\n"
    )
    assert bench.run().state == TRAINED
    assert bench.hyper()["results"]["test_wer"] == 0.2

    bench.settings["result"] = bench.root / "runs" / "second"
    bench.script(f"#!/bin/sh\necho '{text(0.3)}' > hyper.json; echo '{text(0.4)}' > $ds_result_dir/hyper.json\n")
    assert bench.run().state == TRAINED
    assert bench.hyper()["results"]["test_wer"] == 0.4


def test_one_that_was_there_before_does_not_count(bench):
    (bench.checkout / "hyper.json").write_text(text())
    (bench.checkout / "utterances.jsonl").write_text("old\n")
    bench.script("#!/bin/sh\n")
    status = bench.run()
    assert status.state == FAILED
    assert "hyper.json was there before it started" in status.why

    bench.settings["result"] = bench.root / "runs" / "second"
    bench.script(f"#!/bin/sh\necho '{text(0.5)}' > hyper.json\n")
    assert bench.run().state == TRAINED
    assert bench.hyper()["results"]["test_wer"] == 0.5
    assert not (bench.spec.result / "utterances.jsonl").exists()


def test_none(bench):
    bench.script("#!/bin/sh\n")
    status = bench.run()
    assert status.state == FAILED
    assert "left no hyper.json" in status.why and "ds_result_dir" in status.hint


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (text()[:40], "not valid JSON"),
        ("", "not valid JSON"),
        (text().replace("0.25", "NaN"), "NaN"),
        (text().replace("0.25", "1e999"), "is inf"),
        ("[]", "a list"),
    ],
)
@pytest.mark.parametrize("folder", ["$ds_result_dir", "."])
def test_an_invalid_one_fails_and_is_kept(bench, content, why, folder):
    bench.script(f"#!/bin/sh\nprintf %s '{content}' > \"{folder}/hyper.json\"\n")
    status = bench.run()
    assert status.state == FAILED
    assert why in status.why and "hyper.json.invalid" in status.hint
    assert bench.result("hyper.json.invalid") == content
    assert not (bench.spec.result / "hyper.json").exists()


def test_one_of_another_commit_fails_and_is_kept(bench):
    other = "f" * 40
    bench.script(f"#!/bin/sh\necho '{text(sha=other)}' > $ds_result_dir/hyper.json\n")
    status = bench.run()
    assert status.state == FAILED
    assert other in status.why and SHA in status.why
    assert other in bench.result("hyper.json.invalid")


@pytest.mark.parametrize("sha", ["", "unknown", SHA.upper(), SHA[:7]])
def test_one_that_names_no_other_commit_is_taken(bench, sha):
    bench.script(f"#!/bin/sh\necho '{text(sha=sha)}' > $ds_result_dir/hyper.json\n")
    assert bench.run().state == TRAINED


def test_a_link_to_the_newest_of_its_results_is_followed(bench):
    bench.script(f"#!/bin/sh\necho '{text(0.5)}' > own.json; ln -s \"$PWD/own.json\" $ds_result_dir/hyper.json\n")
    assert bench.run().state == TRAINED
    assert bench.hyper()["results"]["test_wer"] == 0.5
    assert not (bench.spec.result / "hyper.json").is_symlink()


def test_one_that_no_memory_holds_fails(bench):
    bench.script("#!/bin/sh\ntruncate -s 1T $ds_result_dir/hyper.json\n")
    status = bench.run()
    assert status.state == FAILED
    assert "cannot be read: larger than" in status.why
