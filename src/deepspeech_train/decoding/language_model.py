"""A language model: how likely a word is after those before it (n-grams with back-off, as KenLM and SRILM make them).

Two kinds of files are read:

- **ARPA** text, also with gzip: a header ``\\data\\`` with ``ngram 1=COUNT`` and so on, then for each order a section
  ``\\N-grams:`` with the lines ``log10-probability word ... word [log10-back-off]``, then ``\\end\\``. Words are UTF-8
  without white space; ``<s>`` begins a sentence, ``</s>`` ends it, ``<unk>`` is any word that is not listed.
- **KenLM's binary** files (``build_binary``).

Both are read with the package ``kenlm`` where it is installed (``pip install 'deepspeech-wer[lm]'``; it is compiled
there, which takes about a minute and a C++ compiler; 0.3.0 does so up to Python 3.12). Without it, ARPA files are read
by :class:`Arpa`: the same numbers from a plain dictionary, which is meant for small models: reading takes some 2 s and
200 MB for a million n-grams.

Probabilities are natural logarithms here; the files have those to the base 10.
"""

from __future__ import annotations

import gzip
import importlib
import math
import mmap
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ..errors import RecipeError, SettingsError

LN10 = math.log(10)
#: The log10-probability of an unknown word where the model has no <unk>, as in KenLM.
NO_UNKNOWN = -100.0
_BINARY = b"mmap lm http://kheafield.com/code"
_MARKS = (b"<s>", b"</s>", b"<unk>", b"<UNK>")
_GZIP = b"\x1f\x8b"
_ARPA_HINT = "Write it again, as with KenLM's lmplz --arpa; a file that ends early was not copied whole."
#: kenlm 0.3.0 does not compile with Python 3.13, so that the extra installs nothing there.
_INSTALL = (
    "Install it with pip install 'deepspeech-wer[lm]' (it needs a C++ compiler), or set ds_lm_path to the ARPA file"
    if sys.version_info < (3, 13)
    else "That does not compile with Python 3.13 yet: set ds_lm_path to the ARPA file, or use Python 3.12"
)


class LanguageModel(Protocol):
    """``vocabulary`` are its words without <s>, </s> and <unk>, None where the file does not tell them."""

    order: int
    vocabulary: tuple[str, ...] | None

    def start(self) -> Any:
        """The state at the beginning of a sentence."""

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """The logarithm of the probability of ``word`` in ``state`` (that of <unk> if it is not known), and the state
        after it."""

    def end(self, state: Any) -> float:
        """The logarithm of the probability that the sentence ends in ``state``."""

    def knows(self, word: str) -> bool:
        """Whether the model lists ``word``."""


def load(path: Path) -> LanguageModel:
    """The language model of the file ``path``.

    Raises SettingsError if the file cannot be read; RecipeError if it is not a language model, with the line where it
    is ARPA, or is one that only the package ``kenlm`` can read, which is not there.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_BINARY))
    except OSError as error:
        raise SettingsError(
            f"The language model {path} cannot be read: {error.strerror or error}.",
            "ds_lm_path is an ARPA file or a binary one of KenLM.",
        ) from error
    binary = head == _BINARY
    try:
        kenlm = importlib.import_module("kenlm")
    except ImportError as error:
        if binary:
            raise RecipeError(
                f"The language model {path} is a binary one of KenLM, and the package kenlm is not installed.",
                f"{_INSTALL}.",
            ) from error
        return Arpa(path)
    vocabulary = None if binary else _vocabulary(path)
    if vocabulary is not None and not any(order > 1 for order, *_ in _lines(path)):
        return Arpa(path)  # KenLM reads no model of single words
    return KenLM(kenlm, path, vocabulary)


class KenLM:
    """A model that the package ``kenlm`` (Heafield, 2011) reads and holds."""

    def __init__(self, kenlm: Any, path: Path, vocabulary: tuple[str, ...] | None) -> None:
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except (OSError, RuntimeError, ValueError) as error:
            raise RecipeError(*_told(path, " ".join(str(error).split()))) from error
        self._state = kenlm.State
        self.order = int(self._model.order)
        self.vocabulary = vocabulary if vocabulary is not None else self._words_of(path)

    def start(self) -> Any:
        state = self._state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        after = self._state()
        return self._model.BaseScore(state, word, after) * LN10, after

    def end(self, state: Any) -> float:
        return float(self._model.BaseScore(state, "</s>", self._state()) * LN10)

    def knows(self, word: str) -> bool:
        return word in self._model

    def _words_of(self, path: Path) -> tuple[str, ...] | None:
        """The words of a binary file, which stand at its end, each with a zero after it, the first <unk>; None where
        they were not written."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            begin = content.rfind(b"<unk>\0")
            words = content[begin:].split(b"\0") if begin >= 0 else [b""]
        try:
            told = tuple(word.decode() for word in words[:-1] if word not in _MARKS)
        except UnicodeDecodeError:
            return None
        return told if told and not words[-1] and all(map(self.knows, told)) else None


def _told(path: Path, said: str) -> tuple[str, str]:
    """Message and hint for what KenLM says of a file that it cannot read."""
    # It begins with the place in its source and the condition that does not hold.
    plain = re.sub(r"^Cannot read model '.*?' \((?:.*threw \w+(?: because `.*?')?\.)?", "", said).rstrip(")").strip()
    order = re.search(r"has order (\d+) but", plain)
    if order:
        return (
            f"The language model {path} has the order {order[1]}, more than the package kenlm was compiled for.",
            f"Compile it for that: MAX_ORDER={order[1]} pip install --force-reinstall --no-cache-dir kenlm.",
        )
    return (
        f"The language model {path} cannot be used. KenLM says: {plain[:400]}",
        "Copy it again if it is not whole; make a binary file of another version again from the ARPA file with "
        "build_binary, or set ds_lm_path to the ARPA file.",
    )


class Arpa:
    """A model that is read from ARPA text into a dictionary; its states are the last words."""

    vocabulary: tuple[str, ...] | None

    def __init__(self, path: Path) -> None:
        self.order = 0
        self._ngrams: dict[bytes, tuple[float, float]] = {}
        for order, ngram, probability, back_off in _lines(path):
            self.order = max(self.order, order)
            self._ngrams[ngram] = (probability, back_off)
        self.vocabulary = tuple(ngram.decode() for ngram in self._ngrams if b" " not in ngram and ngram not in _MARKS)
        self._ngrams.setdefault(b"<unk>", (NO_UNKNOWN, 0.0))

    def start(self) -> tuple[bytes, ...]:
        return (b"<s>",)[: self.order - 1]

    def score(self, state: tuple[bytes, ...], word: str) -> tuple[float, tuple[bytes, ...]]:
        written = word.encode()
        if b" " in written or written not in self._ngrams:
            written = b"<unk>"
        total = 0.0
        for first in range(len(state) + 1):
            known = self._ngrams.get(b" ".join((*state[first:], written)))
            if known is not None:
                total += known[0]
                break
            total += self._ngrams.get(b" ".join(state[first:]), (0.0, 0.0))[1]
        return total * LN10, ((*state, written)[-(self.order - 1) :] if self.order > 1 else ())

    def end(self, state: tuple[bytes, ...]) -> float:
        return self.score(state, "</s>")[0]

    def knows(self, word: str) -> bool:
        written = word.encode()
        return b" " not in written and written in self._ngrams and written not in _MARKS


def _vocabulary(path: Path) -> tuple[str, ...]:
    """The words of the first section of an ARPA file."""
    words = []
    for order, ngram, _, _ in _lines(path):
        if order > 1:
            break
        if ngram not in _MARKS:
            words.append(ngram.decode())
    return tuple(words)


def _lines(path: Path) -> Iterator[tuple[int, bytes, float, float]]:
    """Each n-gram of an ARPA file: its order, its words with a space between, log10-probability and -back-off."""

    def wrong(number: int, what: str) -> RecipeError:
        return RecipeError(f"The language model {path} is not a whole ARPA file: line {number}: {what}.", _ARPA_HINT)

    counts: dict[int, int] = {}
    order = found = number = 0
    ended = False
    try:
        with path.open("rb") as probe:
            zipped = probe.read(2) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if not fields:
                    continue
                if fields[0].startswith(b"\\"):
                    section = fields[0].decode(errors="replace")
                    if order and found != counts[order]:
                        raise wrong(number, f"{counts[order]} {order}-grams are announced, {found} were there")
                    if section == "\\end\\" and order and order + 1 not in counts:
                        ended = True
                        break
                    if section == f"\\{order + 1}-grams:" and order + 1 in counts:
                        order, found = order + 1, 0
                    elif section != "\\data\\" or order or counts:
                        raise wrong(number, f"{section[:40]!r} is not what comes here")
                elif not order:
                    announced = re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d+)", line.strip())
                    if announced and int(announced[1]) == len(counts) + 1:
                        counts[len(counts) + 1] = int(announced[2])
                    elif counts or number > 100:
                        raise wrong(number, f"{line[:40]!r} is not what comes here")
                else:
                    found += 1
                    if not order + 1 <= len(fields) <= order + 2:
                        raise wrong(number, f"{len(fields)} fields where a {order}-gram has {order + 1} or {order + 2}")
                    ngram = b" ".join(fields[1 : order + 1])
                    try:
                        if order == 1:
                            ngram.decode()
                        probability = float(fields[0])
                        back_off = float(fields[order + 1]) if len(fields) > order + 1 else 0.0
                    except UnicodeDecodeError:
                        raise wrong(number, "a word is not UTF-8") from None
                    except ValueError:
                        raise wrong(number, "a probability is not a number") from None
                    if not probability <= 0 or math.isnan(back_off):
                        raise wrong(number, f"{probability} is not the logarithm of a probability")
                    yield order, ngram, probability, back_off
    except (OSError, EOFError, zlib.error) as error:
        raise RecipeError(f"The language model {path} cannot be read: {error}.", _ARPA_HINT) from error
    if not ended:
        raise wrong(number, "the file ends before \\end\\" if order else "there is no \\data\\ with counts of n-grams")
