"""Word vectors that a user has: an .npz of "words" and "vectors", or text with a word and its numbers on each line, as
word2vec and GloVe are written (a first line of two numbers, their counts, is passed over)."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.vocabulary import tokens


def word_vectors(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], Float[np.ndarray, "n d"]]:
    """The words and their vectors, float32, of a file: each word once, the first time, in lower case; what is no word,
    or several, is left out.

    Raises `UsageError` for a file that is not there or holds something else, and for vectors of unequal widths or not
    finite.
    """
    where = home_path(path)
    if not where.is_file():
        raise UsageError(f"{where}: there is no such file of word vectors.")
    names, vectors = _arrays(where) if where.suffix.lower() == ".npz" else _lines(where)
    if not np.isfinite(vectors).all():
        raise UsageError(f"{where}: word vectors must be finite, found NaN or infinity among them.")
    numbers: dict[str, int] = {}
    for i, name in enumerate(names):
        if tokens(name) == [name.lower()]:
            numbers.setdefault(name.lower(), i)
    if not numbers:
        raise UsageError(f"{where}: no word among its {len(names):,} entries.")
    return tuple(numbers), vectors[np.array([*numbers.values()])]


def _arrays(where: object) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(str(where), allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: no .npz of arrays: {error}.") from error
    words, vectors = arrays.get("words"), arrays.get("vectors")
    if words is None or vectors is None:
        raise UsageError(f"{where}: wanted the arrays words and vectors, found {', '.join(arrays) or 'none'}.")
    if words.dtype.kind not in "US" or vectors.dtype.kind not in "fiu" or vectors.shape[:1] != words.shape:
        raise UsageError(
            f"{where}: wanted words [n] of text and vectors [n, width] of numbers, found {words.dtype}"
            f"{list(words.shape)} and {vectors.dtype}{list(vectors.shape)}."
        )
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise UsageError(f"{where}: wanted vectors [n, width], found {list(vectors.shape)}.")
    return [str(word) for word in words.astype(np.str_)], vectors.astype(np.float32)


def _lines(where: object) -> tuple[list[str], np.ndarray]:
    words: list[str] = []
    vectors: list[np.ndarray] = []
    with open(str(where), encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            word, *numbers = line.split()
            if number == 1 and len(numbers) == 1 and word.isdigit():
                continue
            try:
                vector = np.array([float(x) for x in numbers], np.float32)
            except ValueError as error:
                raise UsageError(f"{where}, line {number}: wanted a word and numbers: {error}.") from error
            if vectors and len(vector) != len(vectors[0]):
                raise UsageError(
                    f"{where}, line {number}: {word!r} has {len(vector)} numbers, and the words before it have "
                    f"{len(vectors[0])}: give vectors of one width."
                )
            words.append(word)
            vectors.append(vector)
    if not vectors or not len(vectors[0]):
        raise UsageError(f"{where}: wanted a word and its numbers on each line, found none.")
    return words, np.stack(vectors)
