"""The model card: what an exported network is, in Markdown, for whoever gets it without having trained it.

After Mitchell et al., "Model Cards for Model Reporting", 2019: what it was trained on, how well it does on what, what
it is for and what it is not for. Beside that the formats with their differences from the trained network, and how to
load each; the commands there work as they stand, in the card's own folder. Nothing in it tells who trained it where.

What is known of the training comes from the result folder of the run, ``hyper.json`` and ``utterances.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .scoring import Interval, percent
from .scoring.bootstrap import interval

if TYPE_CHECKING:
    from .checkpoints import Network
    from .exporting.comparing import Comparison

#: The terms of the corpora that importers bring, by how their names begin.
_LICENCES = {
    "librispeech": "CC BY 4.0 (Panayotov et al., 2015; openslr.org/12)",
    "tedlium": "CC BY-NC-ND 3.0 (Hernandez et al., 2018; openslr.org/51)",
    "commonvoice": "CC0 1.0 (Mozilla Common Voice)",
    "fsdd": "CC BY-SA 4.0 (Free Spoken Digit Dataset)",
    "ldc93s1": "the terms of the Linguistic Data Consortium (LDC93S1, a sample of TIMIT)",
    "espeak": "none: made by a speech synthesiser",
}

_SPLITS = ("train", "dev", "test")

_NETWORKS = {
    "deepspeech1": "DeepSpeech (Hannun et al., 2014): dense layers around one recurrent layer",
    "deepspeech2": "DeepSpeech2 (Amodei et al., 2016): convolutions, then recurrent layers",
    "fastconv": "a convolutional network for small machines",
}

#: Settings that are the recogniser; what else there is was the training's.
_OF_NETWORK = ("model", "features", "n_input", "window_length", "window_step", "normalisation", "sample_rate")
_OF_TRAINING = (
    "epochs",
    "train_batch_size",
    "learning_rate",
    "learning_rate_schedule",
    "dropout_rate",
    "precision",
    "augment_speed",
    "augment_vocal_tract",
    "augment_gain",
    "augment_noise",
    "specaugment_freq_masks",
    "specaugment_time_masks",
    "random_seed",
)


@dataclass(frozen=True)
class About:
    """What is known of a training: ``hyper`` is the content of its ``hyper.json`` (empty: nothing), ``interval`` that
    of its word error rate on the test set."""

    hyper: Mapping[str, Any] = field(default_factory=dict)
    interval: Interval | None = None

    @classmethod
    def of_results(cls, folder: Path) -> About:
        """From a run's result folder; what is not there, or is not ours, is not known."""
        try:
            hyper = json.loads((folder / "hyper.json").read_bytes())
            lines = (folder / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
            counted = [json.loads(line) for line in lines]
            edits = [item["substitutions"] + item["deletions"] + item["insertions"] for item in counted]
            words = [item["words"] for item in counted]
            speakers = [str(item["speaker"]) for item in counted]
            found = interval(np.array(edits, np.int64), np.array(words, np.int64), speakers) if counted else None
            return cls(hyper if isinstance(hyper, dict) else {}, found)
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    @classmethod
    def of_checkpoint(cls, path: Path) -> About:
        """From the result folder that a checkpoint lies in, or below."""
        start = path if path.is_dir() else path.parent
        for folder in (start, start.absolute().parent):
            if (folder / "hyper.json").is_file():
                return cls.of_results(folder)
        return cls()


def card(network: Network, about: About, comparisons: Sequence[Comparison]) -> str:
    """The card; ``comparisons`` are those of the export, the first the network itself."""
    data = _mapping(about.hyper.get("parameters", {})).get("data_set", {})
    name = str(_mapping(data).get("name") or "")
    settings = network.settings
    title = f"# {settings.model}{f', trained on {name}' if name else ''}"
    parts = [
        title,
        _network(network),
        _trained_on(_mapping(data), name),
        _tested_on(about, name),
        _formats(comparisons),
        _loading([item.format for item in comparisons]),
        _use(network),
        _settings(network, about),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _network(network: Network) -> str:
    settings, options = network.settings, network.settings.feature_options
    alphabet = settings.characters
    parameters = network.model.count_params()
    step = round(1000 * options.step * network.stride, 3)
    lines = [
        "A network that turns speech into characters, to be decoded by connectionist temporal classification (CTC).",
        "",
        f"- Network: {_NETWORKS.get(settings.model, settings.model)}; {parameters:,} parameters.",
        f"- Input: {options.kind}, {options.size} numbers a frame, one each {round(1000 * options.step, 3):g} ms of "
        f"mono audio at {options.sample_rate} Hz; normalised by {options.normalisation}. `frontend.json` has it all.",
        f"- Output: {alphabet.size} logits each {step:g} ms: the characters of `alphabet.txt` in its order, last "
        "the blank of CTC.",
    ]
    return "\n".join(lines)


def _trained_on(data: Mapping[str, Any], name: str) -> str:
    if not name:
        return "## Training data\n\nNot known: no results of the training lay beside the checkpoint."
    licence = next((terms for start, terms in _LICENCES.items() if name.lower().startswith(start)), "not known here")
    lines = ["## Training data", "", f"Corpus {name}; licence of the data: {licence}.", ""]
    lines += ["| set | utterances | hours |", "|---|---:|---:|"]
    for split in _SPLITS:
        if f"{split}_utterances" in data:
            hours = data.get(f"{split}_hours")
            lines.append(f"| {split} | {data[f'{split}_utterances']} | {hours if hours is not None else '-'} |")
    counted = ("name", "left_out", *(f"{split}_{what}" for split in _SPLITS for what in ("utterances", "hours")))
    # What looks like a path is one of the machine that trained.
    chosen = [f"{option}={value}" for option, value in data.items() if option not in counted and "/" not in str(value)]
    if chosen:
        lines += ["", f"Options of the importer: {', '.join(chosen)}."]
    if data.get("left_out"):
        lines += ["", f"{data['left_out']} training utterances could not be used and were left out."]
    return "\n".join(lines)


def _tested_on(about: About, name: str) -> str:
    results = _mapping(about.hyper.get("results", {}))
    wer = results.get("test_wer")
    if wer is None:
        return ""
    at = about.interval
    scatter = ""
    if at is not None:
        scatter = (
            f", {100 * at.level:g} % interval {percent(at.low, 2)} to {percent(at.high, 2)} (bootstrap over {at.count} "
            f"{at.drawn})"
        )
    decoder = _mapping(about.hyper.get("parameters", {})).get("decoder", "greedy")
    return (
        "## Results\n\n"
        f"On the test set of {name}, {results.get('utterances', '?')} utterances of {results.get('words', '?')} words, "
        f"decoder {decoder}: word error rate **{percent(wer, 2)}**{scatter}; character error rate "
        f"{percent(results.get('test_cer'), 2)}. It is the sum of all edits over the sum of all words. On speech of "
        "another kind it is another."
    )


def _formats(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    from .exporting.comparing import table

    first = comparisons[0]
    on = (
        f"Each was loaded again and run on the same {first.utterances} utterances, {first.seconds / 60:.1f} minutes of "
        "speech, decoded by the best path; `comparison.json` has the numbers. How much faster than real time each is "
        "holds for the machine it was exported on."
        if first.utterances
        else "Each was loaded again and run on noise; there was no speech at hand, so that there are no rates."
    )
    return f"## Formats\n\n{on}\n\n{table(comparisons, markdown=True)}"


_LOADING = {
    "savedmodel": """\
SavedModel, `pip install tensorflow`; TensorFlow Serving takes the folder above this one:

```python
import tensorflow as tf

network = tf.saved_model.load(".")
logits = network.serve({"features": features[None], "frames": [len(features)]})[0].numpy()
print(front.text(logits))
```
""",
    "litert": """\
LiteRT, `pip install ai-edge-litert`; one utterance at a time:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

run = Interpreter(model_path="model.tflite").get_signature_runner("serve")
logits = run(features=features[None], frames=np.array([len(features)], np.int32))["logits"][0]
print(front.text(logits))
```
""",
    "litert-int8": """\
LiteRT with eight-bit weights, in the same way:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

run = Interpreter(model_path="model-int8.tflite").get_signature_runner("serve")
logits = run(features=features[None], frames=np.array([len(features)], np.int32))["logits"][0]
print(front.text(logits))
```
""",
    "onnx": """\
ONNX, `pip install onnxruntime`:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
inputs = {"features": features[None], "frames": np.array([len(features)], np.int32)}
logits = session.run(["logits"], inputs)[0][0]
print(front.text(logits))
```
""",
}


def _loading(formats: Sequence[str]) -> str:
    parts = [_LOADING[name] for name in formats if name in _LOADING]
    if not parts:
        return ""
    front = """\
## How to load it

Run these in this folder. Features are made, and characters read, by `pip install 'deepspeech-wer[train]'`; other
programs find in `frontend.json` what they need. `frames` is the true number of frames of each utterance of a batch;
what stands behind them is padding and changes nothing.

```python
from deepspeech_train.exporting import frontend

front = frontend.load(".")
features = front.features("speech.wav")
```
"""
    return "\n".join([front, *parts]).rstrip()


def _use(network: Network) -> str:
    characters = network.settings.characters.characters
    return (
        "## Use and limits\n\n"
        "Made to recognise speech like that of its training data: its language, ways of speaking, microphones and "
        "rooms. Other accents, ages, noise, distance from the microphone or topics give more errors, and how many more "
        "is not known until it is measured on them, for each group of speakers on its own. It writes "
        f"`{characters.strip()}`{' and spaces' if ' ' in characters else ''}, no other character, no punctuation, and "
        "it writes something for any sound, speech or not. Do not let decisions about people rest on its output alone."
    )


def _settings(network: Network, about: About) -> str:
    settings = network.settings
    lines = ["## Settings", "", "| setting | value |", "|---|---|"]
    for name in (*_OF_NETWORK, *_OF_TRAINING):
        lines.append(f"| {name} | {getattr(settings, name)} |")
    context = _mapping(about.hyper.get("context", {}))
    packages = _mapping(about.hyper.get("packages", {}))
    told = [f"Exported {datetime.now(UTC):%Y-%m-%d}."]
    if context.get("time_finished"):
        told.append(f"Trained until {str(context['time_finished'])[:10]}.")
    if context.get("git_hash") not in (None, "unknown"):
        told.append(f"Commit `{context['git_hash']}`.")
    if packages:
        told.append("With " + ", ".join(f"{name} {version}" for name, version in packages.items()) + ".")
    return "\n".join([*lines, "", " ".join(told)])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
