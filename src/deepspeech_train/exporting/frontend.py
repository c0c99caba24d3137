"""The front end: all that a network needs beside its weights, so that others can feed it and read it.

On disk it is ``frontend.json``, beside each exported network::

    {"version": 1,
     "features": {"kind": "mfcc", "sample_rate": 16000, "n_input": 26, "window": 0.025, "step": 0.02,
                  "normalisation": "utterance"},
     "statistics": null, "alphabet": " abcdefghijklmnopqrstuvwxyz'", "blank": 28, "stride": 2,
     "seconds_per_output": 0.04}

``statistics`` are {"mean": [...], "std": [...]} where features are normalised by those of a corpus. An output stands
for ``stride`` frames of features; ``blank`` is the output of CTC's blank, and the last.

>>> front = load(Path("export/1"))  # doctest: +SKIP
>>> front.features("speech.wav").shape  # doctest: +SKIP
(142, 26)
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import audio
from ..data.features import FeatureOptions, Statistics, extract
from ..errors import RecipeError
from ..files import written_whole
from ..text import Alphabet

VERSION = 1
FILE = "frontend.json"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Frontend:
    """How audio becomes the input of a network, and which of its outputs stands for what."""

    options: FeatureOptions
    alphabet: Alphabet
    statistics: Statistics | None
    stride: int

    @property
    def seconds_per_output(self) -> float:
        return self.options.step * self.stride

    def features(self, path: Path | str) -> Floats:
        """The features (frames, size) of an audio file; RecipeError if it cannot be read."""
        return extract(audio.load(Path(path), self.options.sample_rate), self.options, self.statistics)

    def text(self, logits: Floats) -> str:
        """The text of one utterance's logits (outputs, characters), by the best path; padding must be cut off."""
        best = np.argmax(logits, axis=-1)
        changes = np.ones(best.shape, dtype=bool)
        changes[1:] = best[1:] != best[:-1]
        return " ".join(self.alphabet.decode(best[changes & (best != self.alphabet.blank)]).split())

    def as_json(self) -> dict[str, Any]:
        """What :func:`json.dumps` takes."""
        statistics = self.statistics and {
            "mean": self.statistics.mean.tolist(),
            "std": self.statistics.std.tolist(),
        }
        return {
            "version": VERSION,
            "features": asdict(self.options),
            "statistics": statistics,
            "alphabet": self.alphabet.characters,
            "blank": self.alphabet.blank,
            "stride": self.stride,
            "seconds_per_output": round(self.seconds_per_output, 9),
        }

    def save(self, folder: Path) -> None:
        """Writes ``frontend.json`` and ``alphabet.txt`` (a character a line, in the order of the outputs)."""
        hint = "Free space, or name another folder with ds_export_dir."
        with written_whole(folder / FILE, "The front end", hint) as file:
            file.write(json.dumps(self.as_json(), ensure_ascii=False, indent=1).encode() + b"\n")
        with written_whole(folder / "alphabet.txt", "The alphabet", hint) as file:
            file.write("".join(f"{character}\n" for character in self.alphabet.characters).encode())


def load(folder: Path | str) -> Frontend:
    """The front end of an export, from its folder; RecipeError where there is none or it is of another version."""
    path = Path(folder) / FILE
    hint = "Name the folder of an export, such as export/1."
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            raise ValueError(f"it is of version {content['version']}, not {VERSION}")
        held = content["statistics"]
        statistics = held and Statistics(np.array(held["mean"], np.float32), np.array(held["std"], np.float32))
        options = FeatureOptions(**content["features"])
        return Frontend(options, Alphabet(content["alphabet"]), statistics, int(content["stride"]))
    except OSError as error:
        raise RecipeError(f"{path} could not be read: {error.strerror or error}.", hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{path} is not a front end: {error}.", hint) from error
