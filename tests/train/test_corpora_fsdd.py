"""Connected digits: from an archive made here, whose every sample is known, and from the real data."""

from __future__ import annotations

import http.server
import io
import itertools
import json
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

import support
from deepspeech_train import corpora
from deepspeech_train.corpora import fsdd
from deepspeech_train.corpora._fsdd_recordings import DIGITS
from deepspeech_train.data.manifest import Corpus
from deepspeech_train.errors import RecipeError

COUNTS = {"train_utterances": 40, "dev_utterances": 10, "test_utterances": 16}
SPEAKERS = ("anna", "bert", "carl")
#: Two test recordings, three for training and one for dev, of each digit by each speaker.
INDICES = (0, 1, 5, 6, 7, 45)


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def recordings() -> dict[str, bytes]:
    """File name -> WAV of noise, so that no two recordings have a stretch in common."""
    draw = np.random.default_rng(5)
    names = [f"{d}_{s}_{i}.wav" for d, s, i in itertools.product(range(10), SPEAKERS, INDICES)]
    return {name: wav(draw.integers(-9000, 9000, draw.integers(900, 1500), np.int16)) for name in names}


def in_folder(recordings: dict[str, bytes], folder: Path) -> Path:
    for name, content in recordings.items():
        (folder / "recordings").mkdir(parents=True, exist_ok=True)
        (folder / "recordings" / name).write_bytes(content)
    return folder


def in_tar(recordings: dict[str, bytes], path: Path, *extra: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:]}") as tar:
        members = [(tarfile.TarInfo(f"fsdd-1.0/recordings/{name}"), data) for name, data in recordings.items()]
        for member, content in (*members, (tarfile.TarInfo("fsdd-1.0/README.md"), b"# FSDD"), *extra):
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def in_zip(recordings: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in recordings.items():
            zipped.writestr(f"fsdd-1.0/recordings/{name}", content)
    return path


def made_of(folder: Path) -> dict[str, list[str]]:
    """Utterance id -> names of its recordings, of the one corpus in ``folder``."""
    (index,) = folder.glob("fsdd-*/strings.jsonl")
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    return {line["id"]: line["recordings"] for line in lines}


def used(corpus: Corpus, folder: Path) -> dict[str, Counter[str]]:
    """Split -> how often each recording is used."""
    strings = made_of(folder)
    return {
        split: Counter(name for utterance in getattr(corpus, split) for name in strings[utterance.id])
        for split in ("train", "dev", "test")
    }


def of(names: Iterator[str] | Counter[str]) -> set[tuple[str, int]]:
    """(speaker, index) of recordings."""
    return {(name.split("_")[1], int(name.split("_")[2].removesuffix(".wav"))) for name in names}


@pytest.mark.parametrize("form", ["folder", "tar.gz", "tar.xz", "tar.bz2", "zip"])
def test_every_form_of_the_source_gives_the_same_strings(
    recordings: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    expected = corpora.load("fsdd", tmp_path / "a", in_folder(recordings, tmp_path / "f"), progress=False, **COUNTS)
    if form == "folder":
        source = in_folder(dict(reversed(recordings.items())), tmp_path / "g" / "deeper").parent
    elif form == "zip":
        source = in_zip(recordings, tmp_path / "fsdd.zip")
    else:
        source = in_tar(recordings, tmp_path / f"fsdd.{form}")
    corpus = corpora.load("fsdd", tmp_path / "b", source, progress=False, **COUNTS)
    for split in ("train", "dev", "test"):
        pairs = list(zip(getattr(expected, split), getattr(corpus, split), strict=True))
        assert all((a.id, a.text, a.duration) == (b.id, b.text, b.duration) for a, b in pairs)
        assert all(a.audio.read_bytes() == b.audio.read_bytes() for a, b in pairs)


def test_an_utterance_is_its_recordings_with_quiet_gaps(recordings: dict[str, bytes], tmp_path: Path) -> None:
    corpus = corpora.load("fsdd", tmp_path, in_folder(recordings, tmp_path / "f"), progress=False, **COUNTS)
    strings = made_of(tmp_path)
    lengths = Counter()
    for utterance in (*corpus.train, *corpus.dev, *corpus.test):
        names = strings[utterance.id]
        lengths[len(names)] += 1
        assert utterance.text == " ".join(DIGITS[int(name[0])] for name in names)
        assert {name.split("_")[1] for name in names} == {utterance.speaker}
        joined, rate = soundfile.read(utterance.audio, dtype="int16")
        assert rate == 8000
        assert utterance.duration == len(joined) / 8000
        position = 0
        for name in names:
            digit = soundfile.read(io.BytesIO(recordings[name]), dtype="int16")[0]
            found = joined.tobytes().index(digit.tobytes(), 2 * position) // 2
            assert 0.05 <= (found - position) / 8000 <= 0.25
            gap = joined[position:found].astype(float)
            assert 5 < np.sqrt(np.mean(gap**2)) < 50
            position = found + len(digit)
        assert 0.05 <= (len(joined) - position) / 8000 <= 0.25
    assert set(lengths) == {1, 2, 3, 4, 5, 6, 7}


def test_the_official_split(recordings: dict[str, bytes], tmp_path: Path) -> None:
    corpus = corpora.load("fsdd", tmp_path, in_folder(recordings, tmp_path / "f"), progress=False, **COUNTS)
    assert [len(corpus.train), len(corpus.dev), len(corpus.test)] == [40, 10, 16]
    usage = used(corpus, tmp_path)
    assert of(usage["train"]) == set(itertools.product(SPEAKERS, (5, 6, 7)))
    assert of(usage["dev"]) == set(itertools.product(SPEAKERS, (45,)))
    assert of(usage["test"]) == set(itertools.product(SPEAKERS, (0, 1)))
    names = [utterance.speaker for utterance in corpus.train]
    assert max(Counter(names).values()) - min(Counter(names).values()) <= 1


def test_the_speaker_split(recordings: dict[str, bytes], tmp_path: Path) -> None:
    source = in_folder(recordings, tmp_path / "f")
    options = {"split": "speaker", "test_speaker": "bert", **COUNTS}
    corpus = corpora.load("fsdd", tmp_path, source, progress=False, **options)
    usage = used(corpus, tmp_path)
    assert of(usage["test"]) == {("bert", index) for index in INDICES}
    assert of(usage["train"]) == set(itertools.product(("anna", "carl"), (0, 1, 5, 6, 7)))
    assert of(usage["dev"]) == set(itertools.product(("anna", "carl"), (45,)))
    with pytest.raises(RecipeError) as failure:
        corpora.load("fsdd", tmp_path, source, progress=False, **{**options, "test_speaker": "berta"})
    assert "did you mean 'bert'? the speakers are anna, bert, carl" in failure.value.hint


def test_a_seed_decides_the_strings(recordings: dict[str, bytes], tmp_path: Path) -> None:
    source = in_folder(recordings, tmp_path / "f")
    one, two = (corpora.load("fsdd", tmp_path, source, seed=s, progress=False, **COUNTS) for s in (1, 2))
    assert [u.text for u in one.train] != [u.text for u in two.train]
    capped = corpora.load("fsdd", tmp_path, source, progress=False, max_digits=2, **COUNTS)
    assert {len(u.text.split()) for u in capped.train} == {1, 2}


def test_a_changed_source_is_imported_again(recordings: dict[str, bytes], tmp_path: Path) -> None:
    source = in_folder(recordings, tmp_path / "f")
    before = corpora.load("fsdd", tmp_path, source, progress=False, **COUNTS)
    (source / "recordings" / "3_anna_5.wav").write_bytes(wav(np.full(800, 99, np.int16)))
    after = corpora.load("fsdd", tmp_path, source, progress=False, **COUNTS)
    assert before.train[0].audio != after.train[0].audio
    assert before != after


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../../3_theo_0.wav"), "leads out of the archive"),
        (member("fsdd/../../3_theo_0.wav"), "leads out of the archive"),
        (member("/tmp/3_theo_0.wav"), "leads out of the archive"),
        (member("fsdd/3_theo_0.wav", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        (member("fsdd/3_theo_0.wav", tarfile.LNKTYPE, "../../../etc/passwd"), "a link or a device"),
        (member("fsdd/3_theo_0.wav", tarfile.FIFOTYPE), "a link or a device"),
        (member("fsdd/3_theo_0.wav", tarfile.CHRTYPE), "a link or a device"),
    ],
)
def test_a_hostile_tar_is_refused(recordings: dict[str, bytes], tmp_path: Path, bad: tarfile.TarInfo, why: str) -> None:
    archive = in_tar(recordings, tmp_path / "fsdd.tar.gz", (bad, b""))
    (tmp_path / "corpora" / "deep").mkdir(parents=True)
    with pytest.raises(RecipeError) as failure:
        corpora.load("fsdd", tmp_path / "corpora" / "deep", archive, progress=False, **COUNTS)
    assert why in failure.value.message
    assert repr(bad.name) in failure.value.message
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in (".gz", ".lock") and path.is_file()]


def test_a_bomb_is_refused_before_it_is_read(recordings: dict[str, bytes], tmp_path: Path) -> None:
    archive = in_tar(recordings, tmp_path / "fsdd.tar.gz", (member("3_theo_0.wav"), bytes(5 << 20)))
    with pytest.raises(RecipeError, match="too many for one digit"):
        corpora.load("fsdd", tmp_path, archive, progress=False)
    with zipfile.ZipFile(tmp_path / "fsdd.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("../3_theo_0.wav", b"")
    with pytest.raises(RecipeError, match="leads out of the archive"):
        corpora.load("fsdd", tmp_path, tmp_path / "fsdd.zip", progress=False)


def test_other_members_of_a_hostile_tar_are_never_written(recordings: dict[str, bytes], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    extra = [
        (member(str(outside)), b"absolute"),
        (member("../../../../outside"), b"relative"),
        (member("fsdd-1.0/link", tarfile.SYMTYPE, str(tmp_path)), b""),
        (member("fsdd-1.0/link/outside"), b"through a link"),
    ]
    archive = in_tar(recordings, tmp_path / "fsdd.tar.gz", *extra)
    corpus = corpora.load("fsdd", tmp_path / "corpora", archive, progress=False, **COUNTS)
    assert len(corpus.train) == 40
    assert not outside.exists()
    written = {path.suffix for path in (tmp_path / "corpora").rglob("*") if path.is_file()}
    assert written == {".wav", ".jsonl", ".json", ".lock"}


@pytest.mark.parametrize("form", ["tar.gz", "tar.xz", "tar.bz2", "zip", "tar"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_a_damaged_archive_is_named(recordings: dict[str, bytes], tmp_path: Path, form: str, damage: str) -> None:
    path = tmp_path / f"fsdd.{form}"
    if form == "zip":
        in_zip(recordings, path)
    elif form == "tar":
        with tarfile.open(path, "w") as tar:
            for name, content in recordings.items():
                info = member(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    else:
        in_tar(recordings, path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    if form == "tar":
        middle -= middle % 512  # a bare tar has no checksum over its content: damage a header
        while whole[middle + 257 : middle + 262] != b"ustar":
            middle += 512
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle]
            + bytes(255 - byte for byte in whole[middle : middle + 64])
            + whole[middle + 64 :],
            "text": b"<html>404</html>" * 99,
            "empty": b"",
        }[damage]
    )
    with pytest.raises(RecipeError) as failure:
        corpora.load("fsdd", tmp_path / "corpora", path, progress=False, **COUNTS)
    assert str(path) in failure.value.message
    assert failure.value.hint


def test_bad_recordings_are_named_and_counted_and_not_used(recordings: dict[str, bytes], tmp_path: Path) -> None:
    spoilt = dict(recordings)
    spoilt["0_anna_0.wav"] = b"no audio"
    spoilt["1_anna_0.wav"] = wav(np.zeros(0, np.int16))
    spoilt["2_anna_0.wav"] = recordings["2_anna_0.wav"][:-100]
    del spoilt["3_bert_45.wav"]
    source = in_folder(spoilt, tmp_path / "f")
    (source / "again").mkdir()
    (source / "again" / "4_carl_0.wav").write_bytes(recordings["4_carl_0.wav"])
    corpus = corpora.load("fsdd", tmp_path, source, progress=False, **COUNTS)
    assert len(corpus.test) == 16
    assert not {"0_anna_0.wav", "1_anna_0.wav", "2_anna_0.wav"} & used(corpus, tmp_path)["test"].keys()
    (listed,) = tmp_path.glob("fsdd-*/problems.jsonl")
    problems = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [(problem["kind"], problem["name"]) for problem in problems] == [
        ("bad recording", "0_anna_0.wav"),
        ("bad recording", "1_anna_0.wav"),
        ("bad recording", "2_anna_0.wav"),
        ("recording twice", "4_carl_0.wav"),
        ("digit without a recording", "3 by bert"),
    ]
    assert [problem["detail"].split(":")[0] for problem in problems[:3]] == [
        "is not audio that can be read",
        "is empty",
        "is cut short",
    ]


def test_nothing_left_is_told(recordings: dict[str, bytes], tmp_path: Path) -> None:
    only_test = {name: content for name, content in recordings.items() if name.endswith("_0.wav")}
    only_test["7_anna_45.wav"] = b"no audio"
    with pytest.raises(RecipeError) as failure:
        corpora.load("fsdd", tmp_path, in_folder(only_test, tmp_path / "f"), progress=False, **COUNTS)
    assert failure.value.message.splitlines() == [
        "the corpus fsdd was not imported, 3 problems:",
        "  no recording for the split: 2: train, dev",
        "  bad recording: 1: 7_anna_45.wav (is not audio that can be read: Format not recognised.)",
    ]


def test_a_folder_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "speech.wav").write_bytes(wav(np.ones(800, np.int16)))
    with pytest.raises(RecipeError, match=r"holds no recording named like 7_jackson_32\.wav"):
        corpora.load("fsdd", tmp_path, tmp_path / "f", progress=False)


@contextmanager
def served(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A web server on this machine in place of GitHub; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/fsdd.tar.gz"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ds_fsdd_source", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.usefixtures("no_source")
def test_without_a_source_it_is_downloaded_once(
    recordings: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = in_tar(recordings, tmp_path / "fsdd.tar.gz").read_bytes()

    def whole(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(content)

    with served(whole) as url:
        monkeypatch.setattr(fsdd, "URL", url)
        corpus = corpora.load("fsdd", tmp_path / "corpora", progress=False, **COUNTS)
    assert corpora.load("fsdd", tmp_path / "corpora", progress=False, **COUNTS) == corpus
    assert not list((tmp_path / "corpora").rglob("*.tar.gz"))


@pytest.mark.usefixtures("no_source")
def test_the_source_may_come_from_the_environment(
    recordings: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_fsdd_source", str(in_folder(recordings, tmp_path / "f")))
    assert len(corpora.load("fsdd", tmp_path, progress=False, **COUNTS).test) == 16


@pytest.mark.parametrize("options", [{}, {"split": "speaker"}])
def test_the_real_data_is_used_evenly(tmp_path: Path, options: dict[str, object]) -> None:
    # Four digits a string on average: enough strings for every recording to be used, and no more.
    enough = {"train_utterances": 650, "dev_utterances": 100, "test_utterances": 180}
    corpus = corpora.load("fsdd", tmp_path, support.shared_data("fsdd.tar.xz"), progress=False, **options, **enough)
    usage = used(corpus, tmp_path)
    assert not usage["train"].keys() & usage["dev"].keys()
    assert not usage["train"].keys() & usage["test"].keys()
    assert not usage["dev"].keys() & usage["test"].keys()
    counts = {"train": 2000, "dev": 250, "test": 250} if not options else {"train": 1800, "dev": 200, "test": 500}
    for split, number in counts.items():
        assert len(usage[split]) == number, f"every recording of {split} is used"
        for speaker in {utterance.speaker for utterance in getattr(corpus, split)}:
            own = [count for name, count in usage[split].items() if f"_{speaker}_" in name]
            assert max(own) - min(own) <= 1
    if options:
        assert {utterance.speaker for utterance in corpus.test} == {"theo"}
        assert "theo" not in {utterance.speaker for utterance in (*corpus.train, *corpus.dev)}
    else:
        assert len({utterance.speaker for utterance in corpus.test}) == 5
    assert len({utterance.text for utterance in corpus.test}) > 120
