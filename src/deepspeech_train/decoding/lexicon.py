"""A lexicon: words as a tree of their prefixes, which says of any prefix how it may go on.

A word list on disk is UTF-8 text, one word a line; blank lines are skipped. The tree is one sorted array: a node is a
number (0 the empty prefix), an edge the number ``node * outputs + label``, and the node at the end of the i-th edge is
``i + 1``. Edges are numbered level by level, so that they are sorted as they are made; 200,000 words take some 6 MB.

>>> lexicon = Lexicon.of(["go", "got"], ENGLISH)
>>> lexicon.final.tolist()
[False, False, True, True]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import RecipeError, SettingsError
from ..text import Alphabet

#: Words named in a message about words.
_NAMED = 5


@dataclass(frozen=True)
class Lexicon:
    """``edges`` as above, ``final`` (nodes,) says which nodes are words, ``left_out`` the words with characters that
    the alphabet does not have; ``characters`` are the alphabet's."""

    edges: npt.NDArray[np.int64]
    final: npt.NDArray[np.bool_]
    left_out: tuple[str, ...]
    characters: str

    @classmethod
    def of(cls, words: Iterable[str], alphabet: Alphabet) -> Lexicon:
        """The lexicon of ``words``; equal ones count once. One with a space or another character that the alphabet does
        not have is left out."""
        known = set(alphabet.characters) - {" "}
        unique = sorted(set(words) - {""})
        usable = [word for word in unique if known.issuperset(word)]
        left_out = tuple(word for word in unique if not known.issuperset(word))
        lengths = np.array([len(word) for word in usable], np.int64)
        labels = alphabet.encode("".join(usable)).astype(np.int64)
        offsets = np.cumsum(lengths) - lengths
        nodes = np.zeros(len(usable), np.int64)  # where each word has come to
        levels: list[npt.NDArray[np.int64]] = []
        count = 1
        for depth in range(int(lengths.max(initial=0))):
            going = np.flatnonzero(lengths > depth)
            wanted = nodes[going] * alphabet.size + labels[offsets[going] + depth]
            edges, places = np.unique(wanted, return_inverse=True)
            nodes[going] = count + places
            levels.append(edges)
            count += len(edges)
        final = np.zeros(count, bool)
        final[nodes] = True
        final[0] = False
        return cls(np.concatenate([*levels, np.zeros(0, np.int64)]), final, left_out, alphabet.characters)

    def __len__(self) -> int:
        """How many words it holds."""
        return int(self.final.sum())

    def __iter__(self) -> Iterator[str]:
        """Its words, in the order of their nodes."""
        for node in np.flatnonzero(self.final).tolist():
            letters = []
            while node:
                node, label = divmod(int(self.edges[node - 1]), len(self.characters) + 1)
                letters.append(self.characters[label])
            yield "".join(reversed(letters))

    def children(self, nodes: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The nodes to which ``nodes`` (n,) go with ``labels`` (m,), shape (n, m); -1 where there is none, and from
        the node -1."""
        wanted = nodes[:, None] * (len(self.characters) + 1) + labels
        if not len(self.edges):
            return np.full(wanted.shape, -1, np.int64)
        places = np.minimum(np.searchsorted(self.edges, wanted), len(self.edges) - 1)
        return np.where((self.edges[places] == wanted) & (nodes[:, None] >= 0), places + 1, -1)


def read_word_list(path: Path, alphabet: Alphabet) -> Lexicon:
    """The words of the file ``path``.

    Raises SettingsError if it cannot be read; RecipeError, with the line, if it is not UTF-8 or a line is more than one
    word, and if no word of it can be written with the alphabet.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingsError(
            f"The word list {path} cannot be read: {error.strerror or error}.",
            "ds_word_list is a text file with one word a line.",
        ) from error
    words = []
    for number, line in enumerate(lines, start=1):
        try:
            said = line.decode("utf-8-sig" if number == 1 else "utf-8").split()
        except UnicodeDecodeError as error:
            raise RecipeError(
                f"{path}, line {number}: not UTF-8 at byte {error.start}.", "Write the word list in UTF-8."
            ) from error
        if len(said) > 1:
            raise RecipeError(
                f"{path}, line {number}: {' '.join(said)[:80]!r} is more than one word.",
                "A word list has one word a line and nothing else; of a Kaldi words.txt: cut -d ' ' -f 1 words.txt.",
            )
        words += said
    lexicon = Lexicon.of(words, alphabet)
    if not words:
        raise RecipeError(f"The word list {path} is empty.", "It has one word a line.")
    if not len(lexicon):
        raise RecipeError(
            f"None of the {len(words)} words of {path} can be written with the alphabet {alphabet.characters!r}: "
            f"{named(words)}.",
            "Write them as transcripts are written (are they in capitals?), or set ds_alphabet.",
        )
    return lexicon


def named(words: Iterable[str]) -> str:
    """The first of ``words``, and how many more there are."""
    words = list(words)
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(repr(word[:40]) for word in words[:_NAMED]) + more
