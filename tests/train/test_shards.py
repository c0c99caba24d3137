"""Shards: the same bytes however often packing was killed, the same samples as loose files, damage named."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train.data import audio, packing, shard_check, shard_files, shards, spans
from deepspeech_train.data.batches import Batching
from deepspeech_train.data.features import FeatureOptions, extract
from deepspeech_train.data.manifest import Utterance, durations, read_manifest, write_manifest
from deepspeech_train.data.packing import Packing, pack
from deepspeech_train.data.pipeline import Pipeline
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.text import Alphabet, frames_needed

RATE = 16000


def noise(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate)).astype(np.float32)


@pytest.fixture
def utterances(tmp_path: Path) -> tuple[Utterance, ...]:
    """WAV, FLAC, OGG at several rates, and two segments of one talk; ids that no file could have."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    made = []
    for place, (suffix, rate) in enumerate([("wav", RATE), ("flac", RATE), ("ogg", 22050), ("wav", 8000)] * 2):
        path = folder / f"{place}.{suffix}"
        seconds = 0.5 + 0.1 * place
        soundfile.write(path, noise(seconds, place, rate), rate)
        made.append(Utterance(f"a/{place}.é", path, seconds, f"text {place}", f"m{place % 3}"))
    for name, subtype in (("talk.wav", "PCM_16"), ("float.wav", "FLOAT"), ("talk24.flac", "PCM_24")):
        soundfile.write(folder / name, np.stack([noise(3, 7), noise(3, 8)], axis=1), RATE, subtype=subtype)
        made += [
            Utterance(f"{name}-{start}", folder / name, 0.70007, "a bb", "f1", start=start) for start in (0.1, 1.73)
        ]
    return tuple(made)


def contents(folder: Path) -> dict[str, str]:
    """All files that are not hidden, by hash."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }


def test_every_storage_gives_the_same_samples(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    packed = pack(utterances, tmp_path / "packed", Packing(shard_bytes=150_000))
    assert packed.left_out == ()
    index = packed.index
    assert len(index.shards) > 2
    assert [u.id for u in index] == [u.id for u in utterances]
    for one, other in zip(index, utterances, strict=True):
        assert dataclasses.replace(one, audio=other.audio, start=other.start, span=None) == other
        np.testing.assert_array_equal(audio.load(one), audio.load(other))
    assert all(shard.bytes <= 150_000 for shard in index.shards)


def test_an_index_is_a_sequence_that_pickles_small(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    index = pack(utterances, tmp_path / "packed", Packing()).index
    np.testing.assert_array_equal(index.durations, [u.duration for u in utterances])
    np.testing.assert_array_equal(index.needed, [frames_needed(u.text) for u in utterances])
    assert durations(index) is not None
    assert index.characters == "".join(sorted({c for u in utterances for c in u.text}))
    assert index.features is None
    assert [u.id for u in index[2:5]] == [u.id for u in utterances[2:5]]
    assert index[-1].id == utterances[-1].id
    assert index[np.int64(3)].id == utterances[3].id  # type: ignore[call-overload]
    some = index.subset([5, 1, 1])[1:]
    assert [u.id for u in some] == [utterances[1].id] * 2
    np.testing.assert_array_equal(some.durations, [utterances[1].duration] * 2)
    with pytest.raises(IndexError):
        index[len(utterances)]
    again = pickle.loads(pickle.dumps(index))
    assert len(pickle.dumps(index)) < 1000
    assert list(again) == list(index)
    assert list(pickle.loads(pickle.dumps(some))) == list(some)


def test_members_are_as_webdataset_has_them(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    index = pack(utterances, tmp_path / "packed", Packing(shard_bytes=150_000)).index
    found = []
    for shard in index.shards:
        with tarfile.open(tmp_path / "packed" / shard.name) as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.mode, m.uname) for m in members} == {(0, 0, 0, 0o644, "")}
            for sound, text, about in zip(*[iter(members)] * 3, strict=True):
                key, suffix = sound.name.split(".")
                assert (text.name, about.name) == (f"{key}.txt", f"{key}.json")
                record = json.loads(tar.extractfile(about).read())  # type: ignore[union-attr]
                assert tar.extractfile(text).read().decode() == record["text"]  # type: ignore[union-attr]
                found.append((record["id"], suffix))
    assert dict(found) == {
        u.id: ("flac" if u.start is not None and "float" not in u.id else u.audio.suffix[1:]) for u in utterances
    }


def test_webdataset_reads_them(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    index = pack(utterances, tmp_path / "packed", Packing(shard_bytes=150_000)).index
    urls = [str(tmp_path / "packed" / shard.name) for shard in index.shards]
    samples = {}
    for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False):
        record = json.loads(sample["json"])
        assert sample["__key__"] == shards.key_of(record["id"])
        samples[record["id"]] = next(sample[kind] for kind in ("wav", "flac", "ogg") if kind in sample)
    assert samples == {u.id: audio.stored_bytes(u) for u in index}


def test_keys_are_safe_and_differ() -> None:
    assert shards.key_of("m3-0007_b") == "m3-0007_b"
    assert shards.key_of("a/b.c") == "a=2Fb=2Ec"
    assert shards.key_of("=2F") == "=3D2F"
    long = [shards.key_of("x" * 300 + str(number)) for number in range(3)]
    assert len(set(long)) == 3
    assert all(len(f"{key}.flac") <= 100 for key in long)  # what a tar file has room for without extensions
    assert not set("./ \n\0").intersection(shards.key_of("../a b\n\0ü"))


class Killed(BaseException):
    """As SIGKILL: nothing of ours tidies up after it."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Ends packing at the n-th step that writes, leaving what is on the disk as it is."""
    steps = 0
    last = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            raise Killed

    def set_last(number: int) -> None:
        nonlocal steps, last
        steps, last = 0, number

    real_add, real_end = shard_files.ShardFile.add, shard_files.ShardFile.end
    real_written, real_replace = shard_files.written_whole, Path.replace

    def add(self, *args):  # type: ignore[no-untyped-def]
        real_add(self, *args)
        step()

    def end(self, *args):  # type: ignore[no-untyped-def]
        step()
        piece = real_end(self, *args)
        step()
        return piece

    def written_whole(*args):  # type: ignore[no-untyped-def]
        step()
        return real_written(*args)

    def replace(self, target):  # type: ignore[no-untyped-def]
        if self.suffix == ".partial":
            real_replace(self, target)
            step()
            return target
        return real_replace(self, target)

    monkeypatch.setattr(shard_files.ShardFile, "add", add)
    monkeypatch.setattr(shard_files.ShardFile, "end", end)
    monkeypatch.setattr(shard_files.ShardFile, "drop", lambda self: self._file.close())
    monkeypatch.setattr(shard_files, "written_whole", written_whole)
    monkeypatch.setattr(packing, "written_whole", written_whole)
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # it is the process that dies, not the machine
    yield set_last


@pytest.mark.parametrize("nodes", [1, 2])
def test_killed_anywhere_the_next_call_gives_the_same_bytes(
    utterances: tuple[Utterance, ...], tmp_path: Path, killed_at: Callable[[int], None], nodes: int
) -> None:
    options = Packing(shard_bytes=150_000, nodes=nodes)
    killed_at(0)
    pack(utterances, tmp_path / "whole", options)
    expected = contents(tmp_path / "whole")
    for number in range(1, 100, 1 if nodes == 1 else 4):
        folder = tmp_path / f"packed{number}"
        killed_at(number)
        try:
            pack(utterances, folder, options)
        except Killed:
            with pytest.raises(RecipeError):
                shards.read_index(folder)
            killed_at(0)
            assert not pack(utterances, folder, options).was_there
            assert contents(folder) == expected
        else:
            assert number > 20
            break
    assert pack(utterances, folder, options).was_there
    assert contents(folder) == expected


def test_what_is_there_is_not_packed_again(
    utterances: tuple[Utterance, ...], tmp_path: Path, killed_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Packing(shard_bytes=150_000)
    killed_at(14)
    with pytest.raises(Killed):
        pack(utterances, tmp_path / "packed", options)
    killed_at(0)
    there = sum(shard.stat().st_size > 0 for shard in (tmp_path / "packed").glob("shard-*.tar"))
    assert there >= 1
    read: list[str] = []
    real = packing._made
    monkeypatch.setattr(packing, "_made", lambda u, *rest: read.append(u.id) or real(u, *rest))  # type: ignore[func-returns-value]
    pack(utterances, tmp_path / "packed", options)
    assert 0 < len(read) < len(utterances)
    assert read == [u.id for u in utterances[-len(read) :]]


def test_changed_inputs_are_noticed(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    pack(utterances, folder, Packing())
    with pytest.raises(SettingsError, match="other options"):
        pack(utterances, folder, Packing(nodes=2))
    with pytest.raises(SettingsError, match="another manifest"):
        pack(utterances[1:], folder, Packing())
    utterances[3].audio.write_bytes(utterances[0].audio.read_bytes())
    with pytest.raises(SettingsError, match="the audio of 1 utterance changed") as failure:
        pack(utterances, folder, Packing())
    assert utterances[3].id in failure.value.message
    assert "--again" in failure.value.hint
    again = pack(utterances, folder, Packing(), again=True)
    np.testing.assert_array_equal(audio.load(again.index[3]), audio.load(utterances[0]))


def test_originals_may_be_gone_once_they_are_packed(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    pack(utterances, folder, Packing())
    expected = contents(folder)
    (tmp_path / "corpus").rename(tmp_path / "gone")
    assert pack(utterances, folder, Packing()).was_there
    with pytest.raises(RecipeError, match="audio files cannot be read"):
        pack(utterances, folder, Packing(), again=True)
    assert contents(folder) == expected
    index = shards.read_index(folder)
    assert contents(pack(index, tmp_path / "again", Packing()).index.folder) == expected


def test_what_cannot_be_packed_is_named(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"1 id comes twice: a/0\.é"):
        pack([utterances[0], utterances[1], utterances[0]], tmp_path / "packed", Packing())
    gone = [dataclasses.replace(u, audio=tmp_path / f"gone{number}") for number, u in enumerate(utterances[:8])]
    with pytest.raises(RecipeError, match=r"8 audio files cannot be read: .*gone4.* and 3 more"):
        pack(gone, tmp_path / "packed", Packing())
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match=r"thesis\.tex"):
        pack(utterances, tmp_path / "foreign", Packing(), again=True)
    with pytest.raises(SettingsError, match="holds audio that is to be packed"):
        pack(utterances, tmp_path / "corpus", Packing())
    with pytest.raises(RecipeError, match="no utterances"):
        pack([], tmp_path / "packed", Packing())
    with pytest.raises(SettingsError):
        Packing(shard_bytes=0)


def test_a_segment_that_cannot_be_cut_is_left_out_by_name_and_a_bad_file_goes_in(
    utterances: tuple[Utterance, ...], tmp_path: Path
) -> None:
    bad = tmp_path / "corpus" / "bad.wav"
    bad.write_bytes(b"no audio")
    beyond = dataclasses.replace(utterances[-1], id="beyond", start=60.0)
    packed = pack((Utterance("bad", bad, 1.0, "x", ""), beyond, *utterances), tmp_path / "packed", Packing())
    (left_out,) = packed.left_out
    assert left_out[0] == "beyond"
    assert "the segment is from 60.00" in left_out[1]
    # The order of utterances is that of the loose files: training names the bad one, wherever it lies.
    assert [u.id for u in packed.index] == ["bad", *(u.id for u in utterances)]
    with pytest.raises(RecipeError, match="utterance bad"):
        audio.load(packed.index[0])
    assert pack((Utterance("bad", bad, 1.0, "x", ""), beyond, *utterances), tmp_path / "packed", Packing()).left_out


def test_nodes_share_the_seconds(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    index = pack(utterances, tmp_path / "packed", Packing(shard_bytes=150_000, nodes=3)).index
    parts = [index.of_node(node) for node in range(index.nodes)]
    assert sorted(u.id for part in parts for u in part) == sorted(u.id for u in utterances)
    seconds = [part.durations.sum() for part in parts]
    assert max(seconds) - min(seconds) <= max(u.duration for u in utterances)
    for node, part in enumerate(parts):
        names = {u.audio.name for u in part}
        assert names == {shard.name for shard in index.shards if shard.node == node}
    assert [u.id for u in index] == [u.id for u in utterances]


def test_features_are_stored_without_normalisation(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    options = FeatureOptions("logmel", n_input=8)
    index = pack(utterances, tmp_path / "packed", Packing(features=options)).index
    assert index.features == dataclasses.replace(options, normalisation="none")
    for one, other in zip(index, utterances, strict=True):
        content = audio.stored_bytes(one)
        assert audio.is_features(content)
        np.testing.assert_array_equal(np.load(io.BytesIO(content)), extract(audio.load(other), index.features))
    with pytest.raises(RecipeError, match="holds features that were computed"):
        audio.load(index[0])


def test_the_same_seed_gives_the_same_batches_whatever_the_storage(
    utterances: tuple[Utterance, ...], tmp_path: Path
) -> None:
    options = FeatureOptions("logmel", n_input=8)
    bad = Utterance("bad", tmp_path / "corpus" / "bad.wav", 0.8, "x", "")
    bad.audio.write_bytes(b"no audio")
    many = (*utterances[:3], bad, *utterances[3:])
    write_manifest(tmp_path / "all.jsonl", many)
    storages = [
        read_manifest(tmp_path / "all.jsonl"),
        pack(many, tmp_path / "packed", Packing(shard_bytes=150_000)).index,
        pack(many, tmp_path / "nodes", Packing(nodes=3)).index,
    ]
    runs = []
    for storage in storages:
        pipeline = Pipeline(
            storage, options=options, alphabet=Alphabet(" abetxy0123456789"), stride=2, batching=Batching(4), seed=5
        )
        with pipeline.batches(2) as batches:
            runs.append(list(batches))
        assert list(pipeline.left_out) == ["bad"]
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            assert [u.id for u in one.utterances] == [u.id for u in other.utterances]
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.labels, other.labels)

    # Stored features hold no bad file, so that the order is another; the numbers are the same.
    stored = pack(utterances, tmp_path / "features", Packing(features=options)).index
    pipeline = Pipeline(
        stored, options=options, alphabet=Alphabet(" abetxy0123456789"), stride=2, batching=Batching(4), seed=5
    )
    of_id = {u.id: batch.features[n, : batch.frames[n]] for batch in runs[0] for n, u in enumerate(batch.utterances)}
    with pipeline.batches(2) as batches:
        seen = [
            (u.id, batch.features[n, : batch.frames[n]]) for batch in batches for n, u in enumerate(batch.utterances)
        ]
    assert sorted(identity for identity, _ in seen) == sorted(of_id)
    for identity, features in seen:
        np.testing.assert_array_equal(features, of_id[identity])


def test_a_whole_folder_passes_and_damage_is_named(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    index = pack(utterances, folder, Packing(shard_bytes=150_000)).index
    assert shard_check.damage(folder) == []

    victim = index[1]
    assert victim.span is not None
    content = bytearray(victim.audio.read_bytes())
    content[victim.span.offset + 100] ^= 1
    victim.audio.write_bytes(content)
    (found,) = shard_check.damage(folder)
    assert found.startswith(f"{victim.audio.name}: the audio of {victim.id} is damaged")

    content[victim.span.offset + 100] ^= 1
    content[0] ^= 1  # a name in a header
    victim.audio.write_bytes(content)
    (found,) = shard_check.damage(folder)
    assert "not in the audio" in found

    content[0] ^= 1
    victim.audio.write_bytes(content[: victim.span.offset + 10])
    found = "\n".join(shard_check.damage(folder))
    assert f"the audio of {victim.id} is damaged" in found
    assert "the file ends at byte" in found
    assert utterances[0].id not in found
    spans.forget()
    with pytest.raises(RecipeError, match="is cut short") as failure:
        audio.load(victim)
    assert victim.id in failure.value.message
    assert str(victim.audio) in failure.value.message
    assert "--check" in failure.value.hint

    victim.audio.unlink()
    assert shard_check.damage(folder) == [f"{victim.audio.name}: is not there"]
    spans.forget()
    with pytest.raises(RecipeError, match="cannot read the shard"):
        audio.load(victim)


def test_a_damaged_index_is_told(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    pack(utterances, folder, Packing())
    lines = (folder / "index.jsonl").read_bytes()
    (folder / "index.jsonl").write_bytes(lines[:-30])
    assert shard_check.damage(folder)[0].startswith("index.jsonl: has")
    spans.forget()
    with pytest.raises(RecipeError, match="is damaged at byte"):
        shards.read_index(folder)[len(utterances) - 1]
    np.save(folder / "index.npy", np.zeros(3))
    with pytest.raises(RecipeError, match="does not belong"):
        shards.read_index(folder)
    (folder / "index.npy").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"index\.npy"):
        shards.read_index(folder)
    (folder / "index.json").write_text("[]")
    with pytest.raises(RecipeError, match="is not the index"):
        shards.read_index(folder)
    (folder / "index.json").write_text('{"version": 99}')
    with pytest.raises(RecipeError, match="version 99"):
        shards.read_index(folder)
    with pytest.raises(RecipeError, match="there are no shards"):
        shards.read_index(tmp_path / "absent")


def test_threads_and_forgotten_files_read_the_right_bytes(tmp_path: Path) -> None:
    paths = []
    for number in range(20):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(bytes([number]) * 1000)

    def check(turn: int) -> bool:
        if turn % 50 == 0:
            spans.forget()
        number = turn % 20
        return spans.read(paths[number], turn % 990, 10) == bytes([number]) * 10

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(2000)))
    assert spans.read(paths[0], 995, 10) == b"\0" * 5
    assert spans.read(paths[0], 2000, 10) == b""
