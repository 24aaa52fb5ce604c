"""Guided backpropagation against gradients by hand, on nets of known weights; neighbours against all distances."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.explore.features import check_features, guided, last_map, layers, nearest, responses

RNG = np.random.default_rng(0)
W1, W2 = RNG.normal(size=(5, 7)).astype(np.float32), RNG.normal(size=(7, 4)).astype(np.float32)


def two_layers(x):
    """A ReLU, and a leaky one inside a function of its own."""
    h = jax.nn.relu(x @ W1)
    return jax.jit(lambda h: jax.nn.leaky_relu(h @ W2, 0.2))(h).sum()


def test_a_net_of_two_layers_by_hand():
    """Back through each layer only where what went in and what comes back are positive; values stay as they are."""
    for x in RNG.normal(size=(5, 5)).astype(np.float32):
        first, second = x @ W1, np.maximum(x @ W1, 0) @ W2
        hidden, top = guided(two_layers)(jnp.asarray(x))
        np.testing.assert_allclose(hidden, np.maximum(first, 0), rtol=1e-5)
        np.testing.assert_allclose(top, np.where(second > 0, second, 0.2 * second), rtol=1e-4, atol=1e-6)
        for feature in range(4):
            back = W2[:, feature] if second[feature] > 0 else np.zeros(7)
            back = np.where((first > 0) & (back > 0), back, 0)
            actual = jax.grad(lambda x: guided(two_layers)(x)[1][feature])(jnp.asarray(x))  # noqa: B023
            np.testing.assert_allclose(actual, W1 @ back, rtol=1e-4, atol=1e-6)


class Critic(nn.Module):
    """A convolution with a batch norm, another, and a score, as critics are."""

    @nn.compact
    def __call__(self, x):
        x = nn.leaky_relu(nn.BatchNorm(use_running_average=True)(nn.Conv(3, (3, 3))(x)), 0.2)
        x = nn.relu(nn.Conv(2, (3, 3), strides=2)(x))
        return nn.Dense(1)(x.reshape(len(x), -1))


def test_where_all_is_positive_the_guided_gradient_is_the_gradient():
    """Of a net with positive weights on positive images no ReLU holds anything back."""
    x = jnp.asarray(RNG.uniform(0.1, 1.0, (2, 6, 6, 1)), jnp.float32)
    variables = jax.tree.map(jnp.abs, Critic().init(jax.random.key(0), x))
    critic = lambda x: Critic().apply(variables, x)  # noqa: E731
    _, state = Critic().apply(variables, x, capture_intermediates=True)
    second = state["intermediates"]["Conv_1"]["__call__"][0]
    np.testing.assert_allclose(guided(critic)(x)[1], second, rtol=1e-6)

    def conv(x):
        _, state = Critic().apply(variables, x, capture_intermediates=True)
        return state["intermediates"]["Conv_1"]["__call__"][0].sum()

    actual = jax.grad(lambda x: guided(critic)(x)[1].sum())(x)
    np.testing.assert_allclose(actual, jax.grad(conv)(x), rtol=1e-5)
    assert layers(critic, (6, 6, 1)) == [(6, 6, 3), (3, 3, 2)]
    assert last_map([(6, 6, 3), (3, 3, 2), (8,)]) == 1
    assert last_map([(9,), (8,)]) == 1


def test_responses_are_of_the_images_that_excite_a_feature_most():
    """A net whose two features are the brightest and the darkest pixel: the gradient is that pixel, and no other."""

    def net(x):
        return jax.nn.relu(jnp.concatenate([x, 1.0 - x], axis=-1)).sum()

    x = RNG.permutation(np.linspace(0.01, 0.99, 5 * 4)).reshape(5, 2, 2, 1).astype(np.float32)
    actual = responses(net, x, 0, (1, 0), 2)
    for row, (values, sign) in enumerate([(1 - x, -1.0), (x, 1.0)]):
        most = values.reshape(5, -1).max(axis=1)
        order = np.argsort(-most)[:2]
        np.testing.assert_array_equal(actual.place[row], order)
        np.testing.assert_allclose(actual.value[row], most[order], rtol=1e-6)
        brightest = values[order] == values[order].max(axis=(1, 2, 3), keepdims=True)
        np.testing.assert_allclose(actual.gradient[row], sign * brightest)


def test_nearest_rows_are_those_of_all_distances():
    x, among = RNG.normal(size=(4, 3)), RNG.normal(size=(1203, 3))
    distance = np.linalg.norm(x[:, None] - among[None], axis=2)
    place, actual = nearest(x, among, 5)
    np.testing.assert_array_equal(place, np.argsort(distance, axis=1)[:, :5])
    np.testing.assert_allclose(actual, np.sort(distance, axis=1)[:, :5])
    assert nearest(among[:2], among, 1)[1].max() == 0.0


def test_what_is_not_there_is_said():
    with pytest.raises(UsageError, match=r"this net has none"):
        layers(lambda x: jnp.tanh(x), (2, 2, 1))
    with pytest.raises(UsageError, match=r"no layer 2. The layers are 0 \(6×6×3\), 1 \(8\)"):
        check_features([(6, 6, 3), (8,)], 2, ())
    with pytest.raises(UsageError, match=r"layer 1 has features 0 to 7, got 8"):
        check_features([(6, 6, 3), (8,)], 1, (8,))
    with pytest.raises(UsageError, match=r"wanted 1 to 3 images for each feature, got 4"):
        responses(lambda x: jax.nn.relu(x), np.ones((3, 2, 2, 1), np.float32), 0, (0,), 4)
    with pytest.raises(UsageError, match=r"wanted 1 to 2 neighbours, got 3"):
        nearest(np.zeros((1, 2)), np.zeros((2, 2)), 3)
