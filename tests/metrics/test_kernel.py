"""The kernel distance against scikit-learn's kernel, naive loops and its own promise to be unbiased."""

import itertools

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from jaxgen.core.errors import UsageError
from jaxgen.metrics.kernel import kernel_distance, mmd2


def test_it_is_the_u_statistic_of_the_cubic_kernel():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(1, 2, size=(4, 3))

    def mean(a, b, pairs):
        kernel = polynomial_kernel(a, b, degree=3, gamma=1 / 3, coef0=1)
        return np.mean([kernel[i, j] for i, j in pairs])

    within = sum(mean(a, a, list(itertools.permutations(range(len(a)), 2))) for a in (x, y))
    between = mean(x, y, list(itertools.product(range(5), range(4))))
    assert mmd2(x, y) == pytest.approx(within - 2 * between, rel=1e-12)


def test_halves_of_one_set_are_at_no_distance_on_average():
    """Unbiased: over many halvings the mean is 0 within its standard error, and single values lie on both sides."""
    values = []
    for seed in range(200):
        x = np.random.default_rng(seed).normal(1, 1, size=(40, 4))
        values.append(mmd2(x[:20], x[20:]))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_the_standard_error_is_that_of_repeated_draws():
    def one(seed):
        rng = np.random.default_rng(seed)
        return kernel_distance(rng.normal(size=(200, 3)), rng.normal(0.5, 1, size=(240, 3)))

    estimates = np.array([one(seed) for seed in range(150)])
    assert np.sqrt((estimates[:, 1] ** 2).mean()) == pytest.approx(estimates[:, 0].std(), rel=0.2)
    x, y = (np.random.default_rng(seed).normal(seed, 1, size=(1000, 3)) for seed in (0, 1))
    value, stderr = kernel_distance(x, y)
    assert value == pytest.approx(mmd2(x, y), abs=3 * stderr)


def test_the_seed_decides_and_few_images_are_refused():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    assert kernel_distance(x, y, 3) == kernel_distance(x, y, 3) != kernel_distance(x, y, 4)
    assert np.isfinite(kernel_distance(x[:4], y)).all()
    with pytest.raises(UsageError, match="at least 4 images on either side, got 3"):
        kernel_distance(x, y[:3])
