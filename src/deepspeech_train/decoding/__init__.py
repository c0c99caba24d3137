"""From a network's outputs to text: greedy, or by beam search with a language model or a list of words.

>>> decoder = from_settings(settings, seconds_per_frame=0.04)  # doctest: +SKIP
>>> decoder.decode(logits, lengths)[0].text  # doctest: +SKIP
'go left'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import RecipeError
from . import language_model
from .alignment import best_path
from .beam import Beam, Candidate
from .greedy import Greedy
from .hypothesis import Hypothesis, Word, from_path, log_probabilities
from .language_model import LanguageModel
from .lexicon import Lexicon, named, read_word_list
from .prior import Prior

if TYPE_CHECKING:
    from ..settings import Settings
    from ..text import Alphabet

__all__ = [
    "Beam",
    "Candidate",
    "Decoder",
    "Greedy",
    "Hypothesis",
    "Prior",
    "Word",
    "best_path",
    "from_path",
    "from_settings",
    "log_probabilities",
]


class Decoder(Protocol):
    """What makes text of a network's outputs. ``remarks`` tell what the user should know of what it was given."""

    @property
    def remarks(self) -> tuple[str, ...]: ...

    def decode(self, logits: npt.NDArray[np.float32], lengths: npt.NDArray[np.int32]) -> list[Hypothesis]:
        """One hypothesis an utterance from ``logits`` (batch, frames, characters and blank) and ``lengths`` (batch,).

        RecipeError for outputs that are not finite.
        """
        ...


def from_settings(settings: Settings, seconds_per_frame: float) -> Decoder:
    """The decoder that ``settings`` ask for; ``seconds_per_frame`` is from one output of the network to the next.

    Raises SettingsError for a language model or word list that cannot be read, RecipeError for one that cannot be used.
    """
    alphabet = settings.characters
    if settings.decoder == "greedy":
        return Greedy(alphabet, seconds_per_frame)
    words = read_word_list(settings.word_list, alphabet) if settings.word_list else None
    remarks: tuple[str, ...] = ()
    if words is not None and words.left_out:
        remarks = (
            f"{len(words.left_out)} of {len(words.left_out) + len(words)} words of {settings.word_list} hold "
            f"characters outside the alphabet and cannot be recognised: {named(words.left_out)}",
        )
    prior = None
    if settings.lm_path:
        model = language_model.load(settings.lm_path)
        _check_words(settings, model, words)
        if words is None and model.vocabulary is None and " " in alphabet.characters:
            remarks = (
                f"{settings.lm_path} does not tell its words, so that it is found out only at a word's end whether it "
                "is one: set ds_word_list, or take the ARPA file",
            )
        lexicon = words if words is not None else _own_words(model, alphabet)
        prior = Prior(alphabet, model, settings.lm_alpha, settings.lm_beta, lexicon, words is not None)
    elif words is not None:
        prior = Prior(alphabet, lexicon=words, closed=True)
    return Beam(alphabet, seconds_per_frame, settings.beam_width, prior, remarks=remarks)


def _own_words(model: LanguageModel, alphabet: Alphabet) -> Lexicon | None:
    """The lexicon of the words that ``model`` lists; None where it does not tell them, or they are characters."""
    if model.vocabulary is None or " " not in alphabet.characters:
        return None
    return Lexicon.of(model.vocabulary, alphabet)


def _check_words(settings: Settings, model: LanguageModel, words: Lexicon | None) -> None:
    """RecipeError if there is no word that both the model knows and the decoder can write."""
    alphabet = settings.characters
    if " " not in alphabet.characters:
        known = any(model.knows(character) for character in alphabet.characters)
        what = f"the characters of the alphabet {alphabet.characters!r}, which are its words where there is no space"
    elif settings.word_list and words is not None:
        known = any(model.knows(word) for word in words)
        what = f"the {len(words)} words of {settings.word_list}"
    else:
        known = model.vocabulary is None or any(not alphabet.strange(word) for word in model.vocabulary)
        what = f"the words that can be written with the alphabet {alphabet.characters!r}"
    if not known:
        own = f" It has, for example, {named(model.vocabulary)}." if model.vocabulary else ""
        raise RecipeError(
            f"The language model {settings.lm_path} knows none of {what}.{own}",
            "Its words must be written as transcripts are. Are they in capitals? Of an ARPA file: "
            "tr '[:upper:]' '[:lower:]' < FILE, which keeps <s>, </s> and <unk>.",
        )
