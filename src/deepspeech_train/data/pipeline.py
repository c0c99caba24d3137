"""From utterances to batches, read ahead by threads, in an order that is exact.

Threads read, decode, augment and make features, which is done outside Python's lock; whoever takes the batches gets the
same ones in the same order however many threads there are, however the audio is stored and wherever in the epoch it
begins. At most ``prefetch`` batches are ready or in work beside the one handed out.

>>> with Pipeline(...).batches(epoch=1) as batches:  # doctest: +SKIP
...     for batch in batches:
...         train_on(batch)

An utterance that cannot be used is left out of its batch, named in ``left_out`` with the reason and not tried again;
the other utterances of the batch stay where they are. A batch of which nothing is left is passed over: ``Batch.number``
counts it all the same, so that ``start=batch.number + 1`` goes on behind.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from ..text import Alphabet
from .augment import Augmentation
from .batches import Batch, Batching, Places, Seconds, collate, epoch_batches, evaluation_batches, fitting, share
from .features import FeatureOptions, Statistics
from .loading import Loaded, Loader, Selection, corpus_statistics, frames_of, usable
from .manifest import Utterances, durations
from .shapes import FixedShapes, choose

__all__ = ["Batches", "Pipeline", "Selection", "corpus_statistics", "usable"]


class Pipeline:
    """The batches of one set of utterances: shuffled and augmented by epoch to train on, or in order to evaluate.

    ``utterances`` are used as they are given: :func:`usable` leaves out beforehand what the manifest alone tells to be
    unusable. ``threads`` is 0 for one a core. With ``cache`` features are kept in memory when first made (about five
    kilobytes a second of audio for 26 MFCCs, sixty for a log-spectrogram a hundred times a second): audio is then
    augmented once for all epochs, and only SpecAugment varies. With ``fixed`` batches have few shapes, ``shapes``.
    ``worker`` of ``workers`` takes its part of each batch (:func:`~.batches.share`). ``max_duration``, in seconds,
    holds for the audio as it really is (0: no bound).

    SettingsError where stored features are not those of ``options``.
    """

    def __init__(
        self,
        utterances: Utterances,
        *,
        options: FeatureOptions,
        alphabet: Alphabet,
        stride: int,
        batching: Batching,
        seed: int,
        statistics: Statistics | None = None,
        augmentation: Augmentation | None = None,
        threads: int = 0,
        prefetch: int = 4,
        cache: bool = False,
        fixed: bool = False,
        max_duration: float = 0.0,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self.utterances = utterances
        #: Reasons by id: grows as utterances turn out not to be usable.
        self.left_out: dict[str, str] = {}
        #: What was found about utterances that are used, by id.
        self.remarks: dict[str, str] = {}
        self.threads = threads or _cores()
        self.prefetch = max(1, prefetch)
        self.batching = batching
        self._seed = seed
        self._part = (worker, workers)
        self._durations = durations(utterances)
        self._loader = Loader(
            options, alphabet, stride, statistics, augmentation, max_duration, getattr(utterances, "features", None)
        )
        #: By place, and whether for evaluation.
        self._cache: dict[tuple[int, bool], Loaded] | None = {} if cache else None
        #: Places of utterances that are not tried again: for training, and at all.
        self._not_trained: set[int] = set()
        self._not_read: set[int] = set()
        self.shapes: FixedShapes | None = None
        #: Seconds that each takes in a batch of a fixed shape: as slow as it may become, and as it is.
        self._padded: tuple[Seconds | None, Seconds | None] = (None, None)
        if fixed and len(utterances):
            self._fix_shapes(augmentation.longest if augmentation is not None else 1.0)
        self._planned: tuple[int, list[Places]] | None = None

    def count(self, epoch: int = 1) -> int:
        """Batches of the epoch (from 1), those counted of which nothing will be left; the same in every epoch."""
        return len(self._plan(epoch))

    def batches(self, epoch: int, start: int = 0) -> Batches:
        """The batches of training epoch ``epoch`` (from 1), from number ``start`` on; those before it are not read."""
        return Batches(self, self._plan(epoch), epoch, start)

    def evaluation_batches(self) -> Batches:
        """Every utterance that can be read, from short to long, not augmented, also where it is too short for its text
        or its text is outside the alphabet; it has no labels then."""
        plan = evaluation_batches(self._durations, self.batching, padded=self._padded[1])
        return Batches(self, share(plan, self._durations, *self._part), None, 0)

    def _plan(self, epoch: int) -> list[Places]:
        if self._planned is None or self._planned[0] != epoch:
            plan = epoch_batches(self._durations, self.batching, self._seed, epoch, padded=self._padded[0])
            self._planned = (epoch, share(plan, self._durations, *self._part))
        return self._planned[1]

    def _fix_shapes(self, longest: float) -> None:
        options = self._loader.options
        needed = getattr(self.utterances, "needed", None)
        labels = [len(utterance.text) for utterance in self.utterances] if needed is None else needed

        def rows(frames: int) -> int:
            return min(len(labels), int(fitting(np.array([frames * options.step]), self.batching)[0]))

        stretched, plain = frames_of(self._durations * longest, options), frames_of(self._durations, options)
        self.shapes = choose(stretched, np.asarray(labels, np.int64), rows)
        trained, evaluated = (self.shapes.padded(frames) * np.float64(options.step) for frames in (stretched, plain))
        self._padded = (trained, evaluated)

    def _load(self, place: int, epoch: int | None) -> Loaded:
        """An utterance as it stands in a batch; in a thread."""
        if self._cache is None:
            loaded = self._loader.load(self.utterances[place], epoch)
        elif (kept := self._cache.get((place, epoch is None))) is not None:
            loaded = kept
        else:
            # Epoch 0: what is kept must not depend on the epoch in which it was first asked for, as after a resume.
            loaded = self._loader.load(self.utterances[place], None if epoch is None else 0)
            self._cache[place, epoch is None] = loaded
        return loaded if epoch is None else self._loader.masked(loaded, epoch)

    def _note(self, work: _Work) -> None:
        """Keeps what was found about the utterances of a batch that is handed out."""
        for place, loaded in zip(work.places, work.loaded, strict=True):
            if loaded is None:
                continue
            if loaded.example is None:
                self._not_trained.add(place)
                if not loaded.readable:
                    self._not_read.add(place)
                self.left_out[self.utterances[place].id] = loaded.reason
            elif loaded.remark:
                self.remarks.setdefault(loaded.example.utterance.id, loaded.remark)
        bound = self.batching.max_seconds
        if bound and len(work.places) == 1 and self._durations[work.places[0]] > bound:
            name = self.utterances[work.places[0]].id
            self.remarks.setdefault(name, f"longer than max_batch_seconds = {bound:g}: a batch alone")


def _cores() -> int:
    """Those that this process may use, where the system tells; what a job scheduler gave it."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@dataclass
class _Work:
    """A batch in work: the threads put in what they loaded, the last of them makes the batch."""

    number: int
    places: list[int]
    loaded: list[Loaded | None]
    parts_left: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    batch: Future[Batch | None] = field(default_factory=Future)


class Batches(Iterator[Batch]):
    """The batches of one epoch, read ahead. A context manager: leaving it, or ``close()``, ends the threads and waits
    for them, at most as long as one utterance takes; so does the last batch, and an error."""

    def __init__(self, pipeline: Pipeline, plan: list[Places], epoch: int | None, start: int) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._epoch = epoch
        self._next = start
        self._works: deque[_Work] = deque()
        self._stop = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Batches:
        # No thread is begun here: an interrupt before the block is entered would leave it behind.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        """The next batch; raises what went wrong in a thread and is no fault of an utterance."""
        while True:
            self._read_ahead()
            if not self._works:
                self.close()
                raise StopIteration
            work = self._works.popleft()
            try:
                batch = work.batch.result()
            except BaseException:
                self.close()
                raise
            self._pipeline._note(work)
            self._read_ahead()
            if batch is not None:
                return batch

    def close(self) -> None:
        """Ends reading ahead; what was not handed out is lost."""
        self._stop.set()
        self._works.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _read_ahead(self) -> None:
        """Gives the threads work until enough batches are on their way."""
        pipeline = self._pipeline
        not_tried = pipeline._not_read if self._epoch is None else pipeline._not_trained
        while not self._stop.is_set() and self._next < len(self._plan) and len(self._works) < pipeline.prefetch:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=pipeline.threads, thread_name_prefix="reading")
            places = [place for place in self._plan[self._next].tolist() if place not in not_tried]
            parts = min(len(places), pipeline.threads)
            work = _Work(self._next, places, [None] * len(places), parts)
            self._works.append(work)
            self._next += 1
            if (hint := getattr(pipeline.utterances, "will_need", None)) is not None and places:
                hint(np.array(places, np.intp))
            if not parts:
                work.batch.set_result(None)
            for part in range(parts):
                self._pool.submit(self._do, work, part, parts)

    def _do(self, work: _Work, part: int, parts: int) -> None:
        """Every ``parts``-th utterance of a batch; in a thread."""
        try:
            for row in range(part, len(work.places), parts):
                if self._stop.is_set():
                    return
                work.loaded[row] = self._pipeline._load(work.places[row], self._epoch)
            with work.lock:
                work.parts_left -= 1
                last = not work.parts_left
            if last:
                examples = [
                    loaded.example for loaded in work.loaded if loaded is not None and loaded.example is not None
                ]
                work.batch.set_result(collate(examples, work.number, self._pipeline.shapes) if examples else None)
        except BaseException as error:
            with work.lock:
                if not work.batch.done():
                    work.batch.set_exception(error)
