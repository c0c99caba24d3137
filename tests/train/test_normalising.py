"""Text normalisation: each name and version keeps its rules."""

from __future__ import annotations

import pytest

from deepspeech_train.errors import SettingsError
from deepspeech_train.scoring import normalising
from deepspeech_train.scoring.normalising import normaliser


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("  Go   LEFT,\tnow! ", "Go LEFT, now!"),
        ("", ""),
    ],
)
def test_none_leaves_the_words(text: str, made: str) -> None:
    assert normaliser("none").apply(text) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("“Go LEFT,” they’ve said.", "go left they've said"),
        ("twenty-one; well\u2014no\u2026", "twenty one well no"),
        ("'tis the dogs' rock 'n' roll", "tis the dogs rock n roll"),
        ("ﬁne ＡＢＣ １", "fine abc 1"),
        ("cafe\u0301", "caf\u00e9"),
        ("so\u00adft zero\u200bwidth no\u00a0break", "soft zerowidth no break"),
        ("STRASSE Straße İ", "strasse straße i̇"),
        ("हिन्दी", "हिन्दी"),  # vowel signs are parts of letters, no punctuation
        ("a´b $5 50%", "a'b 5 50"),
        ("...", ""),
    ],
)
def test_basic(text: str, made: str) -> None:
    assert normaliser("basic").apply(text) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Uh, I, um, see", "i see"),
        ("[laughter] yes <unk>", "yes"),
        ("We’re here; don't, can't, cannot, won't, let's", "we are here do not can not can not will not let us"),
        ("he's she'd ain't", "he's she'd ain't"),
        ("Mr. Smith & Mrs. Jones are OK", "mister smith and missus jones are okay"),
        ("0 7 13 20 21 100 115", "zero seven thirteen twenty twenty one one hundred one hundred fifteen"),
        ("1,000 2001 1000000", "one thousand two thousand one one million"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("in 1984, 1905 and 1800", "in nineteen eighty four nineteen oh five and eighteen hundred"),
        ("1,984 things", "one thousand nine hundred eighty four things"),
        ("1st 2nd 3rd 12th 20th 21st 100th", "first second third twelfth twentieth twenty first one hundredth"),
        ("3.14 and 5.", "three point one four and five"),
        ("50% or 50 %", "fifty percent or fifty percent"),
        ("$1 $5.50 £3.01 €1.5", "one dollar five dollars fifty cents three pounds one cent one point five euros"),
        ("007", "zero zero seven"),
        ("12:30 b2b 1.2.3 4/5/1999 ½", "twelve thirty b2b one two three four five nineteen ninety nine one two"),
        ("１２", "twelve"),
        ("we´re", "we are"),
        ("9" * 20, " ".join(["nine"] * 20)),
    ],
)
def test_english(text: str, made: str) -> None:
    assert normaliser("english").apply(text) == made


@pytest.mark.parametrize("name", normalising.NAMES)
def test_what_is_normalised_stays_as_it_is(name: str) -> None:
    rules = normaliser(name)
    for text in ("Mr. O'Neil’s 21 “dogs” won't—uh—go. [x]", "They're 1,000 ½ naïve, at 12:30"):
        once = rules.apply(text)
        assert rules.apply(once) == once


def test_names_carry_their_version() -> None:
    assert [normaliser(name).name for name in normalising.NAMES] == ["none", "basic-1", "english-1"]
    assert normaliser("english-1") is normaliser("english")


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(SettingsError, match="basic-2") as error:
        normaliser("basic-2")
    assert "basic-1" in error.value.hint
