"""What is known of the language before anything is heard: a language model, a lexicon, or both.

The prior adds to the logarithm of a text's probability under the network (Hannun et al., 2014, equation 12):

    alpha * ln P(words and the end of the sentence) + beta * (number of words)

``alpha`` weighs the language model, ``beta`` makes up for what each further word costs; both are of use with a language
model alone and are tuned together on a development set (``deepspeech-train tune``). A word counts when the space after
it does, or the end.

- **Words** are what spaces separate. Where the alphabet has no space, each character is a word to the language model
  (a character model, as for Chinese), and a text is one entry of the lexicon.
- **With a word list** nothing but its words can be recognised.
- **Without one** a word that the language model does not list is its <unk>, and :data:`UNKNOWN_WORD` times less likely,
  as <unk> stands for all of them and this is one. Where the model's words are known (ARPA), that is counted as soon as
  no listed word begins so, else at the word's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..text import Alphabet
from .hypothesis import Floats
from .language_model import LN10, LanguageModel
from .lexicon import Lexicon
from .prefixes import EMPTY, Prefixes

#: 10 ** 10: what pyctcdecode takes, a handful of letters by chance.
UNKNOWN_WORD = 10 * LN10


@dataclass(frozen=True)
class Prior:
    """``closed`` says that nothing outside ``lexicon`` can be recognised; else it is that of the model's own words."""

    alphabet: Alphabet
    model: LanguageModel | None = None
    alpha: float = 0.5
    beta: float = 1.0
    lexicon: Lexicon | None = None
    closed: bool = False

    @property
    def _by_characters(self) -> bool:
        return self.model is not None and " " not in self.alphabet.characters

    @property
    def _strangeness(self) -> float:
        """What a word is charged as soon as it is none of the model's, until its end is scored."""
        return self.alpha * UNKNOWN_WORD

    def prefixes(self) -> Prefixes:
        """The tree of a new search, with the empty prefix in it."""
        return Prefixes(self.alphabet.characters.find(" "), self.model.start() if self.model else None)

    def extensions(
        self, prefixes: Prefixes, beam: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """What going on with ``labels`` (m,) adds to the bonus of the prefixes ``beam`` (n,), and the node of the
        lexicon that it leads to, both of the shape (n, m).

        Minus infinity: it cannot go on so. A space after no word is not asked for.
        """
        gains = np.zeros((len(beam), len(labels)))
        nodes = np.zeros(gains.shape, np.int64)
        if self.lexicon is not None:
            before = prefixes.node[beam]
            nodes = self.lexicon.children(before, labels)
            if self.closed:
                gains[nodes < 0] = -np.inf
            elif not self._by_characters:
                gains -= self._strangeness * (nodes < 0)
                gains += (self._strangeness * (before < 0))[:, None]
        if self._by_characters:
            for row, prefix in enumerate(beam.tolist()):
                for column in np.flatnonzero(gains[row] > -np.inf).tolist():
                    gains[row, column] += self._said(prefixes, prefix, self.alphabet.characters[labels[column]])[0]
            return gains, nodes
        for place in np.flatnonzero(labels == self.alphabet.characters.find(" ")):
            gains[:, place] = [self._closing(prefixes, prefix) for prefix in beam.tolist()]
            nodes[:, place] = 0
        return gains, nodes

    def entered(self, prefixes: Prefixes, parent: int, label: int, child: int, gain: float, node: int) -> None:
        """Fills in what the prior needs of the new prefix ``child``, to which ``parent`` went with ``label``."""
        prefixes.bonus[child] = prefixes.bonus[parent] + gain
        prefixes.node[child] = node
        character = self.alphabet.characters[label]
        if self._by_characters:
            prefixes.state[child] = self._said(prefixes, parent, character)[1]
        elif character == " ":
            prefixes.state[child] = prefixes.closings[parent][1]
        else:
            prefixes.state[child] = prefixes.state[parent]
            prefixes.word[child] = prefixes.word[parent] + character

    def ends(self, prefixes: Prefixes, beam: npt.NDArray[np.int64]) -> Floats:
        """What ending adds to the bonus of the prefixes ``beam``, shape (n,); minus infinity within a word of a closed
        lexicon."""
        return np.array([self._end(prefixes, prefix) for prefix in beam.tolist()])

    def _end(self, prefixes: Prefixes, prefix: int) -> float:
        gain, state = 0.0, prefixes.state[prefix]
        if prefixes.last[prefix] != self.alphabet.characters.find(" ") and prefix != EMPTY:
            gain = self._closing(prefixes, prefix)
            state = prefixes.closings[prefix][1]
        return gain + (self.alpha * self.model.end(state) if self.model else 0.0)

    def _closing(self, prefixes: Prefixes, prefix: int) -> float:
        """What the end of its last word adds to the bonus of ``prefix``."""
        known = prefixes.closings.get(prefix)
        if known is None:
            gain, state = 0.0, prefixes.state[prefix]
            if self.lexicon is not None and self.closed and not self.lexicon.final[prefixes.node[prefix]]:
                gain = -np.inf
            elif self.model is not None and not self._by_characters and prefixes.word[prefix]:
                gain, state = self._weighed(state, prefixes.word[prefix])
                if prefixes.node[prefix] < 0:
                    gain += self._strangeness
            known = prefixes.closings[prefix] = gain, state
        return known[0]

    def _said(self, prefixes: Prefixes, prefix: int, character: str) -> tuple[float, Any]:
        """What ``character`` after ``prefix`` adds, as a word of a model of characters, and the state after it."""
        known = prefixes.spoken.get((prefix, character))
        if known is None:
            known = prefixes.spoken[prefix, character] = self._weighed(prefixes.state[prefix], character)
        return known

    def _weighed(self, state: Any, word: str) -> tuple[float, Any]:
        assert self.model is not None
        score, after = self.model.score(state, word)
        if not self.model.knows(word):
            score -= UNKNOWN_WORD
        return self.alpha * score + self.beta, after
