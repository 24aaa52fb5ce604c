"""Losses against closed forms: saturation of the adversarial pairs, Gaussian KL and density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.core.errors import UsageError
from jaxgen.maths.adversarial import (
    ADVERSARIAL,
    adversarial,
    least_squares_critic,
    least_squares_generator,
    logistic_critic,
    minimax_generator,
    non_saturating_generator,
)
from jaxgen.maths.distributions import gaussian_kl, gaussian_log_prob

LOGITS = jnp.array([-8.0, -1.5, 0.0, 0.3, 6.0])
sigmoid = jax.nn.sigmoid


def derivative(loss, *args, wrt=0):
    return jax.grad(lambda *a: loss(*a).sum(), argnums=wrt)(*args)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_losses_are_per_example(name):
    pair = adversarial(name)
    real, fake = LOGITS, LOGITS[::-1]
    whole = pair.critic(real, fake)
    np.testing.assert_allclose(whole, [pair.critic(real[i : i + 1], fake[i : i + 1])[0] for i in range(len(real))])
    assert pair.generator(fake).shape == fake.shape


def test_logistic_critic_is_the_cross_entropy():
    expected = -jnp.log(sigmoid(LOGITS)) - jnp.log1p(-sigmoid(LOGITS[::-1]))
    np.testing.assert_allclose(logistic_critic(LOGITS, LOGITS[::-1]), expected, rtol=1e-4)


def test_generators_saturate_exactly_as_they_should():
    np.testing.assert_allclose(derivative(minimax_generator, LOGITS), -sigmoid(LOGITS), rtol=1e-6)
    np.testing.assert_allclose(derivative(non_saturating_generator, LOGITS), -sigmoid(-LOGITS), rtol=1e-6)
    np.testing.assert_allclose(derivative(least_squares_generator, LOGITS), 2 * (LOGITS - 1), rtol=1e-6)


def test_minimax_is_zero_sum_on_fakes():
    """What the critic gains from a fake the generator loses, in value and in derivative."""

    def both(fake):
        return logistic_critic(LOGITS, fake) + minimax_generator(fake)

    np.testing.assert_allclose(both(LOGITS), jax.nn.softplus(-LOGITS), atol=1e-6)
    np.testing.assert_allclose(derivative(both, LOGITS), 0, atol=1e-7)


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_the_best_critic_is_the_log_density_ratio(name, ratio):
    """With p_real : p_fake = ratio at one point the critic's optimum there is log(ratio) (1406.2661, prop. 1)."""
    critic = adversarial(name).critic
    sure = jnp.array([60.0])  # a partner of which the critic is sure adds nothing: the halves of the loss, apart

    def halves(logit):
        return ratio * critic(logit, -sure) + critic(sure, logit)

    best = jnp.log(jnp.array([ratio]))
    np.testing.assert_allclose(derivative(halves, best), 0, atol=1e-6)
    np.testing.assert_allclose(halves(best), ratio * jnp.log1p(1 / ratio) + jnp.log1p(ratio), rtol=1e-6)


def test_the_best_least_squares_critic_is_the_probability_of_real():
    real, fake = 3.0, 1.0

    def weighted(p):
        return real * least_squares_critic(p, 0 * p) + fake * least_squares_critic(0 * p + 1, p)

    np.testing.assert_allclose(derivative(weighted, jnp.array([real / (real + fake)])), 0, atol=1e-6)


def test_adversarial_losses_are_finite_at_extreme_logits():
    extreme = jnp.array([-1e4, 1e4])
    for pair in ADVERSARIAL.values():
        values = [pair.critic(extreme, -extreme), pair.generator(extreme)]
        gradients = [derivative(pair.critic, extreme, -extreme, wrt=i) for i in (0, 1)]
        assert all(np.isfinite(a).all() for a in [*values, *gradients, derivative(pair.generator, extreme)])


def test_an_unknown_adversarial_loss_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"minimax, non-saturating, least-squares, got 'hinged'"):
        adversarial("hinged")


def test_gaussian_log_prob_is_the_density():
    key = jax.random.key(0)
    z, mean, log_var = jax.random.normal(key, (3, 4, 5))
    expected = stats.norm.logpdf(z, mean, np.exp(0.5 * np.asarray(log_var, np.float64))).sum(-1)
    np.testing.assert_allclose(gaussian_log_prob(z, mean, log_var), expected, rtol=1e-5)


def test_gaussian_kl_is_the_expected_log_ratio():
    """Closed form against the expectation of log q/p by Gauss-Hermite quadrature, exact for a quadratic."""
    mean, log_var = jnp.array([0.7, -1.2, 0.0]), jnp.array([-0.5, 0.8, 0.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    z = mean + jnp.exp(0.5 * log_var) * jnp.asarray(nodes, jnp.float32)[:, None]

    def each(m, v):
        return gaussian_log_prob(z[..., None], m[..., None], v[..., None])

    ratio = each(mean, log_var) - each(0 * mean, 0 * log_var)
    expected = (weights / weights.sum()) @ np.asarray(ratio, np.float64)
    np.testing.assert_allclose(gaussian_kl(mean[:, None], log_var[:, None]), expected, atol=1e-6)
    np.testing.assert_allclose(gaussian_kl(mean, log_var), expected.sum(), rtol=1e-6)


def test_gaussian_kl_agrees_with_monte_carlo():
    mean, log_var = jnp.array([0.5, -1.0]), jnp.array([-1.0, 0.5])
    z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(jax.random.key(1), (40_000, 2))
    ratio = gaussian_log_prob(z, mean, log_var) - gaussian_log_prob(z, 0 * mean, 0 * log_var)
    error = 5 * ratio.std() / np.sqrt(len(z))
    np.testing.assert_allclose(gaussian_kl(mean, log_var), ratio.mean(), atol=float(error))


def test_gaussian_kl_is_zero_only_at_the_prior():
    zero = jnp.zeros(3)
    assert gaussian_kl(zero, zero) == 0
    assert gaussian_kl(zero + 0.01, zero) > 0
    assert gaussian_kl(zero, zero + 0.01) > 0
    assert gaussian_kl(zero, zero - 0.01) > 0
