"""hyper.json: what is taken, and what is refused with which words."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

import support
from deepspeech_wer.results import hyper

GOOD: dict[str, Any] = {
    "context": {"git_hash": "A" * 40},
    "parameters": {"data_set": {"name": "ted"}},
    "results": {"test_wer": 0.25, "last_train_wer": None},
}


def changed(path: str, value: Any) -> str:
    content = copy.deepcopy(GOOD)
    *parts, last = path.split(".")
    place = content
    for part in parts:
        place = place[part]
    place[last] = value
    return json.dumps(content)


def test_the_files_of_2016_load_unchanged() -> None:
    files = sorted(support.shared_data("legacy").glob("*/hyper.json"))
    assert len(files) == 3
    for file in files:
        content = hyper.parse(file.read_bytes())
        assert content == json.loads(file.read_text())
        assert hyper.git_hash(content)


def test_a_rate_may_be_the_greatest_that_there_is() -> None:
    assert hyper.parse(changed("results.test_wer", 1000))["results"]["test_wer"] == hyper.MOST_RATE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not valid JSON"),
        (json.dumps(GOOD)[:60], "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
        ("[]", "a list where an object"),
        ("{}", "no 'context'"),
        (changed("results", 3), "'results' is a number"),
        (changed("results", {}), "no 'test_wer'"),
        (changed("results.test_wer", None), "null where a number"),
        (changed("results.test_wer", True), "a truth value where a number"),
        (changed("results.test_wer", "0.3"), "a string where a number"),
        (changed("results.test_wer", -0.1), "'test_wer' is -0.1, and a word error rate is a ratio from 0 to 1000"),
        (changed("results.test_wer", 1e308), "'test_wer' is 1e+308, and a word error rate is a ratio from 0 to 1000"),
        (changed("results.last_validation_wer", 1000.5), "'last_validation_wer' is 1000.5"),
        (changed("results.last_train_wer", "x"), "a string where a number"),
        (changed("results.test_wer", float("nan")), "NaN"),
        (changed("parameters.rate", float("inf")), "Infinity"),
        (changed("results.test_wer", 0.5).replace("0.5", "1e999"), "ratio from 0"),
        (changed("results.test_wer", 10**400), "ratio from 0"),
        (changed("parameters.rate", [1, 10**400]), "'parameters'.rate[1] is not a finite"),
        (changed("parameters.rate", 1).replace(": 1}", ": 1e999}"), "is not a finite"),
        (changed("version", 2.5), "'version' is a number where a whole"),
        (changed("learning_curve", [1]), "'learning_curve'"),
        (changed("parameters.deep", 0).replace(": 0}", ": " + "[" * 500 + "]" * 500 + "}"), "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(hyper.InvalidHyper) as caught:
        hyper.parse(text)
    assert why in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "found"), [(" " + "aB" * 20 + "\n", "ab" * 20), ("abc", None), (7, None), (None, None)]
)
def test_git_hash(value: Any, found: str | None) -> None:
    assert hyper.git_hash({"context": {"git_hash": value}}) == found


@pytest.mark.parametrize(
    ("value", "name"),
    [({"name": "ted", "size": 1}, "ted"), ("ted", "ted"), ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'), (None, "null")],
)
def test_the_name_of_a_data_set(value: Any, name: str) -> None:
    assert hyper.data_set({"parameters": {"data_set": value}}) == name


def test_a_data_set_that_is_not_named_at_all() -> None:
    assert hyper.data_set({"parameters": {}}) == ""


def test_a_dump_is_one_line_that_no_script_element_ends_at() -> None:
    evil = "</script><!--\u2028\u2029\n\ud800&'\""
    content = {**GOOD, "parameters": {"x": evil, evil: 1}}
    text = hyper.dump(content)
    assert json.loads(text) == content
    assert text.isascii() and not set("<>&\n") & set(text)
