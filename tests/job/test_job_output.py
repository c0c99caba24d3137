"""What reaches the log of a job."""

from __future__ import annotations

import io

import pytest

from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.job import output
from deepspeech_wer.job.output import Output, Stream, one_line, overwritten, plain


def fed(*pieces: str) -> list[str]:
    file = io.BytesIO()
    stream = Stream(Output(file))
    for piece in pieces:
        stream.feed(piece)
    stream.close()
    return file.getvalue().decode().splitlines()


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["one\ntwo\n"], ["one", "two"]),
        (["on", "e\n\ntw", "o"], ["one", "", "two"]),
        (["one\r\ntwo\r", "\n"], ["one", "two"]),
        (["\r1%", "\r2%", "\r100%", "\ndone\n"], ["100%", "done"]),
        (["1%\r", "2%\r", "100%\r"], ["100%"]),
        (["1%\r", "2%\r", "\n"], ["2%"]),
        (["\b\b\b\b\r1/2\b\b\b", "\b\r2/2\n"], ["2/2"]),
        (["\x1b[1m\x1b[32m3/3\x1b[0m\x1b[37m\x1b[A ok\x1b]8;;http://x\x07link\n"], ["3/3 oklink"]),
        (["lone surrogate \udcff\n"], ["lone surrogate \\udcff"]),
    ],
)
def test_lines_and_progress_bars(pieces, lines):
    assert fed(*pieces) == lines


def test_a_long_progress_bar_shows_a_state_now_and_then(monkeypatch):
    monkeypatch.setattr(output, "PROGRESS_SECONDS", 0.0)
    assert fed("\r1%", "\r2%", "\r3%\n") == ["1%", "2%", "3%"]


def test_a_line_without_an_end_is_not_kept_in_memory():
    lines = fed(*["x" * 1000] * 100)
    assert sum(map(len, lines)) == 100_000
    assert max(map(len, lines)) < 2 * output.LONGEST_LINE


def test_plain_and_one_line():
    assert plain("\x1b[31mred\x1b[0m\ttab\nline\x00") == "red\ttab\nline"
    assert one_line("a\n  b\r\nc") == "a b c"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"


def test_the_limit_counts_what_is_printed_and_cuts_it_off_once():
    file = io.BytesIO()
    log = Output(file, limit=10)
    log.step("a long line of the tracker's own")
    log.write("12345678")
    with pytest.raises(LandingFailed, match="more than 1e-05 MB") as caught:
        log.write("second")
    assert "ds_log_limit" in caught.value.hint
    log.write("third")
    log.step("failed")
    lines = file.getvalue().decode().splitlines()
    assert lines[1:3] == ["12345678", "s"]
    assert lines[3].endswith("failed") and len(lines) == 4
    assert log.last(5) == ["12345678", "second"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\ntext", "plain\ntext"),
        ("\r1%\r2%", "2%"),
        ("1%\r2%\r", "2%\r"),
        ("a\r\nb\r", "a\r\nb\r"),
        ("a\r\r\n", "a\r\n"),
        ("one\n1%\r2%\ntwo", "one\n2%\ntwo"),
    ],
)
def test_what_is_overwritten(text, left):
    assert overwritten(text) == left
    assert overwritten(left) == left


def test_what_is_overwritten_does_not_grow():
    text = ""
    for number in range(1000):
        text = overwritten(text + f"\r{number}%\r")
    assert text == "999%\r"
