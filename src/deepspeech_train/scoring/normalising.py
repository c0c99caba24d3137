"""Text normalisation: what is made alike in reference and hypothesis before they are compared.

It moves a word error rate more than most changes to a network do, so it has a name with a version, which is recorded
beside every rate; the rules under a name never change, other rules get another version.

``none``
    The words as they are.
``basic-1``
    Unicode NFKC, lower case, punctuation and symbols become spaces. An apostrophe between letters stays (``don't``),
    and typographic ones are made plain.
``english-1``
    Before that, marks in brackets (``[laughter]``, ``<unk>``) are left out and numerals written in words (``21st``,
    ``$5.50``, ``1,000``; a numeral from 1100 to 1999 without a comma is read as a year). After it, hesitations (``uh``)
    are left out, and contractions that can mean one thing only are written out (``don't``, but not ``he's``).
    Spellings (``colour``, ``color``) stay as they are.

>>> normaliser("basic").apply("“Go LEFT,” they’ve said.")
"go left they've said"
>>> normaliser("english").apply("Uh, they've had 21 of 1,000 since 1984")
'they have had twenty one of one thousand since nineteen eighty four'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import SettingsError


@dataclass(frozen=True)
class Normaliser:
    """``name`` is what is recorded: it tells the rules and their version."""

    name: str
    apply: Callable[[str], str]


def normaliser(name: str) -> Normaliser:
    """The normaliser ``none``, ``basic`` or ``english``, or one of a version, ``basic-1``; SettingsError for others."""
    for known in _NORMALISERS:
        if name in (known.name, known.name.rpartition("-")[0]):
            return known
    raise SettingsError(
        f"There is no normalisation called {name!r}.",
        f"It is one of {', '.join(known.name for known in _NORMALISERS)}.",
    )


class _Plain(dict[int, str]):
    """For ``str.translate``: what becomes of each character, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if character in "'’ʼ‘`´":
            plain = "'"
        elif category == "Cf":  # soft hyphens, joiners: not seen, not heard
            plain = ""
        elif category[0] in "PSZC":
            plain = " "
        else:
            plain = character
        self[code] = plain
        return plain


_PLAIN = _Plain()
_LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")


def _none(text: str) -> str:
    return " ".join(text.split())


def _composed(text: str) -> str:
    """NFKC; but the acute accent alone, which that takes apart, stands for an apostrophe."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text.replace("´", "'"))


def _basic(text: str) -> str:
    text = _composed(text).lower().translate(_PLAIN)
    if "'" in text:
        text = _LOOSE_APOSTROPHE.sub(" ", text)
    return " ".join(text.split())


_MARK = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_HESITATIONS = frozenset({"uh", "uhm", "um", "erm", "er", "hm", "hmm", "mm", "mmm", "mhm"})
_WHOLE = {
    "won't": "will not",
    "can't": "can not",
    "cannot": "can not",
    "shan't": "shall not",
    "let's": "let us",
    "y'all": "you all",
    "gonna": "going to",
    "wanna": "want to",
    "gotta": "got to",
    "ok": "okay",
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
}
#: ``ain't`` can stand for several things, as ``'s`` and ``'d`` can.
_ENDINGS = {"n't": " not", "'re": " are", "'ve": " have", "'ll": " will", "'m": " am"}
_AS_THEY_ARE = frozenset({"ain't"})


def _english(text: str) -> str:
    text = _composed(text)
    if "<" in text or "[" in text:
        text = _MARK.sub(" ", text)
    text = text.replace("&", " and ")
    if _DIGIT.search(text):
        text = _NUMERAL.sub(_numeral_in_words, text)
    return " ".join(_written_out(word) for word in _basic(text).split() if word not in _HESITATIONS)


def _written_out(word: str) -> str:
    if word in _WHOLE:
        return _WHOLE[word]
    if word.isascii() and word.isdigit():  # of a time, a date, a fraction
        return _read_out(word, may_be_year=True)
    if "'" in word and word not in _AS_THEY_ARE:
        for ending, full in _ENDINGS.items():
            if word.endswith(ending) and len(word) > len(ending):
                return word.removesuffix(ending) + full
    return word


_DIGIT = re.compile("[0-9]")
#: A numeral that is a word of its own: not the 2 of "b2b", nor those of a time or a date, which are read one by one.
_NUMERAL = re.compile(
    r"(?<![\w.,:/])(?P<money>[$£€])?(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.(?P<part>[0-9]+))?"
    r"(?:(?P<ordinal>st|nd|rd|th)|(?P<percent>\s?%))?(?![\w:/]|[.,][0-9])",
    re.IGNORECASE,
)
_CURRENCIES = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}
# fmt: off
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_POWERS = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def _numeral_in_words(match: re.Match[str]) -> str:
    digits = match["whole"].replace(",", "")
    is_bare = not (match["money"] or match["part"] or match["ordinal"] or match["percent"] or "," in match["whole"])
    words = _read_out(digits, may_be_year=is_bare)
    if match["ordinal"]:
        return _ordinal(words)
    if match["money"] and match["part"] and len(match["part"]) == 2:
        cents = int(match["part"])
        more = f" {_in_words(cents)} {'cent' if cents == 1 else 'cents'}" if cents else ""
        return f"{words} {_CURRENCIES[match['money']][words != 'one']}{more}"
    if match["part"]:
        words += f" point {_digits_in_words(match['part'])}"
    if match["money"]:
        words += " " + _CURRENCIES[match["money"]][words != "one"]
    return words + " percent" if match["percent"] else words


def _read_out(digits: str, may_be_year: bool) -> str:
    if len(digits) > 15 or (len(digits) > 1 and digits[0] == "0"):
        return _digits_in_words(digits)  # a code or a telephone number
    number = int(digits)
    if may_be_year and len(digits) == 4 and 1100 <= number <= 1999:
        return _year_in_words(number)
    return _in_words(number)


def _in_words(number: int) -> str:
    """A number from 0 to below 10**15, without "and"."""
    if number < 20:
        return _UNITS[number]
    if number < 100:
        return _TENS[number // 10] + (f" {_UNITS[number % 10]}" if number % 10 else "")
    size, name = next(power for power in _POWERS if number >= power[0])
    rest = number % size
    return f"{_in_words(number // size)} {name}" + (f" {_in_words(rest)}" if rest else "")


def _year_in_words(year: int) -> str:
    century, rest = divmod(year, 100)
    if not rest:
        return f"{_in_words(century)} hundred"
    return f"{_in_words(century)} {'oh ' if rest < 10 else ''}{_in_words(rest)}"


def _digits_in_words(digits: str) -> str:
    return " ".join(_UNITS[int(digit)] for digit in digits)


def _ordinal(words: str) -> str:
    rest, _, last = words.rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = last.removesuffix("y") + "ieth" if last.endswith("y") else last + "th"
    return f"{rest} {last}".strip()


_NORMALISERS = (Normaliser("none", _none), Normaliser("basic-1", _basic), Normaliser("english-1", _english))
#: What can be asked for.
NAMES = ("none", "basic", "english")
