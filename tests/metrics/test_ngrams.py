"""Frequencies of words and of pairs: counts by hand, and sums to one behind every word."""

import numpy as np
import pytest

from jaxgen.metrics.ngrams import bigram_log_probs, nats_per_word, unigram_log_probs

TRAIN = np.array([[3, 4, 1, 0], [3, 3, 1, 0], [4, 2, 3, 1]])
SIZE = 6


def test_bigrams_are_those_of_counts_by_hand():
    """Behind 3 stand 4, 3, 1, 1: of four, three kinds. 5 is new: one of fifteen by frequencies."""
    frequencies = dict(zip(range(1, SIZE), np.array([3, 1, 4, 2, 0]) + 1.0))
    total = sum(frequencies.values())
    words = np.array([[3, 1, 0], [3, 5, 0], [5, 2, 0], [4, 2, 0]])
    p = np.exp(bigram_log_probs(TRAIN, words, SIZE))
    assert p[0, 0] == pytest.approx((2 + 2 * frequencies[3] / total) / (3 + 2))
    assert p[0, 1] == pytest.approx((2 + 3 * frequencies[1] / total) / (4 + 3))
    assert p[1, 1] == pytest.approx(3 * frequencies[5] / total / (4 + 3))
    assert p[2, 1] == pytest.approx(frequencies[2] / total)
    assert p[3, 1] == pytest.approx((1 + 2 * frequencies[2] / total) / (2 + 2))
    assert (p[:, 2] == 1).all()


def test_probabilities_sum_to_one_behind_every_word():
    for before in range(1, SIZE):
        words = np.array([[before, word] for word in range(1, SIZE)])
        assert np.exp(bigram_log_probs(TRAIN, words, SIZE)[:, 1]).sum() == pytest.approx(1)
    first = np.arange(1, SIZE)[:, None]
    assert np.exp(bigram_log_probs(TRAIN, first, SIZE)).sum() == pytest.approx(1)
    assert np.exp(unigram_log_probs(TRAIN, first, SIZE)).sum() == pytest.approx(1)


def test_nats_per_word_leave_out_what_fills_up():
    log_probs = np.array([[-1.0, -2.0, 0.0], [-6.0, 0.0, 0.0]])
    assert nats_per_word(log_probs, np.array([[3, 1, 0], [1, 0, 0]])) == pytest.approx(3)
