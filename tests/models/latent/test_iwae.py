"""The IWAE against the VAE, whose nets it shares, and its weights against the densities that they are made of."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.maths.distributions import gaussian_kl, gaussian_log_prob
from jaxgen.models.latent.iwae import IWAE
from jaxgen.models.latent.vae import VAE

SHAPE, KEY = (1, 3, 1), jax.random.key(2)
IMAGES = jnp.array([[0, 0, 1], [1, 0, 1], [1, 1, 1]], jnp.uint8).reshape(3, *SHAPE)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


def model_and_variables(k, latent):
    model, draw = IWAE(shape=SHAPE, levels=2, latent=latent, hidden=(5,), k=k), np.random.default_rng(0)
    fresh = jax.jit(model.init)(KEY, {})
    return model, jax.tree.map(lambda a: np.asarray(a) + 0.4 * draw.standard_normal(a.shape, np.float32), fresh)


def loss_of(model):
    return model.objectives()[0].loss


def test_weights_are_those_of_the_densities():
    """log p(x|z) + log p(z) − log q(z|x), one sample at a time; and the loss is minus the mean of L_k of these."""
    model, variables = model_and_variables(4, 2)
    _, noise_key = jax.random.split(KEY)

    @jax.jit
    def both(variables):
        mean, log_var = model.posterior(variables, IMAGES)
        noise = model.noise(noise_key, 3, 4)

        def one(noise):
            z = mean + jnp.exp(0.5 * log_var) * noise
            prior = gaussian_log_prob(z, 0 * z, 0 * z)
            return model.log_likelihood(variables, IMAGES, z) + prior - gaussian_log_prob(z, mean, log_var)

        return jax.vmap(one, 1, 1)(noise), model.log_weights(variables, IMAGES, (mean, log_var), noise)

    apart, together = both(variables)
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-5)
    bound = np.logaddexp.reduce(np.asarray(apart, np.float64), axis=1) - math.log(4)
    loss, _ = jax.jit(loss_of(model))(variables, {"image": IMAGES}, KEY)
    np.testing.assert_allclose(loss, -bound.mean(), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(model.log_prob)(variables, IMAGES, noise_key), bound, rtol=1e-5)


def test_of_one_sample_the_gradient_is_the_vaes():
    """In expectation over the noise, by quadrature: log q − log p is the KL there. With the noise of a key, the two
    losses differ by just that."""
    model, variables = model_and_variables(1, 1)
    vae = VAE(shape=SHAPE, levels=2, latent=1, hidden=(5,))
    noise = jnp.broadcast_to(jnp.asarray(NODES, jnp.float32)[:, None], (3, 40, 1))
    weight = jnp.asarray(WEIGHTS / WEIGHTS.sum(), jnp.float32)

    def by_weights(variables):
        log_weights = model.log_weights(variables, IMAGES, model.posterior(variables, IMAGES), noise)
        return -(log_weights @ weight).mean()

    def by_elbo(variables):
        mean, log_var = vae.posterior(variables, IMAGES)
        z = mean[:, None] + jnp.exp(0.5 * log_var)[:, None] * noise
        at = lambda z: vae.log_likelihood(variables, IMAGES, z)  # noqa: E731
        return -(jax.vmap(at, 1, 1)(z) @ weight - gaussian_kl(mean, log_var)).mean()

    ours, theirs = (jax.jit(jax.grad(loss))(variables) for loss in (by_weights, by_elbo))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)

    @jax.jit
    def differences(variables):
        losses = [loss_of(m)(variables, {"image": IMAGES}, KEY)[0] for m in (model, vae)]
        mean, log_var = model.posterior(variables, IMAGES)
        drawn = model.noise(jax.random.split(KEY)[1], 3, 1)[:, 0]
        sampled_kl = 0.5 * ((mean + jnp.exp(0.5 * log_var) * drawn) ** 2 - drawn**2 - log_var).sum(axis=1)
        return losses[0] - losses[1], (sampled_kl - gaussian_kl(mean, log_var)).mean()

    np.testing.assert_allclose(*differences(variables), atol=1e-5)


def test_k_is_at_least_one():
    with pytest.raises(UsageError, match=re.escape("IWAE: k must be at least 1, got 0.")):
        IWAE(shape=SHAPE, levels=2, k=0)
    model, variables = model_and_variables(1, 1)
    with pytest.raises(UsageError, match=re.escape("must be at least 1, got 0.")):
        model.iwae_bound(variables, IMAGES, KEY, 0)
