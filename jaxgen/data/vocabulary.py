"""Words and their numbers.

A sentence is cut into words by `tokens`: lower case, numbers and marks as words of their own, an apostrophe inside a
word kept ("don't"). A `Vocabulary` numbers the most frequent words from 3 on; 0 fills up behind a sentence, 1 ends it,
and 2 stands for every word that is not known. So `words > 0` is the mask of a padded array, and needs no array of its
own.

    rows: int32[n, length]      the | cat | sat | . | <end> | 0 | 0
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from jaxgen.core.errors import UsageError

PAD, END, UNKNOWN = range(3)
"""What fills up behind a sentence; what ends one; a word that is not in the vocabulary."""

MARKS = ("<pad>", "<end>", "<unknown>")
"""How these are written."""

TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_")
STRAIGHT = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "–": "—"})


def tokens(sentence: str) -> list[str]:
    """The words of a sentence: in lower case, quotes straight, each mark by itself.

    >>> tokens("Don't stop; it’s 12 o'clock!")
    ["don't", 'stop', ';', "it's", '12', "o'clock", '!']
    """
    return TOKEN.findall(unicodedata.normalize("NFC", sentence).translate(STRAIGHT).lower())


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words that have numbers: `words[i]` has the number i + 3.

    >>> vocabulary = Vocabulary.of(["the cat sat.", "the cat ran."], most=3)
    >>> vocabulary.words
    ('.', 'cat', 'the')
    >>> vocabulary.numbers("The cat slept.")
    [5, 4, 2, 3, 1]
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words:
            raise UsageError("a vocabulary needs at least one word, got none.")
        twice = [word for word, count in collections.Counter(self.words).items() if count > 1 or word in MARKS]
        if twice:
            raise UsageError(f"a vocabulary must have each word once and none of {', '.join(MARKS)}, got {twice[0]!r}.")

    @classmethod
    def of(cls, sentences: Iterable[str], most: int = 20_000, least: int = 1) -> Vocabulary:
        """The `most` most frequent words that occur `least` times or more; equally frequent ones by the alphabet.

        Raises `UsageError` where there is none.
        """
        counts = collections.Counter(word for sentence in sentences for word in tokens(sentence))
        ranked = sorted((word for word in counts if counts[word] >= least), key=lambda word: (-counts[word], word))
        if not ranked:
            raise UsageError(f"no word occurs {least} times or more in these sentences: give more text.")
        return cls(tuple(ranked[:most]))

    def __len__(self) -> int:
        """How many numbers there are, with those of `MARKS`."""
        return len(MARKS) + len(self.words)

    @functools.cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, len(MARKS))}

    @functools.cached_property
    def _names(self) -> dict[int, str]:
        return dict(enumerate((*MARKS, *self.words)))

    def __contains__(self, word: object) -> bool:
        return word in self._number

    def numbers(self, sentence: str) -> list[int]:
        """The numbers of a sentence's words, and `END`."""
        return [*(self._number.get(word, UNKNOWN) for word in tokens(sentence)), END]

    def rows(self, sentences: Sequence[str], length: int) -> Rows:
        """Sentences as rows of a padded array. One of more than `length` numbers is cut there, and has no end."""
        if length < 2:
            raise UsageError(f"a row needs room for a word and the end of its sentence, at least 2, got {length}.")
        words, cut = np.zeros((len(sentences), length), np.int32), 0
        for row, sentence in zip(words, sentences):
            numbers = self.numbers(sentence)
            cut += len(numbers) > length
            row[: len(numbers)] = numbers[:length]
        return Rows(words, cut, int((words == UNKNOWN).sum()), int((words > END).sum()))

    def sentence(self, row: Sequence[int] | Int[np.ndarray, " length"]) -> str:
        """The words of a row up to its end, with spaces between; of a number that has no word, `<unknown>`."""
        names = self._names
        ended = list(row).index(END) if END in row else len(row)
        return " ".join(names.get(int(number), MARKS[UNKNOWN]) for number in row[:ended] if number != PAD)

    def lines(self, rows: Int[np.ndarray, "n *k length"]) -> list[str]:
        """A line of text for each row, or for each k rows, with an arrow from one to the next."""
        return [" → ".join(map(self.sentence, row.reshape(-1, row.shape[-1]))) for row in rows]

    def __str__(self) -> str:
        """All words with spaces between, as the record of a run holds them; `Vocabulary.read` gives them back."""
        return " ".join(self.words)

    @classmethod
    def read(cls, words: str) -> Vocabulary:
        """The vocabulary of which `words` are all words."""
        return cls(tuple(words.split(" ")))

    def checked(self, sentences: Sequence[str], length: int, name: str) -> Rows:
        """`rows` of sentences that a user gave. Raises `UsageError` for one without a known word, by its number and the
        `name` of where it stands."""
        rows = self.rows(sentences, length)
        bare = np.flatnonzero((rows.words <= UNKNOWN).all(axis=1))
        if len(bare):
            raise UsageError(
                f"{name}, line {bare[0] + 1}: none of its words is known to this model's {len(self.words):,}, "
                f"got {sentences[bare[0]][:60]!r}: leave it out, or use other words."
            )
        return rows


@dataclasses.dataclass(frozen=True)
class Rows:
    """Sentences as numbers, int32[n, length], and how many sentences were `cut`, words are `unknown`, of the `count` of
    all words that are left."""

    words: Int[np.ndarray, "n length"]
    cut: int
    unknown: int
    count: int

    def __str__(self) -> str:
        n, length = self.words.shape
        share = f"{self.unknown / max(1, self.count):.1%} of words unknown"
        return f"{n:,} sentences, {self.cut:,} of them cut at {length} words; {share}"
