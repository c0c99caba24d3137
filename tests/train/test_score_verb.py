"""``deepspeech-train score``: files in, rates out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.scoring import transcripts
from deepspeech_train.verbs import scoring as verb

REFERENCE = {"m1_a": "turn the light on", "m1_b": "go left", "f1_c": "stop", "f1_d": "three"}
HYPOTHESIS = {"m1_a": "turn light off", "m1_b": "go left", "f1_c": "", "f1_d": "three"}
#: Written by form: what a file of it holds.
WRITERS = {
    "kaldi": lambda texts: "".join(f"{name} {text}".rstrip() + "\n" for name, text in texts.items()),
    "trn": lambda texts: ";; a remark\n" + "".join(f"{text} ({name})\n" for name, text in texts.items()),
    "jsonl": lambda texts: "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()),
    "lines": lambda texts: "".join(text + "\n" for text in texts.values()),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _score(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    return verb.main(parser.parse_args(arguments))


def _document(*arguments: str) -> dict[str, Any]:
    assert _score(*arguments, "--json", "scores.json") == 0
    document: dict[str, Any] = json.loads(Path("scores.json").read_text())
    return document


def _write(name: str, texts: dict[str, str] | str, form: str = "kaldi", encoding: str = "utf-8") -> str:
    Path(name).write_bytes((texts if isinstance(texts, str) else WRITERS[form](texts)).encode(encoding))
    return name


@pytest.mark.parametrize("left", ["kaldi", "trn", "jsonl"])
@pytest.mark.parametrize("right", ["kaldi", "trn", "jsonl"])
def test_every_form_gives_the_same_rates(folder: Path, left: str, right: str) -> None:
    shuffled = dict(reversed(HYPOTHESIS.items()))
    document = _document(_write("ref", REFERENCE, left), _write("hyp", shuffled, right))
    assert document["reference"]["format"] == left
    assert document["hypothesis"]["format"] == right
    assert document["words"] == 8
    assert (document["substitutions"], document["deletions"], document["insertions"]) == (1, 2, 0)
    assert document["wer"] == 3 / 8
    assert document["missing"] == document["extra"] == document["repeated"] == []


def test_plain_lines_go_by_their_place(folder: Path) -> None:
    document = _document(_write("ref", REFERENCE, "lines"), _write("hyp", HYPOTHESIS, "lines"))
    assert document["reference"]["format"] == "lines"
    assert document["wer"] == 3 / 8


def test_a_run_s_own_file_holds_both_sides(folder: Path) -> None:
    record = {"id": "a", "speaker": "m1", "reference": "go left", "hypothesis": "go right", "text": "of another tool"}
    document = _document(_write("utterances.jsonl", json.dumps(record)))
    assert document["wer"] == 0.5
    assert document["by_speaker"][0]["name"] == "m1"


def test_nemo_s_manifest_with_predictions_holds_both_sides(folder: Path) -> None:
    lines = [{"audio_filepath": f"{n}.wav", "text": "go left", "pred_text": "go"} for n in (1, 2)]
    assert _document(_write("nemo", "\n".join(map(json.dumps, lines))))["wer"] == 0.5


def test_a_manifest_is_not_its_own_hypothesis(folder: Path) -> None:
    with pytest.raises(RecipeError, match="line 1: there is no hypothesis"):
        _score(_write("manifest", REFERENCE, "jsonl"))
    with pytest.raises(SettingsError, match="cannot hold both"):
        _score(_write("text", REFERENCE, "kaldi"), "text")


def test_ids_that_look_like_words_are_found_by_those_of_the_other_file(folder: Path) -> None:
    reference, hypothesis = {"anna": "go left", "berta": "stop"}, {"anna": "go", "berta": "stop"}
    document = _document(_write("ref", reference, "trn"), _write("hyp", hypothesis, "kaldi"))
    assert document["hypothesis"]["format"] == "kaldi"
    assert document["wer"] == 1 / 3
    document = _document(_write("ref", reference), _write("hyp", hypothesis), "--format", "kaldi")
    assert document["wer"] == 1 / 3


def test_words_with_digits_are_no_ids_unless_they_differ(folder: Path) -> None:
    lines = {str(place): f"4 you {place}" for place in range(5)}
    assert _document(_write("ref", lines, "lines"), _write("hyp", lines, "lines"))["reference"]["format"] == "lines"


def test_what_is_missing_unknown_or_repeated_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write("ref", REFERENCE)
    _write("hyp", "m1_a turn the light on\nm1_a again\nx9 hello\nf1_d three\n")
    document = _document("ref", "hyp")
    told = capsys.readouterr().err
    assert document["missing"] == ["m1_b", "f1_c"]
    assert document["extra"] == ["x9"]
    assert document["repeated"] == ["m1_a"]
    assert (document["wer"], document["deletions"]) == (3 / 8, 3)
    assert "2 without a hypothesis, counted as all deleted: m1_b, f1_c" in told
    assert "1 without a reference, not counted: x9" in told
    assert "1 more than once in a file, the first one counted: m1_a" in told


@pytest.mark.parametrize("wrong", [{"m1_b": None}, {"x9": "hello"}])
def test_strict_wants_the_same_utterances(folder: Path, wrong: dict[str, str | None]) -> None:
    files = (_write("ref", REFERENCE), _write("same", REFERENCE))
    texts = {name: text for name, text in (REFERENCE | wrong).items() if text is not None}
    assert _score(*files, "--strict") == 0
    with pytest.raises(RecipeError, match="--strict"):
        _score(*files, _write("hyp", texts), "--strict")
    with pytest.raises(RecipeError, match="--strict"):
        _score(*files, _write("hyp", WRITERS["kaldi"](REFERENCE) + "m1_a again\n"), "--strict")


@pytest.mark.parametrize("form", ["kaldi", "trn", "jsonl"])
@pytest.mark.parametrize("said", [True, False])
def test_an_empty_hypothesis_file_is_all_deletions(folder: Path, form: str, said: bool) -> None:
    files = _write("ref", REFERENCE, form), _write("hyp", "")
    document = _document(*files, *(("--format", form) if said else ()))
    assert document["wer"] == 1
    assert len(document["missing"]) == 4


@pytest.mark.parametrize(
    ("reference", "hypothesis", "message"),
    [
        ("u1 go\nu2 stop\n", "v1 go\nv2 stop\n", "no id in common"),
        ("go left\nstop\n", "go left\n", "2 and 1 lines"),
        ("go (u1)\nstop (u2)\n", "go\nstop\n", "one has ids"),
        ("", "go\n", "no transcript"),
        ("go (u1)\nstop (u2)\nstop\n", "go (u1)\n", "ref, line 3: 'stop' does not end in an id"),
        ("{ go / goes } left (u1)\n", "go left (u1)\n", "alternatives"),
        ('{"id": "a", "text": "go"}\n{"id": "b", "te}\n', '{"id": "a", "text": "go"}\n', "ref, line 2: .* not JSON"),
        ('{"text": "go"}\n', '{"id": "a", "text": "go"}\n', "there is no id"),
        ('{"id": "a", "text": null}\n', '{"id": "a", "text": "go"}\n', "there is no reference"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder: Path, reference: str, hypothesis: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _score(_write("ref", reference), _write("hyp", hypothesis))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_are_told_by_their_mark(folder: Path, encoding: str) -> None:
    texts = {"u1": "schöne Grüße"}
    document = _document(_write("ref", texts, encoding=encoding), _write("hyp", texts))
    assert document["wer"] == 0


def test_another_encoding_is_named(folder: Path) -> None:
    reference, hypothesis = (_write(name, "u1 go\nu2 schön\n", encoding="latin-1") for name in ("ref", "hyp"))
    with pytest.raises(RecipeError, match="ref, line 2: this is not utf-8") as error:
        _score(reference, hypothesis)
    assert "--encoding" in error.value.hint
    assert _document(reference, hypothesis, "--encoding", "latin-1")["words"] == 2
    with pytest.raises(SettingsError, match="no encoding called"):
        _score(reference, hypothesis, "--encoding", "nothing-8")


def test_windows_line_ends_are_no_words(folder: Path) -> None:
    assert _document(_write("ref", "u1 go left\r\nu2\r\n"), _write("hyp", "u1 go left\nu2\n"))["wer"] == 0


def test_normalisation_is_applied_to_both_and_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = (_write("ref", "u1 Go left, please!"), _write("hyp", "u1 go LEFT please"))
    assert _document(*files)["substitutions"] == 3
    document = _document(*files, "--normalise", "basic")
    assert document["wer"] == 0
    assert document["normalisation"] == "basic-1"
    assert "text normalisation: basic-1" in capsys.readouterr().out


def test_speakers_come_from_a_file_or_from_the_ids(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = (_write("ref", REFERENCE), _write("hyp", HYPOTHESIS))
    names = [part["name"] for part in _document(*files, "--speaker-before", "_-", "--top", "1")["by_speaker"]]
    assert names == ["f1", "m1"]
    told = capsys.readouterr().out
    assert "By speaker, the worst 1 of 2" in told
    assert "  f1 " in told  # half of what this one said was not recognised
    assert "  m1 " not in told
    _write("utt2spk", "m1_a anna\nm1_b anna\nf1_c bert\nf1_d bert\n")
    parts = _document(*files, "--utt2spk", "utt2spk")["by_speaker"]
    assert {part["name"]: part["wer"] for part in parts} == {"anna": 2 / 6, "bert": 1 / 2}
    with pytest.raises(RecipeError, match="utt2spk, line 1"):
        _score(*files, "--utt2spk", _write("utt2spk", "m1_a\n"))


def test_the_text_shows_rates_lengths_speakers_words_and_the_listing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _score(_write("ref", REFERENCE), _write("hyp", HYPOTHESIS), "--speaker-before", "_", "--listing", "1") == 0
    told = capsys.readouterr().out
    assert "4 utterances, 8 words; text normalisation: none" in told
    assert "WER 37.50 %\n" in told  # four utterances are too few for an interval
    assert "1 substitutions, 2 deletions, 0 insertions" in told
    assert "utterances with an error 50.00 %" in told
    assert "4 to 7 words" in told
    assert "By speaker" in told
    assert "on -> off" in told
    assert "Worst 1\n  WER 100.0 %  f1_c\n    Ref: stop\n    Hyp: ****\n" in told


def test_the_interval_is_shown_and_follows_the_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = {f"u{place}": "turn the light on" for place in range(40)}
    hypothesis = {name: "turn light on" if place % 3 else "turn the light on" for place, name in enumerate(reference)}
    files = (_write("ref", reference), _write("hyp", hypothesis))
    interval = _document(*files)["interval"]
    assert 0 < interval["low"] < 26 / 160 < interval["high"] < 0.25
    assert "95 % interval" in capsys.readouterr().out
    assert _document(*files)["interval"] == interval
    assert _document(*files, "--seed", "7")["interval"] != interval


def test_two_hypotheses_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = {f"u{place}": "turn the light on" for place in range(40)}
    worse = {name: "turn light" if place % 3 else "turn the light on" for place, name in enumerate(reference)}
    files = (_write("ref", reference), _write("a", worse), _write("b", reference, "trn"))
    document = _document(*files)
    assert [one["wer"] for one in document["hypotheses"]] == [52 / 160, 0]
    assert document["comparison"]["difference"] == -52 / 160
    assert document["comparison"]["probability"] == 1
    assert "B against A: B is better; -32.50 percentage points" in capsys.readouterr().out
    again = _document(files[0], files[1], _write("b", dict(list(worse.items())[:20]) | {"u20": ""}), "--seed", "1")
    other = _document(files[0], files[1], files[2], "--seed", "2")
    assert again["comparison"]["difference"] == other["comparison"]["difference"]
    assert again["comparison"]["interval"] != other["comparison"]["interval"]
    capsys.readouterr()
    assert _score(files[0], files[1], files[1]) == 0
    assert "within noise; +0.00" in capsys.readouterr().out


def test_usage_that_cannot_be_meant_is_told(folder: Path) -> None:
    reference = _write("ref", REFERENCE)
    for arguments, message in (
        ((reference, "a", "b", "c"), "3 hypotheses"),
        ((reference, "nowhere"), "nowhere cannot be read"),
        ((reference, "."), "cannot be read"),
        ((reference, reference, "--format", "doc"), "no form"),
        ((reference, reference, "--normalise", "german"), "no normalisation"),
        ((reference, reference, "--seed", "-1"), "--seed"),
    ):
        with pytest.raises(SettingsError, match=message):
            _score(*arguments)


def test_many_utterances_show_their_progress(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "_MANY", 2000)
    texts = {f"u{place}": "go" for place in range(2000)}
    assert _score(_write("ref", texts), _write("hyp", texts), "--top", "0") == 0
    told = capsys.readouterr()
    assert "2000 of 2000 utterances" in told.err
    assert "By length" not in told.out


def test_transcripts_keep_the_file_s_order(folder: Path) -> None:
    found = transcripts.read(Path(_write("ref", REFERENCE, "trn")), "reference")
    assert list(found.by_id) == list(REFERENCE)
