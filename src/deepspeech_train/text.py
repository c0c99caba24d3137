"""The alphabet: what a transcript may hold, and which output of the network stands for which character.

DeepSpeech's own has twenty-nine outputs: the space, a to z, the apostrophe, and last the blank of CTC. Another language
brings characters of its own; the blank is always the last output.

>>> ENGLISH.decode(ENGLISH.encode("go left"))
'go left'
>>> Alphabet(" abcäöü").blank
7
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .errors import RecipeError, SettingsError


@dataclass(frozen=True)
class Alphabet:
    """The characters in the order of the network's outputs; SettingsError for characters that cannot be one."""

    characters: str
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wrong = sorted({repr(one) for one in self.characters if unicodedata.category(one)[0] == "C"})
        twice = sorted({repr(one) for one in self.characters if self.characters.count(one) > 1})
        if wrong or twice or not self.characters.strip(" "):
            what = f"control characters {', '.join(wrong)}" if wrong else f"{', '.join(twice)} twice"
            raise SettingsError(
                f"The alphabet {self.characters!r} cannot be used: it holds {what if wrong or twice else 'no letter'}.",
                'Write each character once, the space among them, as in ds_alphabet=" abcdefghijklmnopqrstuvwxyz\'".',
            )
        object.__setattr__(self, "_index", {character: place for place, character in enumerate(self.characters)})

    @property
    def blank(self) -> int:
        """The output that stands for no character."""
        return len(self.characters)

    @property
    def size(self) -> int:
        """Outputs of the network: the characters and the blank."""
        return len(self.characters) + 1

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """The labels of a transcript, shape ``(len(text),)``; RecipeError for a character outside the alphabet."""
        try:
            return np.array([self._index[character] for character in text], dtype=np.int32)
        except KeyError as missing:
            raise RecipeError(
                f"The transcript {text!r} holds {missing.args[0]!r}, which the network has no output for.",
                f"The alphabet is {self.characters!r} (ds_alphabet): write numbers and symbols out, or extend it.",
            ) from None

    def decode(self, labels: Iterable[int]) -> str:
        """The text of labels that hold no blank."""
        return "".join(self.characters[label] for label in labels)

    def strange(self, text: str) -> str:
        """The characters of ``text`` that are outside the alphabet, each once, sorted."""
        return "".join(sorted(set(text).difference(self._index)))


#: DeepSpeech's own.
ENGLISH = Alphabet(" abcdefghijklmnopqrstuvwxyz'")


def frames_needed(text: str) -> int:
    """The fewest output frames with which CTC can emit ``text``: one each, and a blank between repeats."""
    return len(text) + sum(left == right for left, right in itertools.pairwise(text))
