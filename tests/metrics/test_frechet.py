"""The Fréchet distance against closed forms and the definition with a matrix square root."""

import numpy as np
import pytest
import scipy.linalg

from jaxgen.core.errors import UsageError
from jaxgen.metrics.frechet import frechet, frechet_distance, moments


def with_moments(mean, cov, n, seed=0):
    """n rows whose mean and unbiased covariance are just these."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False)).T)
    return x @ np.linalg.cholesky(cov).T + mean


def positive(d, seed):
    root = np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T + 0.1 * np.eye(d)


def test_gaussians_of_known_moments():
    """Commuting covariances: ‖Δμ‖² + Σ (√a − √b)²; others: the trace of the principal square root."""
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    x, y = with_moments(mean_a, np.diag(a), 20), with_moments(mean_b, np.diag(b), 30, seed=1)
    assert frechet_distance(x, y) == pytest.approx(5 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-9)
    cov_a, cov_b = positive(4, 0), positive(4, 1)
    expected = np.trace(cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real)
    assert frechet(np.zeros(4), cov_a, np.zeros(4), cov_b) == pytest.approx(expected, rel=1e-9)
    assert frechet(np.zeros(4), cov_b, np.zeros(4), cov_a) == pytest.approx(expected, rel=1e-9)


def test_a_set_is_at_no_distance_from_itself_and_a_shifted_one_at_the_shifts_square():
    """Also where there are fewer images than dimensions, so that covariances are singular."""
    for n, d in ((50, 4), (5, 16)):
        x = np.random.default_rng(0).normal(size=(n, d)) * np.geomspace(1e-3, 1e2, d)
        rounding = 1e-8 * x.var(axis=0).sum()
        assert frechet_distance(x, x) == pytest.approx(0, abs=rounding)
        assert frechet_distance(x, x + 2) == pytest.approx(4 * d, abs=rounding)


def test_fewer_images_are_farther_apart():
    """Its bias: of two sets of one distribution, the fewer, the farther."""
    draw = np.random.default_rng(0).normal
    near, far = (frechet_distance(draw(size=(n, 8)), draw(size=(n, 8))) for n in (4000, 40))
    assert 0 < near < far / 10


def test_moments_are_numpys_and_one_image_has_none():
    x = np.random.default_rng(0).normal(3, 2, (7, 3)).astype(np.float32)
    mean, cov = moments(x)
    np.testing.assert_allclose(cov, np.cov(x, rowvar=False, dtype=np.float64))
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64))
    with pytest.raises(UsageError, match="at least 2 images, got 1"):
        moments(x[:1])
