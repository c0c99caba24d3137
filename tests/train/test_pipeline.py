"""The pipeline: order, resume, threads, and utterances that cannot be used, each by name."""

from __future__ import annotations

import _thread
import dataclasses
import io
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deepspeech_train.data import audio, loading, packing, shards
from deepspeech_train.data.augment import Augmentation
from deepspeech_train.data.batches import Batch, Batching
from deepspeech_train.data.features import FeatureOptions, extract, raw, statistics_of
from deepspeech_train.data.manifest import Span, Utterance
from deepspeech_train.data.pipeline import Batches, Pipeline, Selection, corpus_statistics, usable
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.text import ENGLISH, Alphabet

RATE = 8000
OPTIONS = FeatureOptions(sample_rate=RATE)
AUGMENTATION = Augmentation(
    speed=0.1, vocal_tract=0.1, gain=6, noise=0.5, freq_masks=1, time_masks=1, time_width=0.2, seed=5
)


def _write(path: Path, seconds: float, seed: int = 0, rate: int = RATE) -> Path:
    audio.write_wav(path, np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate)), rate)
    return path


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> tuple[Utterance, ...]:
    """Thirty of 0.3 to 1.2 seconds of noise."""
    folder = tmp_path_factory.mktemp("audio")
    found = []
    for number, seconds in enumerate(np.random.default_rng(1).uniform(0.3, 1.2, 30).round(3).tolist()):
        path = _write(folder / f"{number}.wav", seconds, number)
        found.append(Utterance(f"u{number}", path, seconds, "go left"[: 2 + number % 6], f"s{number % 3}"))
    return tuple(found)


def _pipeline(utterances: Sequence[Utterance], **options: Any) -> Pipeline:
    defaults = {"options": OPTIONS, "alphabet": ENGLISH, "stride": 2, "batching": Batching(4), "seed": 7, "threads": 2}
    return Pipeline(utterances, **{**defaults, **options})


def _take(batches: Batches) -> list[Batch]:
    with batches:
        return list(batches)


def _contents(batches: Batches) -> list[tuple[Any, ...]]:
    return [
        (
            batch.number,
            [utterance.id for utterance in batch.utterances],
            batch.features.tobytes(),
            batch.frames.tolist(),
            batch.labels.tobytes(),
            batch.label_lengths.tolist(),
        )
        for batch in _take(batches)
    ]


def _ids(batches: list[Batch]) -> list[str]:
    return [utterance.id for batch in batches for utterance in batch.utterances]


def _no_threads() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_a_batch_holds_the_features_and_labels_of_its_utterances(utterances: tuple[Utterance, ...]) -> None:
    pipeline = _pipeline(utterances)
    batches = _take(pipeline.batches(1))
    assert [batch.number for batch in batches] == list(range(pipeline.count(1))) == list(range(8))
    assert sorted(_ids(batches)) == sorted(utterance.id for utterance in utterances)
    for batch in batches:
        for row, utterance in enumerate(batch.utterances):
            expected = extract(audio.load(utterance, RATE), OPTIONS)
            assert batch.frames[row] == len(expected)
            np.testing.assert_array_equal(batch.features[row, : len(expected)], expected)
            assert ENGLISH.decode(batch.labels[row, : batch.label_lengths[row]]) == utterance.text
    assert (pipeline.left_out, pipeline.remarks) == ({}, {})
    assert _no_threads()


@pytest.mark.parametrize("fixed", [False, True])
def test_the_batches_are_the_same_whatever_the_threads_and_the_prefetch(
    utterances: tuple[Utterance, ...], fixed: bool
) -> None:
    def contents(threads: int, prefetch: int, epoch: int = 2) -> list[tuple[Any, ...]]:
        augmented = {"augmentation": AUGMENTATION, "fixed": fixed, "threads": threads, "prefetch": prefetch}
        return _contents(_pipeline(utterances, **augmented).batches(epoch))

    expected = contents(1, 1)
    assert contents(5, 3) == expected
    assert contents(2, 100) == expected
    assert contents(1, 1, epoch=3) != expected


@pytest.mark.parametrize("cache", [False, True])
def test_an_epoch_that_is_gone_on_with_is_the_rest_of_it_and_the_beginning_is_not_read(
    utterances: tuple[Utterance, ...], cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"augmentation": AUGMENTATION, "cache": cache}
    through = _pipeline(utterances, **options)
    _take(through.batches(1))
    whole = _contents(through.batches(2))
    read = _reads(monkeypatch)
    assert _contents(_pipeline(utterances, **options).batches(2, start=3)) == whole[3:]
    assert sorted(read) == sorted(name for content in whole[3:] for name in content[1])
    assert _contents(_pipeline(utterances, **options).batches(2, start=8)) == []


def _by_name(pipeline: Pipeline, epoch: int) -> dict[str, bytes]:
    """The features of each utterance in a training epoch."""
    return {
        utterance.id: batch.features[row, : batch.frames[row]].tobytes()
        for batch in _take(pipeline.batches(epoch))
        for row, utterance in enumerate(batch.utterances)
    }


def test_a_vocal_tract_is_heard_in_training_another_in_each_epoch_and_never_in_evaluation(
    utterances: tuple[Utterance, ...],
) -> None:
    plain = _pipeline(utterances)
    warped = _pipeline(utterances, augmentation=Augmentation(vocal_tract=0.2, seed=1))
    epochs = [_by_name(plain, 1), _by_name(warped, 1), _by_name(warped, 2)]
    for utterance in utterances:
        assert len({epoch[utterance.id] for epoch in epochs}) == 3
    assert _contents(warped.evaluation_batches()) == _contents(plain.evaluation_batches())


def test_the_cache_reads_once_and_freezes_audio_but_not_the_masks(
    utterances: tuple[Utterance, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _reads(monkeypatch)
    of_audio = _pipeline(utterances, augmentation=Augmentation(gain=20, speed=0.2), cache=True)
    assert _by_name(of_audio, 1) == _by_name(of_audio, 2)
    assert len(read) == len(utterances)
    evaluated = _contents(of_audio.evaluation_batches())
    assert evaluated == _contents(of_audio.evaluation_batches())
    assert evaluated == _contents(_pipeline(utterances).evaluation_batches())
    assert len(read) == 3 * len(utterances)
    masked = _pipeline(utterances, augmentation=Augmentation(time_masks=2, time_width=0.3), cache=True)
    assert _by_name(masked, 1) != _by_name(masked, 2)
    # What is kept is not what was masked.
    assert _by_name(masked, 2) == _by_name(_pipeline(utterances, augmentation=masked._loader.augmentation), 2)


def test_evaluation_is_in_order_not_augmented_and_of_all(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    short = Utterance("short", _write(tmp_path / "short.wav", 0.05), 0.05, "go left go right", "s")
    strange = Utterance("strange", _write(tmp_path / "strange.wav", 1.5), 1.5, "route 66", "s")
    wordless = Utterance("wordless", _write(tmp_path / "wordless.wav", 1.6), 1.6, "", "s")
    pipeline = _pipeline([*utterances, short, strange, wordless], augmentation=AUGMENTATION)
    batches = _take(pipeline.evaluation_batches())
    assert _ids(batches) == [item.id for item in sorted(pipeline.utterances, key=lambda utterance: utterance.duration)]
    assert _contents(pipeline.evaluation_batches()) == _contents(_pipeline(pipeline.utterances).evaluation_batches())
    assert batches[-1].label_lengths.tolist()[-2:] == [0, 0]
    assert batches[0].label_lengths[0] == len(short.text)
    assert pipeline.left_out == {}


def _tricky(folder: Path) -> dict[str, Utterance]:
    """What turns up in training sets, each in a file of its own; those that can be used begin with "good"."""
    made = {}

    def add(name: str, samples: np.ndarray, text: str = "go", rate: int = RATE, **options: Any) -> Path:
        path = folder / f"{name}.wav"
        soundfile.write(path, samples, rate, **options)
        made[name] = Utterance(name, path, len(samples) / rate, text, "s")
        return path

    noise = np.random.default_rng(2).uniform(-0.3, 0.3, RATE)
    add("good", noise)
    add("good-rate", np.tile(noise, 6), rate=44100)
    add("good-stereo", np.stack([noise, noise / 2], axis=1))
    add("good-long", noise)
    made["good-long"] = dataclasses.replace(made["good-long"], duration=0.5)
    cut = add("truncated", noise)
    cut.write_bytes(cut.read_bytes()[:-4000])
    for name, value in (("infinite", np.inf), ("nan", np.nan)):
        wrong = noise.copy()
        wrong[100] = value
        add(name, wrong, subtype="FLOAT")
    add("silent", np.zeros(RATE))
    add("stuck", np.full(RATE, 0.25))
    add("infeasible", noise[: RATE // 10], "go left go right")
    # The manifest says that it is long enough; what is there decides.
    made["shorter"] = dataclasses.replace(made["infeasible"], id="shorter", duration=3.0)
    (folder / "text.wav").write_text("no audio")
    made["unreadable"] = Utterance("unreadable", folder / "text.wav", 1.0, "go", "s")
    (folder / "zero.wav").touch()
    made["empty"] = Utterance("empty", folder / "zero.wav", 1.0, "go", "s")
    made["missing"] = Utterance("missing", folder / "nowhere.wav", 1.0, "go", "s")
    made["digits"] = dataclasses.replace(made["good"], id="digits", text="route 66")
    made["wordless"] = dataclasses.replace(made["good"], id="wordless", text="")
    return made


REASONS = {
    "truncated": "cut short",
    "infinite": "not numbers",
    "nan": "not numbers",
    "silent": "silent",
    "stuck": "silent",
    "infeasible": "0.10 s are too short for its text: the network gives 2 frames, CTC needs 16",
    "shorter": "0.10 s are too short for its text",
    "unreadable": "not audio",
    "empty": "zero.wav",
    "missing": "nowhere.wav",
    "digits": "'6'",
    "wordless": "text is empty",
}
REMARKS = {
    "good-rate": "resampled from 44100 Hz",
    "good-stereo": "mixed to mono from 2 channels",
    "good-long": "1.00 s long, its manifest says 0.50 s",
}


@pytest.mark.parametrize("cache", [False, True])
def test_what_cannot_be_used_is_left_out_by_name_and_not_tried_again(
    tmp_path: Path, cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tricky = _tricky(tmp_path)
    pipeline = _pipeline(tuple(tricky.values()), cache=cache, augmentation=AUGMENTATION)
    batches = _take(pipeline.batches(1))
    assert sorted(_ids(batches)) == ["good", *sorted(REMARKS)]
    assert all(np.isfinite(batch.features).all() for batch in batches)
    assert set(pipeline.left_out) == set(REASONS)
    for name, reason in REASONS.items():
        assert reason in pipeline.left_out[name]
    assert pipeline.remarks == REMARKS
    read = _reads(monkeypatch)
    assert sorted(_ids(_take(pipeline.batches(2)))) == ["good", *sorted(REMARKS)]
    assert not set(read) & set(REASONS)
    assert pipeline.count(2) == pipeline.count(1)


def test_a_batch_of_which_nothing_is_left_is_passed_over_and_counted(
    utterances: tuple[Utterance, ...], tmp_path: Path
) -> None:
    gone = [Utterance(f"gone-{number}", tmp_path / "nowhere.wav", 5.0, "go", "s") for number in range(4)]
    pipeline = _pipeline([*utterances[:8], *gone], batching=Batching(4, sortagrad=True))
    assert [batch.number for batch in _take(pipeline.batches(1))] == [0, 1]
    assert pipeline.count(1) == 3
    assert sorted(pipeline.left_out) == sorted(utterance.id for utterance in gone)
    assert _take(_pipeline(gone).batches(1)) == []
    assert _take(_pipeline([]).batches(1)) == _take(_pipeline([], fixed=True).evaluation_batches()) == []


def test_evaluation_leaves_out_only_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline(tuple(_tricky(tmp_path).values()))
    kept = _ids(_take(pipeline.evaluation_batches()))
    assert set(pipeline.left_out) == {"truncated", "infinite", "nan", "unreadable", "empty", "missing"}
    assert set(kept) == set(REASONS) - set(pipeline.left_out) | {"good"} | set(REMARKS)
    read = _reads(monkeypatch)
    assert _ids(_take(pipeline.evaluation_batches())) == kept
    assert sorted(read) == sorted(kept)


def test_audio_longer_than_allowed_is_found_whatever_the_manifest_says(utterances: tuple[Utterance, ...]) -> None:
    lying = [dataclasses.replace(utterance, duration=0.1) for utterance in utterances]
    pipeline = _pipeline(lying, max_duration=1.0)
    _take(pipeline.batches(1))
    assert set(pipeline.left_out) == {utterance.id for utterance in utterances if utterance.duration > 1}
    assert pipeline.left_out


def test_an_utterance_over_the_bound_of_seconds_is_named(utterances: tuple[Utterance, ...]) -> None:
    pipeline = _pipeline(utterances, batching=Batching(4, max_seconds=1.0))
    assert sorted(_ids(_take(pipeline.batches(1)))) == sorted(utterance.id for utterance in utterances)
    assert set(pipeline.remarks) == {utterance.id for utterance in utterances if utterance.duration > 1}
    assert all("max_batch_seconds = 1: a batch alone" in remark for remark in pipeline.remarks.values())


def test_an_augmented_utterance_stays_feasible(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", 0.4)  # 19 frames, 10 outputs
    tight = [Utterance(f"a{number}", path, 0.4, "abcdefghij", "s") for number in range(20)]
    pipeline = _pipeline(tight, augmentation=Augmentation(speed=0.3))
    frames = np.concatenate([batch.frames for batch in _take(pipeline.batches(1))])
    assert pipeline.left_out == {}
    assert frames.min() >= 19
    assert frames.max() > 22


def test_fixed_shapes_are_few_and_the_same_in_all_epochs(utterances: tuple[Utterance, ...]) -> None:
    augmentation = Augmentation(speed=0.2)
    pipeline = _pipeline(utterances, fixed=True, augmentation=augmentation, batching=Batching(4, max_seconds=4))
    planned = {(shape.rows, shape.frames, shape.labels) for shape in pipeline.shapes.shapes}  # type: ignore[union-attr]
    for epoch in range(1, 5):
        batches = _take(pipeline.batches(epoch))
        assert {(*batch.features.shape[:2], batch.labels.shape[1]) for batch in batches} <= planned
        assert sorted(_ids(batches)) == sorted(utterance.id for utterance in utterances)
        assert all(len(batch.features) * batch.features.shape[1] * 0.02 <= 4 for batch in batches)
    evaluated = _take(pipeline.evaluation_batches())
    assert {(*batch.features.shape[:2], batch.labels.shape[1]) for batch in evaluated} <= planned


def test_workers_read_their_part_and_together_everything_once(utterances: tuple[Utterance, ...]) -> None:
    parts = [_take(_pipeline(utterances, worker=worker, workers=3).batches(1)) for worker in range(3)]
    assert sorted(name for part in parts for name in _ids(part)) == sorted(utterance.id for utterance in utterances)
    whole = _take(_pipeline(utterances).batches(1))
    for number, batch in enumerate(whole):
        mine = [one.utterances for part in parts for one in part if one.number == number]
        assert {item.id for some in mine for item in some} == {utterance.id for utterance in batch.utterances}


def test_no_more_is_read_ahead_than_asked_for(
    utterances: tuple[Utterance, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _reads(monkeypatch)
    with _pipeline(utterances[:28], prefetch=2).batches(1) as batches:
        next(batches)
        _wait_until(lambda: len(read) == 12)
        time.sleep(0.05)
        assert len(read) == 12  # the batch in hand and two more, of four
        next(batches)
        _wait_until(lambda: len(read) == 16)
    assert _no_threads()


def test_leaving_early_ends_the_threads(utterances: tuple[Utterance, ...]) -> None:
    with pytest.raises(KeyboardInterrupt), _pipeline(utterances, threads=3).batches(1) as batches:
        next(batches)
        raise KeyboardInterrupt
    assert _no_threads()
    with pytest.raises(StopIteration):
        next(batches)


def test_an_interrupt_while_waiting_for_a_batch_ends_the_threads(
    utterances: tuple[Utterance, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def load(self: loading.Loader, utterance: Utterance, epoch: int | None) -> loading.Loaded:
        if not asked:
            asked.append(True)
            time.sleep(0.1)  # until the main thread waits
            _thread.interrupt_main()
        time.sleep(0.1)
        return loading.Loaded(None, "")

    monkeypatch.setattr(loading.Loader, "load", load)
    with pytest.raises(KeyboardInterrupt):
        _take(_pipeline(utterances).batches(1))
    assert _no_threads()


def test_a_fault_of_the_program_is_raised_and_not_blamed_on_an_utterance(
    utterances: tuple[Utterance, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: loading.Loader, utterance: Utterance, epoch: int | None) -> loading.Loaded:
        raise ZeroDivisionError(utterance.id)

    monkeypatch.setattr(loading.Loader, "load", load)
    pipeline = _pipeline(utterances)
    with pytest.raises(ZeroDivisionError), pipeline.batches(1) as batches:
        next(batches)
    assert pipeline.left_out == {}
    assert _no_threads()
    with pytest.raises(ZeroDivisionError):
        next(pipeline.batches(1))
    assert _no_threads()


def test_usable_leaves_out_what_the_manifest_tells(tmp_path: Path) -> None:
    path = tmp_path / "never-read.wav"
    fine = [Utterance(f"fine-{number}", path, 1.0 + number, "go", "s") for number in range(3)]
    assert usable(fine, OPTIONS, ENGLISH, 2)[0] is fine
    wrong = [
        Utterance("long", path, 9.0, "go", "s"),
        Utterance("digits", path, 1.0, "route 66", "s"),
        Utterance("wordless", path, 1.0, "", "s"),
        Utterance("infeasible", path, 0.2, "go left go right", "s"),
    ]
    kept, left_out = usable([fine[0], *wrong, *fine[1:]], OPTIONS, ENGLISH, 2, max_duration=8.0)
    assert [utterance.id for utterance in kept] == ["fine-0", "fine-1", "fine-2"]
    assert [utterance.id for utterance in kept[1:]] == ["fine-1", "fine-2"]
    assert {name: reason[:12] for name, reason in left_out.items()} == {
        "long": "9.00 s are m",
        "digits": "its text hol",
        "wordless": "its text is ",
        "infeasible": "0.20 s are t",
    }


class _Index(Sequence[Utterance]):
    """As a shard's index: utterances are made when they are asked for, what is needed of all is at hand."""

    def __init__(self, utterances: Sequence[Utterance], features: FeatureOptions | None = None) -> None:
        self._utterances = utterances
        self.durations = np.array([utterance.duration for utterance in utterances])
        self.needed = np.array([len(utterance.text) for utterance in utterances])
        self.characters = "".join({character for utterance in utterances for character in utterance.text})
        self.features = features
        self.made = 0

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, place: Any) -> Any:
        self.made += 1
        return self._utterances[place]


def test_an_index_is_planned_and_looked_through_without_making_its_utterances(
    utterances: tuple[Utterance, ...],
) -> None:
    infeasible = dataclasses.replace(utterances[0], id="infeasible", duration=0.04)
    index = _Index([*utterances, infeasible])
    kept, left_out = usable(index, OPTIONS, ENGLISH, 2)
    assert list(left_out) == ["infeasible"]
    assert set(usable(_Index(utterances), OPTIONS, Alphabet(" gole"), 2)[1]) == {
        utterance.id for utterance in utterances if set(utterance.text) & set("ft")
    }
    pipeline = _pipeline(kept, fixed=True)
    assert pipeline.count(1) == 8
    assert index.made == 1
    batches = pipeline.batches(1, start=7)
    _take(batches)
    assert index.made <= 1 + 4
    assert _contents(_pipeline(kept).batches(1)) == _contents(_pipeline(utterances).batches(1))


def _shard(path: Path, utterances: Sequence[Utterance], arrays: Sequence[np.ndarray]) -> list[Utterance]:
    """Features of the utterances in one file, after some other bytes."""
    content, stored = b"other bytes", []
    for utterance, array in zip(utterances, arrays, strict=True):
        buffer = io.BytesIO()
        np.save(buffer, array)
        span = Span(len(content), len(buffer.getvalue()))
        stored.append(dataclasses.replace(utterance, audio=path, span=span))
        content += buffer.getvalue()
    path.write_bytes(content)
    return stored


@pytest.mark.parametrize("normalisation", ["none", "utterance"])
def test_features_that_were_stored_give_the_same_batches_as_audio(
    utterances: tuple[Utterance, ...], tmp_path: Path, normalisation: str
) -> None:
    packed = dataclasses.replace(OPTIONS, normalisation=normalisation)
    arrays = [extract(audio.load(utterance, RATE), packed) for utterance in utterances]
    index = _Index(_shard(tmp_path / "shard.tar", utterances, arrays), packed)
    masks = Augmentation(freq_masks=1, seed=3)
    from_audio = _contents(_pipeline(utterances, augmentation=masks).batches(1))
    assert _contents(_pipeline(index, augmentation=masks).batches(1)) == from_audio
    some = Selection(index, np.arange(5))
    assert sorted(_ids(_take(_pipeline(some).batches(1)))) == sorted(utterance.id for utterance in utterances[:5])


@pytest.mark.parametrize("features", [None, OPTIONS])
def test_a_packed_corpus_gives_the_same_batches_as_its_files(
    utterances: tuple[Utterance, ...], tmp_path: Path, features: FeatureOptions | None
) -> None:
    infeasible = dataclasses.replace(utterances[0], id="infeasible", text="go left go right go left go right")
    strange = dataclasses.replace(utterances[0], id="strange", text="route 66")
    packing.pack(
        [*utterances, infeasible], tmp_path / "packed", packing.Packing(shard_bytes=100_000, features=features)
    )
    index = shards.read_index(tmp_path / "packed")
    kept, left_out = usable(index, OPTIONS, ENGLISH, 2)
    assert isinstance(kept, shards.ShardIndex)
    assert list(left_out) == ["infeasible"]
    for fixed in (False, True):
        expected = _contents(_pipeline(utterances, fixed=fixed).batches(2))
        assert _contents(_pipeline(kept, fixed=fixed).batches(2)) == expected
    packing.pack([*utterances, strange], tmp_path / "strange", packing.Packing(features=features))
    assert list(usable(shards.read_index(tmp_path / "strange"), OPTIONS, ENGLISH, 2)[1]) == ["strange"]


def test_features_that_were_stored_otherwise_are_refused(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    packed = dataclasses.replace(OPTIONS, normalisation="none")
    arrays = [raw(audio.load(utterance, RATE), packed) for utterance in utterances[:4]]
    stored = _shard(tmp_path / "shard.tar", utterances[:4], arrays)
    with pytest.raises(SettingsError, match=r"step=0\.01"):
        _pipeline(_Index(stored, dataclasses.replace(packed, step=0.01)))
    with pytest.raises(SettingsError, match="augment_speed"):
        _pipeline(_Index(stored, packed), augmentation=AUGMENTATION)
    with pytest.raises(SettingsError, match=r"shard\.tar.*nothing says how"):
        _take(_pipeline(stored).batches(1))
    with pytest.raises(SettingsError, match="hold features"):
        _pipeline(
            _Index(stored, dataclasses.replace(packed, normalisation="utterance")),
            options=dataclasses.replace(OPTIONS, normalisation="none"),
        )


def test_stored_features_that_are_damaged_are_left_out_by_name(
    utterances: tuple[Utterance, ...], tmp_path: Path
) -> None:
    packed = dataclasses.replace(OPTIONS, normalisation="none")
    arrays = [raw(audio.load(utterance, RATE), packed) for utterance in utterances[:4]]
    arrays[1] = arrays[1][:, :20]
    arrays[2] = np.full_like(arrays[2], np.nan)
    arrays.append(raw(np.full(RATE, 0.25, np.float32), packed))
    stored = _shard(tmp_path / "shard.tar", utterances[:5], arrays)
    last = stored[3].span
    assert last is not None
    stored[3] = dataclasses.replace(stored[3], span=Span(last.offset, last.size - 100))
    pipeline = _pipeline(_Index(stored, packed))
    assert _ids(_take(pipeline.batches(1))) == ["u0"]
    assert "(frames, 26)" in pipeline.left_out["u1"]
    assert "not numbers" in pipeline.left_out["u2"]
    assert "cannot be read" in pipeline.left_out["u3"]
    assert "silent" in pipeline.left_out["u4"]


def test_corpus_statistics_are_of_a_sample_by_seed_and_pass_over_what_is_bad(
    utterances: tuple[Utterance, ...], tmp_path: Path
) -> None:
    by_corpus = dataclasses.replace(OPTIONS, normalisation="corpus")
    exact = statistics_of([raw(audio.load(utterance, RATE), OPTIONS) for utterance in utterances])
    for threads in (1, 3):
        found = corpus_statistics(utterances, by_corpus, 200, threads=threads)
        np.testing.assert_allclose(found.mean, exact.mean, rtol=1e-4, atol=1e-5)
    sample = corpus_statistics(utterances, by_corpus, 5, seed=1)
    np.testing.assert_array_equal(sample.mean, corpus_statistics(utterances, by_corpus, 5, seed=1).mean)
    assert (sample.mean != corpus_statistics(utterances, by_corpus, 5, seed=2).mean).any()
    tricky = list(_tricky(tmp_path).values())
    bad = [
        utterance for utterance in tricky if not utterance.id.startswith(("good", "digits", "wordless", "inf", "sh"))
    ]
    with_bad = corpus_statistics([*utterances, *bad], by_corpus, 200)
    np.testing.assert_allclose(with_bad.mean, exact.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(with_bad.std, exact.std, rtol=1e-3)
    with pytest.raises(RecipeError, match="None of"):
        corpus_statistics(bad, by_corpus)

    with pytest.raises(ValueError, match="statistics"):
        _pipeline(utterances, options=by_corpus)
    pipeline = _pipeline(utterances, options=by_corpus, statistics=exact)
    rows = np.concatenate([b.features[row, :n] for b in _take(pipeline.batches(1)) for row, n in enumerate(b.frames)])
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-2)


def test_a_wav_header_without_a_length_is_no_cut_file(tmp_path: Path) -> None:
    """What a recorder that writes to a pipe leaves."""
    path = _write(tmp_path / "piped.wav", 0.5)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    pipeline = _pipeline([Utterance("piped", path, 0.5, "go", "s")])
    assert _ids(_take(pipeline.batches(1))) == ["piped"]


def _reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the utterances whose audio is read from now on."""
    read: list[str] = []
    recording = audio.recording

    def noted(source: Utterance, rate: int) -> Any:
        read.append(source.id)
        return recording(source, rate)

    monkeypatch.setattr(audio, "recording", noted)
    return read


def _wait_until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
