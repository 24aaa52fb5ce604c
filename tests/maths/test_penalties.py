"""Penalties against the gradients of critics that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.maths.penalties import (
    PENALTIES,
    between,
    gradient_norm,
    one_sided_penalty,
    penalty,
    r1_penalty,
    score_penalty,
    two_sided_penalty,
)

KEY = jax.random.key(4)
REAL, FAKE = jax.random.normal(KEY, (2, 5, 3, 2, 2))
W = jax.random.normal(jax.random.key(5), (3, 2, 2))


def linear(x):
    return (x * W).sum(axis=(1, 2, 3))


def quadratic(x):
    """Its gradient is x."""
    return 0.5 * (x**2).sum(axis=(1, 2, 3))


@pytest.mark.parametrize("size", [0.5, 3.0])
def test_penalties_of_a_linear_critic(size):
    """Its gradient is w everywhere: ‖w‖ is a norm over all of an image, not over its channels or in the mean."""
    critic = lambda x: linear(x) * size / jnp.linalg.norm(W)  # noqa: E731
    np.testing.assert_allclose(two_sided_penalty(critic, REAL, FAKE, KEY), np.full(5, (size - 1) ** 2), rtol=1e-5)
    np.testing.assert_allclose(one_sided_penalty(critic, REAL, FAKE, KEY), np.full(5, max(0, size - 1) ** 2), rtol=1e-5)
    np.testing.assert_allclose(r1_penalty(critic, REAL, FAKE, KEY), np.full(5, size**2 / 2), rtol=1e-5)
    np.testing.assert_allclose(score_penalty(critic, REAL), np.full(5, size**2), rtol=1e-5)


def test_there_is_one_place_on_the_way_for_each_image():
    """(x̂ − x_f)/(x_r − x_f) is one number for all pixels of an image, between 0 and 1, another for the next image, and
    uniform over images."""
    share = np.asarray((between(REAL, FAKE, KEY) - FAKE) / (REAL - FAKE)).reshape(5, -1)
    np.testing.assert_allclose(share, np.broadcast_to(share[:, :1], share.shape), rtol=1e-3)
    assert len(np.unique(share[:, 0].round(4))) == 5
    many = np.asarray(between(jnp.ones((4000, 1)), jnp.zeros((4000, 1)), KEY))[:, 0]
    np.testing.assert_allclose(np.quantile(many, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.03)


def test_each_penalty_looks_where_it_should():
    """With a gradient that is the image itself: on the way between both, or at real images alone."""
    size = lambda x: np.linalg.norm(np.asarray(x).reshape(5, -1), axis=1)  # noqa: E731
    way = size(between(REAL, FAKE, KEY))
    np.testing.assert_allclose(two_sided_penalty(quadratic, REAL, FAKE, KEY), (way - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(r1_penalty(quadratic, REAL, FAKE, KEY), size(REAL) ** 2 / 2, rtol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_the_same_for_an_image_by_itself(name):
    critic = lambda x: jnp.tanh(linear(x))  # noqa: E731
    whole = penalty(name)(critic, REAL, REAL, KEY)  # of equal images the place on the way is no matter
    each = [penalty(name)(critic, REAL[i : i + 1], REAL[i : i + 1], KEY)[0] for i in range(5)]
    np.testing.assert_allclose(whole, each, rtol=1e-5)


def test_the_penalty_of_a_flat_critic_has_a_gradient():
    """Where ‖∇D‖ is 0 the norm has none, and is taken not to move; no NaN."""
    cost = lambda w: two_sided_penalty(lambda x: x.sum(axis=(1, 2, 3)) * w, REAL, FAKE, KEY).mean()  # noqa: E731
    assert cost(0.0) == 1
    assert jax.grad(cost)(0.0) == 0
    np.testing.assert_allclose(jax.grad(cost)(2.0), 2 * (2 * np.sqrt(12) - 1) * np.sqrt(12), rtol=1e-5)
    np.testing.assert_array_equal(gradient_norm(lambda x: 0 * linear(x), REAL), np.zeros(5))


def test_an_unknown_penalty_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"two-sided, one-sided, r1, got 'one_sided'. Did you mean 'one-sided'"):
        penalty("one_sided")
