"""The weights of a language model, found on a development set."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train import checkpoints, models
from deepspeech_train.data.manifest import write_manifest
from deepspeech_train.decoding import from_settings, tuning
from deepspeech_train.decoding.tuning import Pair
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.scoring import Score
from deepspeech_train.settings import Settings
from deepspeech_train.text import ENGLISH
from deepspeech_train.verbs import tuning as verb

ARPA = """\
\\data\\
ngram 1=6

\\1-grams:
-2.5 <unk>
-99 <s>
-0.9 </s>
-0.5 go
-0.7 left
-3.5 lift

\\end\\
"""


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


def _bowl(alpha: float, beta: float, steepness: float = 1000.0) -> Callable[[Sequence[Pair]], list[Score]]:
    """Errors that are fewest at one pair."""

    def measure(pairs: Sequence[Pair]) -> list[Score]:
        return [
            Score(words=1, substitutions=round(steepness * math.hypot(one[0] - alpha, one[1] - beta))) for one in pairs
        ]

    return measure


@pytest.mark.parametrize(("alpha", "beta"), [(0.93, 1.18), (0.0, 0.0), (2.6, 4.1), (0.4, -1.9)])
def test_the_search_comes_near_the_best_pair_in_the_grid_and_beyond(alpha: float, beta: float) -> None:
    best = next(iter(tuning.search(_bowl(alpha, beta))))
    assert best == pytest.approx((alpha, beta), abs=0.3)
    assert best[0] == pytest.approx(alpha, abs=0.15)


def test_no_pair_is_decoded_twice_and_there_is_an_end_to_it() -> None:
    tried: list[Pair] = []

    def measure(pairs: Sequence[Pair]) -> list[Score]:
        tried.extend(pairs)
        return _bowl(1e6, 1e6)(pairs)  # ever better, further out

    found = tuning.search(measure)
    assert len(tried) == len(set(tried)) == len(found) <= 25 + 8 * tuning.LOOKS
    assert all(alpha >= 0 for alpha, _ in tried)


def test_of_equal_pairs_fewer_character_errors_count_then_smaller_weights() -> None:
    def measure(pairs: Sequence[Pair]) -> list[Score]:
        return [Score(words=1, character_edits=0 if alpha in (0.5, 1.0) else 3) for alpha, _ in pairs]

    assert next(iter(tuning.search(measure))) == (0.5, 0.0)


def test_a_grid_of_one_pair_is_searched_around() -> None:
    assert next(iter(tuning.search(_bowl(1.2, 0.9), [1.0], [1.0]))) == pytest.approx((1.2, 0.9), abs=0.2)


def _heard(path: str, also: str) -> np.ndarray:
    """Outputs that say ``path``, ``_`` the blank, and nearly as loudly ``also``."""
    logits = np.zeros((len(path), ENGLISH.size), np.float32)
    for said, loud in ((path, 8.0), (also, 7.0)):
        for frame, symbol in enumerate(said):
            logits[frame, ENGLISH.blank if symbol == "_" else ENGLISH.characters.index(symbol)] = loud
    return logits


@pytest.mark.parametrize("jobs", [1, 2])
def test_pairs_are_scored_by_decoding_with_them(jobs: int, arpa: Path) -> None:
    settings = Settings.from_namespace({"decoder": "beam", "lm_path": arpa, "beam_width": 8}, {})
    outputs = (["go left"] * 5, [_heard("go_ lift_", "go_ left_")] * 5)
    told: list[int] = []
    with tuning.measuring(from_settings(settings, 0.04), settings, outputs, jobs) as measure:
        without, with_model = measure([(0.0, 0.0), (1.0, 0.0)], told.append)
    assert (without.words, without.substitutions) == (10, 5)
    assert (with_model.words, with_model.edits) == (10, 0)
    assert sum(told) == 10


def test_what_a_process_raises_is_told_and_ends_the_others(arpa: Path) -> None:
    settings = Settings.from_namespace({"decoder": "beam", "lm_path": arpa}, {})
    outputs = (["go"], [np.full((3, ENGLISH.size), np.nan, np.float32)])
    with (
        pytest.raises(RecipeError, match="not finite") as told,
        tuning.measuring(from_settings(settings, 0.04), settings, outputs, 2) as measure,
    ):
        measure([(0.0, 0.0)], lambda count: None)
    assert "ds_learning_rate" in told.value.hint


@pytest.fixture(scope="module")
def checkpoint(smoke_elsewhere: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has not learnt anything."""
    path = tmp_path_factory.mktemp("untrained") / "best.npz"
    variables = {f"model/{place:03d}": one for place, one in enumerate(models.build(smoke_elsewhere).variables)}
    checkpoints.save(path, variables, checkpoints.Progress(), smoke_elsewhere, None)
    return path


def _tune(*arguments: Any) -> int:
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    return verb.main(parser.parse_args([str(argument) for argument in arguments]))


def test_the_verb_prints_and_writes_what_is_best(
    checkpoint: Path, corpus: Any, arpa: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, found = tmp_path / "dev.jsonl", tmp_path / "found.json"
    write_manifest(manifest, corpus.dev)
    choice = ["--set", f"lm_path={arpa}", "--set", "beam_width=4", "--limit", 2, "--jobs", 1]
    assert _tune(checkpoint, manifest, *choice, "--alphas", "0.5,0", "--betas", "1", "--json", found) == 0
    out = capsys.readouterr().out
    document = json.loads(found.read_text())
    best = document["best"]
    assert "Greedy: WER" in out
    assert f"Best: alpha {best['alpha']:g}, beta {best['beta']:g}: WER" in out
    assert f"--set decoder=beam --set beam_width=4 --set lm_path={arpa} --set lm_alpha={best['alpha']:g}" in out
    assert document["utterances"] == 2
    assert best["edits"] == min(one["edits"] for one in document["tried"])
    assert {(one["alpha"], one["beta"]) for one in document["tried"]} >= {(0, 1), (0.5, 1)}
    # What is printed is what the other verbs take.
    again = Settings.from_assignments(document["settings"], {})
    assert (again.lm_alpha, again.lm_beta, again.lm_path) == (best["alpha"], best["beta"], arpa)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "no language model is named"),
        (["--set", "decoder=greedy"], "the decoder is greedy"),
        (["--alphas", "1,x"], "--alphas '1,x' are not numbers from 0 up"),
        (["--alphas", "-1"], "are not numbers from 0 up"),
        (["--betas", "inf"], "--betas 'inf' are not numbers"),
        (["--limit", "-1"], "--limit -1 is below 0"),
    ],
)
def test_what_cannot_be_tuned_is_told(checkpoint: Path, tmp_path: Path, arguments: list[str], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        _tune(checkpoint, tmp_path / "none.jsonl", *arguments)


def test_a_set_without_words_is_told(checkpoint: Path, corpus: Any, arpa: Path, tmp_path: Path) -> None:
    import dataclasses

    manifest = tmp_path / "dev.jsonl"
    write_manifest(manifest, [dataclasses.replace(one, text="") for one in corpus.dev[:2]])
    with pytest.raises(RecipeError, match="nothing to tune on"):
        _tune(checkpoint, manifest, "--set", f"lm_path={arpa}")
