"""What words cost without a model of sentences: by their frequencies, and by those behind the word before.

Words are numbers from 1 on, 0 fills up behind a sentence; a sentence begins behind a 0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Train = Int[np.ndarray, "n t"]
Words = Int[np.ndarray, "m u"]
LogProbs = Float[np.ndarray, "m u"]


def unigram_log_probs(train: Train, words: Words, size: int) -> LogProbs:
    """Nats: log p of each word by how often it is in `train`, each of the numbers 1 to `size` − 1 once more; 0 behind
    sentences.

    >>> train = np.array([[3, 1, 0], [2, 3, 1]])
    >>> np.exp(unigram_log_probs(train, np.array([[1, 2, 3]]), 4)).round(3).tolist()
    [[0.375, 0.25, 0.375]]
    """
    return np.where(words > 0, np.log(_frequencies(train, size))[words], 0.0)


def bigram_log_probs(train: Train, words: Words, size: int) -> LogProbs:
    """Nats: log p of each word given the one before it, 0 behind sentences.

    Of a word before, with n in `train` and k different words behind it, p(w) = (n_w + k p₁(w)) / (n + k) with p₁ by
    `unigram_log_probs` (Witten and Bell, 1991, method C): nothing is fitted, and what is new counts as often as new
    words came.
    """
    frequencies = _frequencies(train, size)
    before, after = _pairs(train)
    pairs, counts = np.unique(before * size + after, return_counts=True)
    total = np.bincount(pairs // size, counts, minlength=size)
    kinds = np.bincount(pairs // size, minlength=size)
    kinds = np.where(total > 0, kinds, 1)  # behind a word that was never seen, p₁
    own = np.concatenate([np.zeros((len(words), 1), np.int64), words[:, :-1].astype(np.int64)], axis=1)
    asked = own * size + words
    place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    count = np.where(pairs[place] == asked, counts[place], 0)
    p = (count + kinds[own] * frequencies[words]) / (total[own] + kinds[own])
    return np.where(words > 0, np.log(np.where(words > 0, p, 1.0)), 0.0)


def nats_per_word(log_probs: LogProbs, words: Words) -> float:
    """All nats by all words, ends of sentences included."""
    return float(-log_probs.sum() / (words > 0).sum())


def _frequencies(train: Train, size: int) -> np.ndarray:
    counts = np.bincount(train[train > 0], minlength=size)[:size] + 1.0
    counts[0] = 1.0  # never asked for
    return counts / counts[1:].sum()


def _pairs(train: Train) -> tuple[np.ndarray, np.ndarray]:
    before = np.concatenate([np.zeros((len(train), 1), np.int64), train[:, :-1].astype(np.int64)], axis=1)
    there = train > 0
    return before[there], train[there].astype(np.int64)
