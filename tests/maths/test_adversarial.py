"""Losses against closed forms: saturation of adversarial pairs, optima of their critics, Gaussian KL and density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.core.errors import UsageError
from jaxgen.maths.adversarial import (
    ADVERSARIAL,
    QP_WEIGHT,
    adversarial,
    least_squares_critic,
    logistic_critic,
    mean_absolute_difference,
    minimax_generator,
    quadratic_critic,
    root_mean_square_difference,
)
from jaxgen.maths.distributions import gaussian_kl, gaussian_log_prob

LOGITS = jnp.array([-8.0, -1.5, 0.0, 0.3, 6.0])
X, Y = jnp.linspace(-1, 1, 20).reshape(5, 2, 2), jnp.ones((5, 2, 2)) / 3
sigmoid = jax.nn.sigmoid


def derivative(loss, *args, wrt=0):
    return jax.grad(lambda *a: loss(*a).sum(), argnums=wrt)(*args)


@pytest.mark.parametrize("name", sorted({*ADVERSARIAL} - {"relativistic"}))
def test_adversarial_losses_are_per_example(name):
    pair = adversarial(name)
    real, fake = LOGITS, LOGITS[::-1]
    each = [[a[i : i + 1] for a in (real, fake, X, Y)] for i in range(len(real))]
    np.testing.assert_allclose(pair.critic_terms(real, fake, X, Y), [pair.critic_terms(*a)[0] for a in each], rtol=1e-6)
    np.testing.assert_allclose(pair.generator(real, fake), [pair.generator(*a[:2])[0] for a in each], rtol=1e-6)


def test_logistic_critic_is_the_cross_entropy():
    expected = -jnp.log(sigmoid(LOGITS)) - jnp.log1p(-sigmoid(LOGITS[::-1]))
    np.testing.assert_allclose(logistic_critic(LOGITS, LOGITS[::-1]), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("minimax", lambda fake: -sigmoid(fake)),
        ("non-saturating", lambda fake: -sigmoid(-fake)),
        ("least-squares", lambda fake: 2 * (fake - 1)),
        ("hinge", lambda fake: -jnp.ones_like(fake)),
        ("wgan", lambda fake: -jnp.ones_like(fake)),
        ("gan-qp-l1", lambda fake: -jnp.ones_like(fake)),
    ],
)
def test_generators_saturate_exactly_as_they_should(name, slope):
    fake = jnp.append(LOGITS, -10.0)
    actual = derivative(adversarial(name).generator, jnp.zeros_like(fake), fake, wrt=1)
    np.testing.assert_allclose(actual, slope(fake), rtol=1e-6)


def test_a_sure_critic_silences_minimax_alone():
    """At l = −10: σ(−10) ≈ 4.5e-5 against σ(10) ≈ 1."""
    fake = jnp.array([-10.0])
    slopes = [float(derivative(adversarial(n).generator, fake, fake, wrt=1)[0]) for n in ("minimax", "non-saturating")]
    np.testing.assert_allclose(slopes, [-4.5398e-5, -0.9999546], rtol=1e-4)


def test_minimax_is_zero_sum_on_fakes():
    """What the critic gains from a fake the generator loses, in value and in derivative."""

    def both(fake):
        return logistic_critic(LOGITS, fake) + minimax_generator(LOGITS, fake)

    np.testing.assert_allclose(both(LOGITS), jax.nn.softplus(-LOGITS), atol=1e-6)
    np.testing.assert_allclose(derivative(both, LOGITS), 0, atol=1e-7)


def test_the_hinge_leaves_alone_what_is_told_apart_by_a_margin():
    critic, logits = adversarial("hinge").critic, jnp.array([-3.0, -1.5, -0.5, 0.5, 1.5])
    real, fake = (derivative(critic, logits, logits, wrt=i) for i in (0, 1))
    np.testing.assert_array_equal(real, [-1, -1, -1, -1, 0])
    np.testing.assert_array_equal(fake, [0, 0, 1, 1, 1])
    np.testing.assert_allclose(critic(logits, logits), [4, 2.5, 2, 2, 2.5])


def test_the_best_gap_of_gan_qp_is_the_distance_times_its_weight():
    """And the optimum there λd/2, whatever the level of the scores."""
    distance = jnp.array([0.1, 0.5, 2.0])
    best, level = QP_WEIGHT * distance, jnp.array([-3.0, 0.0, 7.0])
    for wrt in (0, 1):
        np.testing.assert_allclose(derivative(quadratic_critic, level + best, level, distance, wrt=wrt), 0, atol=1e-6)
    np.testing.assert_allclose(quadratic_critic(level + best, level, distance), -QP_WEIGHT * distance / 2, rtol=1e-6)
    assert (quadratic_critic(level + best + 0.1, level, distance) > -QP_WEIGHT * distance / 2).all()


def test_distances_are_over_all_numbers_of_an_image():
    difference = np.asarray(X - Y).reshape(5, 4)
    np.testing.assert_allclose(mean_absolute_difference(X, Y), np.abs(difference).mean(1), rtol=1e-6)
    np.testing.assert_allclose(root_mean_square_difference(X, Y), np.sqrt((difference**2).mean(1)), rtol=1e-6)
    equal = derivative(lambda x: quadratic_critic(LOGITS, LOGITS, root_mean_square_difference(x, X)), X)
    assert np.isfinite(equal).all()


def test_relativistic_losses_compare_with_the_mean_of_the_others():
    """1807.00734, eq. 11 and 12, from probabilities; all of a batch are compared, so that shifts cancel."""
    real, fake = np.asarray(LOGITS[:4], np.float64), np.asarray(LOGITS[1:] / 3, np.float64)
    p = lambda l: 1 / (1 + np.exp(-l))  # noqa: E731, E741
    real_is_real, fake_is_real = p(real - fake.mean()), p(fake - real.mean())
    pair, scores = adversarial("relativistic"), (jnp.float32(real), jnp.float32(fake))
    np.testing.assert_allclose(pair.critic(*scores), -np.log(real_is_real) - np.log(1 - fake_is_real), rtol=1e-5)
    np.testing.assert_allclose(pair.generator(*scores), -np.log(fake_is_real) - np.log(1 - real_is_real), rtol=1e-5)
    np.testing.assert_allclose(pair.critic(*(s + 5 for s in scores)), pair.critic(*scores), rtol=1e-4)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_moving_along_the_generators_slope_raises_what_the_critic_thinks_of_fakes(name):
    assert (derivative(adversarial(name).generator, LOGITS, LOGITS[::-1] / 10, wrt=1) < 0).all()


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


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_losses_are_finite_at_extreme_logits(name):
    extreme, pair, equal = jnp.array([-1e4, 1e4]), adversarial(name), jnp.zeros((2, 1))
    critic = lambda real, fake: pair.critic_terms(real, fake, equal, equal)  # noqa: E731
    for loss in (critic, pair.generator):
        assert np.isfinite(loss(extreme, -extreme)).all()
        assert all(np.isfinite(derivative(loss, extreme, -extreme, wrt=i)).all() for i in (0, 1))


def test_an_unknown_adversarial_loss_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"minimax, .*, relativistic, got 'hinged'. Did you mean 'hinge'"):
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
