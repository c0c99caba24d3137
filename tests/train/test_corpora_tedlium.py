"""TED-LIUM: talks made here, in the layouts of releases 2 and 3, with the conventions of its transcripts."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train import corpora
from deepspeech_train.corpora import tedlium
from deepspeech_train.data import audio
from deepspeech_train.errors import RecipeError

SECONDS = 6

TALKS = {
    "train": {
        "AlGore_2009": (
            ";; a comment",
            "AlGore_2009 1 AlGore_2009 0.50 2.00 <o,f0,male> there 's a {NOISE} big(2) <unk> picture",
            "AlGore_2009 1 AlGore_2009 2.00 2.50 <o,f0,male> ignore_time_segment_in_scoring",
            "AlGore_2009 1 AlGore_2009 2.50 3.75 <o,f0,male> we don 't (AlGore_2009-2.50-3.75-F0_M-S1)",
        ),
        "BillGates_2010W": ("BillGates_2010W 1 BillGates_2010W 1.00 6.20 <o,f0,male> yes <sil> we can",),
    },
    "dev": {"DanBarber_2010": ("DanBarber_2010 1 DanBarber_2010 0.00 1.50 <o,f0,male> a fish",)},
    "test": {"AlGore_2006": ("AlGore_2006 1 AlGore 0.10 1.60 <o,f0,male> once more",)},
}


def speech(talk: str) -> np.ndarray:
    return np.random.default_rng(sum(talk.encode())).uniform(-0.5, 0.5, SECONDS * 16000)


def release(root: Path, *, legacy: bool = False) -> Path:
    for split, talks in TALKS.items():
        base = root / "TEDLIUM_release-3" / "legacy" / split if legacy else root / "TEDLIUM_release2" / split
        for kind in ("stm", "sph"):
            (base / kind).mkdir(parents=True)
        for talk, lines in talks.items():
            (base / "stm" / f"{talk}.stm").write_text("\n".join(lines) + "\n")
            sph = base / "sph" / f"{talk}.sph"
            soundfile.write(sph, speech(talk), 16000, format="NIST", subtype="PCM_16", endian="BIG")
    return root


def problems(folder: Path) -> list[tuple[str, str, str]]:
    (listed,) = folder.glob("tedlium-*/problems.jsonl")
    found = [json.loads(line) for line in listed.read_text().splitlines()]
    return [(problem["kind"], problem["name"], problem["detail"]) for problem in found]


@pytest.mark.parametrize("legacy", [False, True])
def test_segments_are_read_out_of_the_talks(tmp_path: Path, legacy: bool, capsys: pytest.CaptureFixture[str]) -> None:
    source = release(tmp_path / "source", legacy=legacy)
    corpus = corpora.load("tedlium", tmp_path / "a", source)
    assert [(u.id, u.start, u.duration, u.text, u.speaker) for u in corpus.train] == [
        ("AlGore_2009-0000050-0000200", 0.5, 1.5, "there's a big picture", "AlGore"),
        ("AlGore_2009-0000250-0000375", 2.5, 1.25, "we don't", "AlGore"),
        ("BillGates_2010W-0000100-0000620", 1.0, 5.0, "yes we can", "BillGates"),
    ]
    assert "1 segments passed by" in capsys.readouterr().err
    assert problems(tmp_path / "a") == [("speaker in two splits, kept", "AlGore", "train and test")]
    samples = audio.load(corpus.train[1])
    assert samples == pytest.approx(speech("AlGore_2009")[40_000:60_000], abs=1e-4)
    assert corpus.train[0].audio.is_relative_to(source)


def test_an_archive_with_links_gives_wav_files_of_the_segments(tmp_path: Path) -> None:
    """In release 3 some files are links to others of the archive."""
    source = release(tmp_path / "source", legacy=True) / "TEDLIUM_release-3"
    (source / "data").mkdir()
    (source / "legacy" / "train" / "sph" / "AlGore_2009.sph").rename(source / "data" / "AlGore_2009.sph")
    (source / "legacy/train/sph/AlGore_2009.sph").symlink_to("../../../data/AlGore_2009.sph")
    (source / "legacy" / "train" / "stm" / "AlGore_2009.stm").rename(source / "data" / "AlGore_2009.stm")
    (source / "legacy/train/stm/AlGore_2009.stm").symlink_to("../../../data/AlGore_2009.stm")
    with tarfile.open(tmp_path / "TEDLIUM_release-3.tgz", "w:gz") as tar:
        tar.add(source, "TEDLIUM_release-3")
    archive = tmp_path / "TEDLIUM_release-3.tgz"
    corpus = corpora.load("tedlium", tmp_path / "a", archive, progress=False, release=3, wav=1)
    assert [utterance.start for utterance in corpus.train] == [None] * 3
    assert [soundfile.info(utterance.audio).frames for utterance in corpus.train] == [24_000, 20_000, 80_000]
    assert corpus.train[1].audio.name == "AlGore_2009-0000250-0000375.wav"
    assert audio.load(corpus.train[1]) == pytest.approx(speech("AlGore_2009")[40_000:60_000], abs=1e-4)


def test_what_is_wrong_is_named_and_left_out(tmp_path: Path) -> None:
    base = release(tmp_path / "source") / "TEDLIUM_release2"
    (base / "train" / "stm" / "Nobody_2011.stm").write_text("Nobody_2011 1 Nobody_2011 0 1 <o,f0,male> who\n")
    (base / "dev" / "stm" / "DanBarber_2010.stm").write_text(
        "DanBarber_2010 1 DanBarber_2010 5.00 7.00 <o,f0,male> beyond\n"
        "DanBarber_2010 1 DanBarber_2010 1.00 1.00 <o,f0,male> nothing\n"
        "DanBarber_2010 1 DanBarber_2010 1.00\n"
        "DanBarber_2010 1 DanBarber_2010 one two <o,f0,male> words\n"
        "DanBarber_2010 1 DanBarber_2010 1.00 2.00 <o,f0,male> <unk> {UH}\n"
        "DanBarber_2010 1 DanBarber_2010 3.00 4.00 <o,f0,male> good\n"
    )
    corpus = corpora.load("tedlium", tmp_path / "a", base, progress=False, unknown="skip")
    assert [utterance.text for utterance in corpus.dev] == ["good"]
    assert [utterance.text for utterance in corpus.train] == ["we don't", "yes we can"]
    dan = "DanBarber_2010 1 DanBarber_2010"
    assert problems(tmp_path / "a") == [
        ("unknown word", "AlGore_2009-0000050-0000200", "<o,f0,male>"),
        ("audio missing", "Nobody_2011-0000000-0000100", "Nobody_2011.sph"),
        ("not a line of STM", "DanBarber_2010.stm, line 3", f"{dan} 1.00"),
        ("not a line of STM", "DanBarber_2010.stm, line 4", f"{dan} one two <o,f0,male> words"),
        ("unknown word", "DanBarber_2010-0000100-0000200", "<o,f0,male>"),
        ("speaker in two splits, kept", "AlGore", "train and test"),
        ("duration mismatch", "DanBarber_2010-0000500-0000700", "ends at 7.00 s, its audio at 6.00 s"),
        ("duration mismatch", "DanBarber_2010-0000100-0000100", "from 1.00 s to 1.00 s"),
    ]


def test_a_compressed_talk_is_told_with_what_to_do(tmp_path: Path) -> None:
    base = release(tmp_path / "source") / "TEDLIUM_release2"
    talk = base / "test" / "sph" / "AlGore_2006.sph"
    talk.write_bytes(talk.read_bytes().replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n"))
    with pytest.raises(RecipeError) as failure:
        corpora.load("tedlium", tmp_path / "a", base, progress=False)
    assert "empty split: 1: test" in failure.value.message
    assert "AlGore_2006-0000010-0000160 (is SPHERE compressed with shorten" in failure.value.message
    assert "sph2pipe" in failure.value.message


def test_a_talk_in_two_splits_is_refused(tmp_path: Path) -> None:
    base = release(tmp_path / "source") / "TEDLIUM_release2"
    line = "DanBarber_2010 1 DanBarber_2010 2.00 3.00 <o,f0,male> the end\n"
    (base / "test" / "stm" / "DanBarber_2010.stm").write_text(line)
    with pytest.raises(RecipeError, match=r"audio in two splits: 1: .*DanBarber_2010\.sph"):
        corpora.load("tedlium", tmp_path / "a", base, progress=False)


def test_a_folder_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(RecipeError, match="holds no folder train/stm"):
        corpora.load("tedlium", tmp_path / "a", tmp_path / "source", progress=False)


@pytest.mark.parametrize(
    ("words", "spoken"),
    [
        ("it 's you 're i 'm we 've they 'll he 'd", "it's you're i'm we've they'll he'd"),
        ("shoot 'em in the '90s", "shoot em in the 90s"),
        ("the rock 'n' roll", "the rock n roll"),
        ("{SMACK} read(3) <sil> [LAUGHTER] it", "read it"),
        ("the end (DanBarber_2010-1.0-2.0-F0_M-S1)", "the end"),
    ],
)
def test_transcripts(words: str, spoken: str) -> None:
    assert tedlium.transcript(words) == spoken
