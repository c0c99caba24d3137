"""Language models and word lists as files, and the decoders that are made of them."""

from __future__ import annotations

import base64
import gzip
import importlib
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train.decoding import Beam, Greedy, from_settings
from deepspeech_train.decoding.language_model import LN10, NO_UNKNOWN, Arpa, load
from deepspeech_train.decoding.lexicon import Lexicon, read_word_list
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.settings import Settings
from deepspeech_train.text import ENGLISH, Alphabet

ARPA = """\
\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.4
-0.9\t</s>
-0.5\ta\t-0.3
-0.8\tab\t-0.2
-0.7\tb\t-0.1

\\2-grams:
-0.2\t<s> ab
-0.6\ta b
-0.3\tab a
-0.9\tb </s>
-1.1\ta a

\\end\\
"""
#: The same, written by KenLM's build_binary on x86-64.
BINARY = base64.b64decode(
    "bW1hcCBsbSBodHRwOi8va2hlYWZpZWxkLmNvbS9jb2RlIGZvcm1hdCB2ZXJzaW9uIDUKAAAAAAAAAAAAAACAPwAAAL8BAAAA////"
    "/wAAAAABAAAAAAAAAAIAAAAAAMA/AAAAAAEAAAAAAAAABgAAAAAAAAAFAAAAAAAAAAAAAAAAAAAABgAAABFra9PSFxcHAwAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAps9/F9c+BrAgAAAPjRU/6yhb5iBAAAAHB+Ib05hnUAAQAAADcqKpJ9"
    "/IvqBQAAAAAAAAAAAAAAAAAAAAAAwL8AAACAAADGws3MzL5mZmY/AAAAgAAAAD+amZm+zcxMP83MTL4zMzM/zczMvQAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAhe9+rQgUV46amRm/IF2UvoqQPCtmZma/AAAAAAAAAAAAAAAAGkRJr+gVwALNzEy+k8SmNxHfj5TNzIy/rI3b"
    "FANhZqyamZm+PHVuaz4APHM+ADwvcz4AYQBhYgBiAA=="
)


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


@pytest.fixture
def without_kenlm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    imported = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == "kenlm":
            raise ModuleNotFoundError(name)
        return imported(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)


def _sentence(model: Any, text: str) -> list[float]:
    """log10 of each word's probability and of the end's."""
    state, scores = model.start(), []
    for word in text.split():
        score, state = model.score(state, word)
        scores.append(score / LN10)
    return [*scores, model.end(state) / LN10]


def test_an_arpa_file_is_read_as_its_format_says(arpa: Path) -> None:
    model = Arpa(arpa)
    assert (model.order, model.vocabulary) == (2, ("a", "ab", "b"))
    # A pair that is listed; one that is not: the first word's back-off and the second's own; an unknown word.
    assert _sentence(model, "ab a b") == pytest.approx([-0.2, -0.3, -0.6, -0.9])
    assert _sentence(model, "b ab") == pytest.approx([-0.4 - 0.7, -0.1 - 0.8, -0.2 - 0.9])
    assert _sentence(model, "xy a") == pytest.approx([-0.4 - 1.5, -0.5, -0.3 - 0.9])
    assert model.knows("ab")
    assert not any(model.knows(word) for word in ("xy", "<s>", "<unk>", "a b", ""))


def test_without_an_unknown_word_in_it_the_model_has_kenlms(tmp_path: Path) -> None:
    path = tmp_path / "lm"
    path.write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-0.3\ta\n-0.3\t</s>\n\n\\end\\\n")
    assert _sentence(Arpa(path), "a b") == pytest.approx([-0.3, NO_UNKNOWN, -0.3])


def test_a_zipped_model_is_read(arpa: Path, without_kenlm: None) -> None:
    zipped = arpa.with_suffix(".gz")
    zipped.write_bytes(gzip.compress(ARPA.encode()))
    assert _sentence(load(zipped), "ab a") == _sentence(Arpa(arpa), "ab a")
    zipped.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(RecipeError, match="cannot be read"):
        load(zipped)


def _random_arpa(seed: int, order: int) -> str:
    """A model of a few words with all that an n-gram needs: its own beginnings."""
    chance = random.Random(seed)
    words = ["a", "b", "ab", "bä", "ba"]
    levels: list[list[tuple[str, ...]]] = [[("<unk>",), ("<s>",), ("</s>",), *((word,) for word in words)]]
    for _ in range(order - 1):
        longer = [
            (*ngram, word) for ngram in levels[-1] if ngram[-1] not in ("</s>", "<unk>") for word in [*words, "</s>"]
        ]
        known = {ngram[-len(longer[0]) + 1 :] for ngram in levels[-1]}
        levels.append([one for one in longer if one[1:] in known and chance.random() < 0.4])
    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, start=1))]
    for n, level in enumerate(levels, start=1):
        lines += ["", f"\\{n}-grams:"]
        for ngram in level:
            back_off = f"\t{-chance.random():.5f}" if n < order and ngram[-1] != "</s>" else ""
            lines.append(f"{-3 * chance.random() - 0.01:.5f}\t{' '.join(ngram)}{back_off}")
    return "\n".join([*lines, "", "\\end\\", ""])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_kenlm_and_our_reader_give_the_same(order: int, tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "lm.arpa"
    path.write_text(_random_arpa(order, order), encoding="utf-8")
    theirs, ours = load(path), Arpa(path)
    assert (type(theirs) is Arpa) == (order == 1)
    assert (theirs.order, theirs.vocabulary) == (ours.order, ours.vocabulary)
    chance = random.Random(order)
    for _ in range(100):
        text = " ".join(chance.choices(["a", "b", "ab", "bä", "ba", "xyz"], k=chance.randrange(7)))
        assert _sentence(ours, text) == pytest.approx(_sentence(theirs, text), abs=1e-4), text


def test_a_binary_model_tells_its_words(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "lm.binary"
    path.write_bytes(BINARY)
    model = load(path)
    assert (model.order, model.vocabulary) == (2, ("a", "ab", "b"))
    assert _sentence(model, "ab xy b") == pytest.approx([-0.2, -0.2 - 1.5, -0.7, -0.9], abs=1e-4)


def test_a_binary_model_without_its_words_is_remarked_on(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "lm.binary"
    written = bytearray(BINARY[: BINARY.index(b"<unk>\0")])
    assert written[100] == 1  # in the header: words follow
    written[100] = 0
    path.write_bytes(written)
    decoder = from_settings(_settings(lm_path=path), 0.04)
    assert isinstance(decoder, Beam)
    assert decoder.prior is not None
    assert decoder.prior.lexicon is None
    (remark,) = decoder.remarks
    assert "does not tell its words" in remark


def test_a_binary_model_of_another_version_or_not_whole_is_told(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "lm.binary"
    path.write_bytes(BINARY[:300])
    with pytest.raises(RecipeError, match="KenLM says: Binary file has size 300") as told:
        load(path)
    assert "Copy it again" in told.value.hint
    path.write_bytes(BINARY.replace(b"version 5", b"version 4"))
    with pytest.raises(RecipeError, match="version 4 but this implementation expects version 5"):
        load(path)


def test_a_model_of_a_higher_order_than_kenlm_was_compiled_for_is_told(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "lm.arpa"
    path.write_text(_random_arpa(1, 7))
    with pytest.raises(RecipeError, match="has the order 7, more than") as told:
        load(path)
    assert "MAX_ORDER=7 pip install" in told.value.hint


def test_without_kenlm_arpa_is_read_and_what_a_binary_file_needs_is_told(
    arpa: Path, tmp_path: Path, without_kenlm: None
) -> None:
    assert isinstance(load(arpa), Arpa)
    path = tmp_path / "lm.binary"
    path.write_bytes(BINARY)
    with pytest.raises(RecipeError, match="kenlm is not installed") as told:
        load(path)
    assert "set ds_lm_path to the ARPA file" in told.value.hint
    assert ("pip install 'deepspeech-wer[lm]'" in told.value.hint) == (sys.version_info < (3, 13))


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("\\end\\\n", "", "line 19: the file ends before"),
        ("ngram 2=5", "ngram 2=6", "line 20: 6 2-grams are announced, 5 were there"),
        ("ngram 2=5", "ngram 3=5", "line 3: .* is not what comes here"),
        ("ngram 1=6", "ngrams: 6", "line 5: .* is not what comes here"),
        ("\\2-grams:", "\\3-grams:", "is not what comes here"),
        ("-0.5\ta\t-0.3", "-O.5\ta\t-0.3", "line 9: a probability is not a number"),
        ("-0.5\ta\t-0.3", "0.5\ta\t-0.3", "line 9: 0.5 is not the logarithm of a probability"),
        ("-0.5\ta\t-0.3", "nan\ta\t-0.3", "line 9: nan is not the logarithm"),
        ("-0.6\ta b", "-0.6\ta b c d", "line 15: 5 fields where a 2-gram has 3 or 4"),
        (ARPA, "", "there is no .data. with counts"),
        (ARPA, "go left\n", "there is no .data. with counts"),
    ],
)
def test_what_is_wrong_with_an_arpa_file_is_told_with_its_line(
    arpa: Path, before: str, after: str, what: str, without_kenlm: None
) -> None:
    arpa.write_text(ARPA.replace(before, after))
    with pytest.raises(RecipeError, match=what):
        load(arpa)


def test_a_lexicon_knows_how_a_prefix_goes_on() -> None:
    alphabet = Alphabet(" abc")
    lexicon = Lexicon.of(["ab", "abc", "b", "ab", "", "äb", "a b"], alphabet)
    assert (sorted(lexicon), lexicon.left_out) == (["ab", "abc", "b"], ("a b", "äb"))
    labels = np.arange(4)
    a, b = lexicon.children(np.array([0]), labels)[0, 1:3]
    assert lexicon.children(np.array([0, a, -1]), labels)[:, [0, 3]].tolist() == [[-1, -1]] * 3
    assert not lexicon.final[a]
    assert lexicon.final[b]
    ab = lexicon.children(np.array([a]), labels)[0, 2]
    assert lexicon.final[ab]
    assert lexicon.final[lexicon.children(np.array([ab]), labels)[0, 3]]
    assert Lexicon.of([], alphabet).children(np.array([0]), labels).tolist() == [[-1] * 4]


@pytest.mark.parametrize("seed", range(3))
def test_a_lexicon_holds_exactly_its_words(seed: int) -> None:
    chance = random.Random(seed)
    words = {"".join(chance.choices("abc'", k=chance.randrange(1, 7))) for _ in range(300)}
    assert set(Lexicon.of(words, ENGLISH)) == words


def _settings(**values: Any) -> Settings:
    return Settings.from_namespace({"decoder": "beam", **values}, {})


def _word_list(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "words.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_words_outside_the_alphabet_are_named_and_counted(tmp_path: Path) -> None:
    path = _word_list(tmp_path, "\ufeffgo\r\nleft\n\n go \nräv\nα\nβ\nγ\nδ\nε\n")
    decoder = from_settings(_settings(word_list=path), 0.04)
    (remark,) = decoder.remarks
    assert f"6 of 8 words of {path} hold characters outside the alphabet" in remark
    assert "'räv'" in remark
    assert "and 1 more" in remark
    assert isinstance(decoder, Beam)
    assert decoder.prior is not None
    assert sorted(decoder.prior.lexicon or ()) == ["go", "left"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("\n  \n", "is empty"),
        ("GO\nLEFT\n", "None of the 2 words"),
        ("go\ngo left\n", "line 2: 'go left' is more than one word"),
        (b"go\nr\xe4v\n", "line 2: not UTF-8"),
    ],
)
def test_a_word_list_that_cannot_be_used_is_told(tmp_path: Path, content: str | bytes, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        read_word_list(_word_list(tmp_path, content), ENGLISH)


def test_files_that_are_not_there_are_a_matter_of_settings(tmp_path: Path) -> None:
    for name in ("lm_path", "word_list"):
        with pytest.raises(SettingsError, match="cannot be read: No such file"):
            from_settings(_settings(**{name: tmp_path / "none"}), 0.04)
        with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
            from_settings(_settings(**{name: tmp_path}), 0.04)


def test_settings_make_the_decoder(arpa: Path, tmp_path: Path) -> None:
    assert isinstance(from_settings(Settings(), 0.04), Greedy)
    plain = from_settings(_settings(beam_width=7), 0.5)
    assert isinstance(plain, Beam)
    assert (plain.width, plain.seconds_per_frame, plain.prior) == (7, 0.5, None)
    full = from_settings(_settings(lm_path=arpa, lm_alpha=0.3, lm_beta=-1), 0.04)
    assert isinstance(full, Beam)
    assert full.prior is not None
    assert (full.prior.alpha, full.prior.beta, full.prior.closed) == (0.3, -1, False)
    assert sorted(full.prior.lexicon or ()) == ["a", "ab", "b"]
    closed = from_settings(_settings(lm_path=arpa, word_list=_word_list(tmp_path, "b\nbab\n")), 0.04)
    assert isinstance(closed, Beam)
    assert closed.prior is not None
    assert closed.prior.closed
    assert sorted(closed.prior.lexicon or ()) == ["b", "bab"]


def test_a_model_none_of_whose_words_can_be_written_is_told(arpa: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="knows none of the words that can be written") as told:
        from_settings(_settings(lm_path=arpa, alphabet=" xyz"), 0.04)
    assert "'a', 'ab', 'b'" in told.value.message
    with pytest.raises(RecipeError, match="knows none of the 2 words of"):
        from_settings(_settings(lm_path=arpa, word_list=_word_list(tmp_path, "go\nleft\n")), 0.04)
    with pytest.raises(RecipeError, match="knows none of the characters of the alphabet 'xyz'"):
        from_settings(_settings(lm_path=arpa, alphabet="xyz"), 0.04)
