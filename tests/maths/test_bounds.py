"""Bounds against a linear-Gaussian model, whose likelihood is known: x = z + noise, both standard normal."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.maths.bounds import active_units, elbo, importance_bound, importance_bound_in_chunks
from jaxgen.maths.distributions import gaussian_kl, gaussian_log_prob

X = jnp.array([[0.3, -1.2, 0.7], [2.0, 0.1, -0.4]])
ZERO, KEY = jnp.zeros_like(X), jax.random.key(3)
LOG_PROB = gaussian_log_prob(X, ZERO, ZERO + jnp.log(2.0))
"""p(x) = N(0, 2 I)."""

EXACT = (X / 2, ZERO + jnp.log(0.5))
"""The posterior, N(x/2, I/2)."""

CRUDE = (0.4 * X + 0.1, ZERO - 0.5)
"""A q(z|x) beside it; its variance, 0.61, bounds the weights."""


def log_weights(posterior, key, k):
    mean, log_var = (a[:, None] for a in posterior)
    z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, (len(X), k, X.shape[1]))
    joint = gaussian_log_prob(z, ZERO[:, None], ZERO[:, None]) + gaussian_log_prob(z, X[:, None], ZERO[:, None])
    return joint - gaussian_log_prob(z, mean, log_var)


draw = functools.partial(log_weights, CRUDE)


@functools.partial(jax.jit, static_argnums=(0, 1))
def draws(k, num):
    """`num` draws of the bound of k samples, [num, images]."""
    return jax.vmap(lambda key: importance_bound(draw(key, k)))(jax.random.split(KEY, num))


def test_with_the_posterior_itself_one_sample_is_the_likelihood():
    np.testing.assert_allclose(importance_bound(log_weights(EXACT, KEY, 1)), LOG_PROB, atol=1e-5)


def test_the_elbo_has_its_closed_form():
    """E_q log p(x|z) is that of the mean minus half the variance; the gap to log p(x) is the KL to the posterior."""
    mean, log_var = CRUDE
    reconstruction = gaussian_log_prob(X, mean, ZERO) - 0.5 * jnp.exp(log_var).sum(axis=1)
    bound = elbo(reconstruction, gaussian_kl(mean, log_var))
    scaled = (mean - EXACT[0]) * 2**0.5, log_var - EXACT[1]  # of the posterior's own standard deviation
    np.testing.assert_allclose(LOG_PROB - bound, gaussian_kl(*scaled), atol=1e-5)
    samples = draws(1, 4000)
    assert (jnp.abs(samples.mean(0) - bound) < 5 * samples.std(0) / 4000**0.5).all()


def test_the_bound_rises_with_k_and_stays_below():
    means = [draws(k, num).mean(0) for k, num in ((1, 4000), (3, 4000), (10, 2000), (50, 1000))]
    assert all((tighter > looser + 0.003).all() for looser, tighter in itertools.pairwise(means))
    assert (means[-1] < LOG_PROB + 0.003).all()


def test_5000_samples_are_the_likelihood_to_a_hundredth_of_a_nat():
    """Drawn in pieces of 50, as a VAE's are, and in pieces that leave a rest."""
    near = (0.48 * X, EXACT[1] + 0.1)  # weights that vary little, so that 5000 are enough for the hundredth
    for chunk in (50, 768):
        drawn = functools.partial(log_weights, near)
        bound = jax.jit(lambda key, n=chunk, drawn=drawn: importance_bound_in_chunks(drawn, key, 5000, n))
        np.testing.assert_allclose(bound(KEY), LOG_PROB, atol=0.01)


@pytest.mark.parametrize(("k", "chunk"), [(1, 4), (4, 4), (10, 4), (3, 1)])
def test_pieces_are_of_no_account(k, chunk):
    """The log-mean of all weights together, as the pieces had drawn them."""
    seen = []

    def recorded(key, n):
        weights = draw(key, n) * 30  # far apart, so that a sum of exponentials would overflow
        jax.debug.callback(seen.append, weights)
        return weights

    pieces = importance_bound_in_chunks(recorded, KEY, k, chunk)
    jax.effects_barrier()
    together = np.concatenate(seen, axis=1).astype(np.float64)
    assert together.shape == (2, k)
    np.testing.assert_allclose(pieces, np.logaddexp.reduce(together, axis=1) - np.log(k), rtol=1e-5)


def test_the_gradient_weighs_by_normalised_weights():
    weights = jnp.array([[0.1, -2.0, 1.3]])
    gradient = jax.grad(lambda w: importance_bound(w).sum())(weights)
    np.testing.assert_allclose(gradient, jax.nn.softmax(weights), atol=1e-6)


def test_no_samples_make_no_bound():
    message = "k, the number of importance samples, must be at least 1, got 0."
    with pytest.raises(UsageError, match=re.escape(message)):
        importance_bound_in_chunks(draw, KEY, 0, 50)


def test_units_are_active_by_the_variance_of_their_means():
    """Of standard deviations 0.09, 0.11 and 1: the variance counts, not the mean."""
    wave = 2**0.5 * np.sin(np.linspace(0, 2 * np.pi, 1000, endpoint=False))
    mean = np.stack([5 + 0.09 * wave, 0.11 * wave, wave], axis=1)
    assert active_units(mean).tolist() == [False, True, True]
    assert active_units(mean, least=0.5).tolist() == [False, False, True]
