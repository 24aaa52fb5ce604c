"""Mixtures of Gaussians against scikit-learn from the same start, closed forms, and a density summed over a grid."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from jaxgen.core.errors import UsageError
from jaxgen.maths import mixtures
from jaxgen.maths.mixtures import Mixture

KINDS = ("full", "diagonal", "tied")
KEY, K, STEPS = jax.random.key(3), 3, 8
DRAW = np.random.default_rng(0)
POINTS = np.concatenate([
    DRAW.normal((0, 0), (1.0, 0.3), (60, 2)), DRAW.normal((3, 1), (0.4, 0.9), (40, 2)),
    DRAW.multivariate_normal((-2, 3), ((1.0, 0.7), (0.7, 1.0)), 50),
])  # fmt: skip
SIDE, CELL = np.linspace(-12, 12, 241, retstep=True)
GRID = np.stack(np.meshgrid(SIDE, SIDE), -1).reshape(-1, 2)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    """A start, the mixture after some steps in float64 without a floor, and what it says of the points and a grid."""

    @jax.jit
    def program():
        start = mixtures.start(KEY, POINTS, K, request.param, 0.0)
        mixture, log_likelihood = mixtures.em(start, POINTS, STEPS, 0.0)
        log_prob = mixtures.log_prob(mixture, np.concatenate([POINTS, GRID]))
        r, drawn = mixtures.responsibilities(mixture, POINTS), mixtures.sample(mixture, KEY, 4000)
        return start, mixture, log_likelihood, log_prob, r, drawn

    with jax.enable_x64(True):
        return request.param, jax.tree.map(np.asarray, program())


@pytest.fixture(scope="module")
def theirs(fitted):
    """What scikit-learn makes of the same start."""
    kind, (start, *_) = fitted
    mixture = GaussianMixture(
        n_components=K,
        covariance_type={"diagonal": "diag"}.get(kind, kind),
        tol=0.0,
        reg_covar=0.0,
        max_iter=STEPS,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=precisions(start.covariances, kind),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it has not converged
        return mixture.fit(POINTS)


def precisions(covariances, kind):
    """As scikit-learn takes and gives them."""
    return 1.0 / covariances if kind == "diagonal" else np.linalg.inv(covariances if kind == "full" else covariances[0])


def test_em_is_that_of_scikit_learn_and_float64_where_that_is_on(fitted, theirs):
    kind, (_, mixture, _, log_prob, r, drawn) = fitted
    assert all(a.dtype == np.float64 for a in (*mixture, log_prob, r, drawn))
    np.testing.assert_allclose(mixture.weights, theirs.weights_, atol=1e-9)
    np.testing.assert_allclose(mixture.means, theirs.means_, atol=1e-9)
    np.testing.assert_allclose(precisions(mixture.covariances, kind), theirs.precisions_, rtol=1e-7)
    np.testing.assert_allclose(log_prob, theirs.score_samples(np.concatenate([POINTS, GRID])), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(r, theirs.predict_proba(POINTS), atol=1e-9)


def test_the_log_likelihood_never_falls_and_is_that_before_each_step(fitted):
    _, (start, _, log_likelihood, log_prob, *_) = fitted
    assert (np.diff([*log_likelihood, log_prob[: len(POINTS)].mean()]) > 0).all()
    covariances = np.broadcast_to(start.covariances, (K, *start.covariances.shape[1:]))
    densities = [
        w * stats.multivariate_normal(mean, np.diag(c) if c.ndim == 1 else c).pdf(POINTS)
        for w, mean, c in zip(start.weights, start.means, covariances)
    ]
    assert np.log(sum(densities)).mean() == pytest.approx(log_likelihood[0])


def test_the_density_integrates_to_one_and_samples_have_it(fitted):
    """Of the samples: their shares of quadrants are the density's over the grid."""
    _, (_, _, _, log_prob, _, drawn) = fitted
    mass = np.exp(log_prob[len(POINTS) :]) * CELL**2
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    at = np.array([0.51, 0.93])  # between cells
    shares = np.bincount((at < GRID) @ (1, 2), weights=mass, minlength=4)
    counts = np.bincount((drawn > at) @ (1, 2), minlength=4)
    assert stats.chisquare(counts, 4000 * shares / shares.sum()).pvalue > 1e-3
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(GRID.T, aweights=mass), atol=0.3)


def test_one_component_is_the_mean_and_the_covariance_of_the_points():
    mixture, log_likelihood = mixtures.fit(KEY, POINTS, 1, steps=2, floor=1e-3)
    np.testing.assert_allclose(mixture.weights, [1], rtol=1e-6)
    np.testing.assert_allclose(mixture.means, [POINTS.mean(axis=0)], atol=1e-5)
    np.testing.assert_allclose(mixture.covariances, [np.cov(POINTS.T, bias=True) + 1e-3 * np.eye(2)], atol=1e-5)
    np.testing.assert_allclose(log_likelihood[1], log_likelihood[0], atol=1e-5)


def test_a_component_without_points_or_on_a_single_one_stays_finite():
    """The first keeps its place with no weight, the second the floor as its variances."""
    points = np.concatenate([POINTS[:60], [[50.0, 50.0]]])
    means = jnp.array([[0.0, 0.0], [50.0, 50.0], [900.0, 900.0]])
    start = Mixture(jnp.full(3, 1 / 3), means, jnp.tile(jnp.eye(2), (3, 1, 1)))
    mixture, log_likelihood = jax.jit(mixtures.em, static_argnums=(2, 3))(start, points, 5, 1e-4)
    assert np.isfinite(log_likelihood).all()
    np.testing.assert_allclose(mixture.weights, [60 / 61, 1 / 61, 0], atol=1e-6)
    np.testing.assert_allclose(mixture.means[2], [900, 900])
    np.testing.assert_allclose(mixture.covariances[1], 1e-4 * np.eye(2), atol=1e-7)


def test_the_start_spreads_its_centres_and_is_keyed():
    """Three far and tight clusters, whatever the key, have a centre each; the points are all alike and it still is."""
    tight = np.repeat([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]], 20, 0) + DRAW.normal(0, 0.1, (60, 2))
    start = jax.jit(mixtures.start, static_argnums=(2, 3, 4))
    for seed in range(4):
        means = np.asarray(start(jax.random.key(seed), tight, 3, "full").means)
        np.testing.assert_allclose(means[np.lexsort(means.round().T)], [[0, 0], [100, 0], [0, 100]], atol=0.2)
    assert np.isfinite(start(KEY, np.ones((60, 2)), 3, "full").means).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"components": 0}, "1 to 150 components, got 0"),
        ({"components": 151}, "1 to 150 components, got 151"),
        ({"covariance": "diag"}, "full, diagonal, tied, got 'diag'. Did you mean 'diagonal'?"),
        ({"steps": 0}, "at least 1 step and a floor of at least 0, got 0"),
        ({"floor": -1.0}, "got 5 and -1"),
        ({"x": np.full((3, 2), np.nan)}, "finite points"),
        ({"x": np.ones((150, 2)), "floor": 0.0}, "singular with a floor of 0: give a larger one"),
    ],
)
def test_what_makes_no_mixture_is_one_sentence(change, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        mixtures.fit(**{"key": KEY, "x": POINTS, "components": 2, "steps": 5} | change)
