"""Codes as points of a plane: principal axes against scikit-learn, t-SNE by the neighbours that it keeps."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from jaxgen.core.errors import UsageError
from jaxgen.explore.planes import MOST_POINTS, principal, tsne


def test_principal_axes_are_those_of_scikit_learn():
    z = np.random.default_rng(0).normal(size=(30, 5)) @ np.diag([3, 2, 1, 0.5, 0.1]) + 7
    points, share = principal(z)
    pca = PCA(2).fit(z)
    expected = pca.transform(z)
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(share, pca.explained_variance_ratio_)
    assert (points.max(axis=0) == np.abs(points).max(axis=0)).all()


@pytest.mark.parametrize("shape", [(1, 5), (4, 1), (2, 2)])
def test_few_points_and_few_dimensions_have_a_picture_too(shape):
    points, share = principal(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    assert points.shape == (shape[0], 2)
    np.testing.assert_allclose(points[:, 1], 0, atol=1e-6)
    assert share.sum() == pytest.approx(float(shape[0] > 1))


def test_tsne_keeps_groups_together_that_no_two_axes_tell_apart():
    """Four corners of a simplex in three dimensions, of which a plane shows no more than three apart."""
    group = np.arange(48) % 4
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 10.0
    z = corners[group] + np.random.default_rng(0).normal(size=(48, 3))
    points = tsne(z, perplexity=8.0, seed=1)
    np.testing.assert_array_equal(points, tsne(z, perplexity=8.0, seed=1))
    far = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(48)
    assert (group[far.argmin(axis=1)] == group).all()


@pytest.mark.parametrize("z", [np.arange(5.0)[:, None], np.zeros((4, 3))])
def test_tsne_takes_codes_of_one_number_and_codes_that_are_all_equal(z):
    assert np.isfinite(tsne(z)).all()


@pytest.mark.parametrize("num", [3, MOST_POINTS + 1])
def test_tsne_says_how_many_points_it_takes(num):
    with pytest.raises(UsageError, match=f"wants 4 to 3,000 points, got {num:,}"):
        tsne(np.zeros((num, 2)))


def test_tsne_wants_a_neighbour():
    with pytest.raises(UsageError, match=r"perplexity must be at least 1, got 0\.5"):
        tsne(np.zeros((9, 2)), perplexity=0.5)
