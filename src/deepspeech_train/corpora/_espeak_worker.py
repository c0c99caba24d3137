"""The process in which espeak-ng speaks: ``python -m deepspeech_train.corpora._espeak_worker REQUESTS``.

REQUESTS is JSON lines, each the fields of an :class:`espeak.Request`. For each, in order, the worker
writes the WAV file (its path is relative to the folder of REQUESTS) and one line ``ID SAMPLES`` on its
standard output. It ends with 0, or with 1 and a message on its standard error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from deepspeech_train.corpora._espeak_library import EspeakError, EspeakLibrary
from deepspeech_train.corpora.espeak import RATE, Request
from deepspeech_train.data import audio


def main(requests: Path) -> int:
    """Synthesises what the file ``requests`` asks for; gives the exit code."""
    try:
        library = EspeakLibrary()
        for line in requests.read_text(encoding="utf-8").splitlines():
            request = Request(**json.loads(line))
            samples = _recorded(request, _spoken(library, request))
            audio.write_wav(requests.parent / request.path, samples, RATE)
            print(request.id, len(samples), flush=True)
    except (EspeakError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _spoken(library: EspeakLibrary, request: Request) -> audio.Samples:
    spoken = library.synthesise(
        request.text,
        accent=request.accent,
        variant=request.variant,
        rate=request.rate,
        pitch=request.pitch,
        pitch_range=request.pitch_range,
        word_gap=request.word_gap,
        seed=request.noise_seed,
    )
    return audio.resample(spoken.astype(np.float32) / np.float32(32768), library.sample_rate, RATE)


def _recorded(request: Request, speech: audio.Samples) -> audio.Samples:
    """``speech`` as a microphone would give it: at some level, with some noise, in a pause."""
    speech = speech * (request.peak / np.abs(speech).max())
    lead, trail = (round(seconds * RATE) for seconds in (request.lead, request.trail))
    recorded = np.pad(speech, (lead, trail))
    level = np.sqrt(np.mean(np.square(speech))) * 10 ** (-request.snr / 20)
    noise = np.random.default_rng(request.noise_seed).standard_normal(len(recorded), dtype=np.float32)
    return np.clip(recorded + np.float32(level) * noise, -1.0, 1.0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
