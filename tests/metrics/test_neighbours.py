"""Precision, recall, density and coverage against scikit-learn's neighbours, naive loops and sets of known answers."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxgen.core.errors import UsageError
from jaxgen.metrics import neighbours
from jaxgen.metrics.neighbours import prdc


def naive(real, samples, k):
    """By the definitions, one pair at a time."""

    def radius(x):
        # scikit-learn counts a point among its own neighbours, so that the k-th other is the one behind.
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, k]

    def inside(points, centres, radii):
        return np.array([[np.linalg.norm(p - c) <= r for c, r in zip(centres, radii)] for p in points])

    in_real, in_samples = inside(samples, real, radius(real)), inside(real, samples, radius(samples))
    actual = {"precision": in_real.any(axis=1).mean(), "recall": in_samples.any(axis=1).mean()}
    return actual | {"density": in_real.sum() / (k * len(samples)), "coverage": in_real.any(axis=0).mean()}


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_they_are_what_their_definitions_say(k, chunk, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    real, samples = rng.normal(size=(40, 3)), rng.normal(0.7, 0.6, size=(30, 3))
    expected = naive(real, samples, k)
    assert prdc(real, samples, k) == pytest.approx(expected)
    assert 0 < expected["recall"] < expected["coverage"] < 1
    assert prdc(real + 1e4, samples + 1e4, k) == pytest.approx(expected), "distances far from the origin"


def test_a_set_with_itself():
    """Each point is its own ball's, and in those of points that count it among their k nearest: k + 1 in a ball."""
    x = np.random.default_rng(0).normal(size=(50, 4))
    assert prdc(x, x) == pytest.approx({"precision": 1, "recall": 1, "density": 6 / 5, "coverage": 1})
    twice = np.repeat(x, 6, axis=0)  # balls of no extent hold their copies
    assert prdc(twice, twice) == pytest.approx({"precision": 1, "recall": 1, "density": 6 / 5, "coverage": 1})


def test_sets_far_apart_and_a_mode_left_out():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 100
    assert prdc(left, right) == dict.fromkeys(("precision", "recall", "density", "coverage"), 0.0)
    half = prdc(np.concatenate([left, right]), left)
    assert (half["precision"], half["recall"], half["coverage"]) == (1, 0.5, 0.5)


def test_too_few_images_are_refused():
    x = np.zeros((5, 2))
    with pytest.raises(UsageError, match=r"more than 5 images on either side.*got 5"):
        prdc(x, np.zeros((9, 2)))
    with pytest.raises(UsageError, match=r"k must be at least 1.*got 0"):
        prdc(x, x, 0)
