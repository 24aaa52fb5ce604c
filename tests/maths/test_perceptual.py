"""Images compared in the layers of nets whose layers are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.stand_ins import Table, Untrained

from jaxgen.core.capabilities import Adversarial, Classifier, Features
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.maths.perceptual import layers_of, perceptual_loss

SHAPE, LEVELS = (2, 3, 1), 5
W = np.random.default_rng(0).standard_normal((2, 6, 6)).astype(np.float32)


def layers(x):
    """Two layers with ReLUs."""
    first = jax.nn.relu(x.reshape(len(x), -1) @ W[0])
    return first, jax.nn.leaky_relu(first @ W[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen(Untrained, Features):
    def features(self, variables, image):
        return variables["scale"] * layers(to_float(image, self.levels))[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told(Untrained, Classifier):
    classes: int = 6

    def class_log_probs(self, variables, image, key):
        return jax.nn.log_softmax(variables["scale"] * layers(to_float(image, self.levels))[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scoring(Untrained, Adversarial):
    def critic_scores(self, variables, x, condition=None):
        return variables["scale"] * layers(x)[1]


@pytest.mark.parametrize("kind", [Seen, Told, Scoring])
def test_layers_are_the_relus_of_images_between_levels_too(kind):
    """And the gradient by the images is that of the formula, although `Features` take them as whole numbers."""
    x, y = jax.random.uniform(jax.random.key(1), (2, 3, *SHAPE))
    maps = layers_of(kind(shape=SHAPE, levels=LEVELS), {"scale": 2.0})
    for layer, expected in zip(maps(x), layers(x), strict=True):
        np.testing.assert_allclose(layer, expected, rtol=1e-5, atol=1e-5)

    def by_hand(x):
        terms = [w * ((a - b) ** 2).mean(axis=1) for w, a, b in zip((1.0, 0.5), layers(x), layers(y))]
        return sum(terms).sum()

    loss, gradient = jax.value_and_grad(lambda x: perceptual_loss(maps, x, y, (1.0, 0.5)).sum())(x)
    expected = jax.value_and_grad(by_hand)(x)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-6)
    assert perceptual_loss(maps, x, x).tolist() == [0.0] * 3


def test_what_cannot_compare_is_said():
    with pytest.raises(UsageError, match="Table cannot give maps of images, in which they could be compared"):
        layers_of(Table(), {})
    with pytest.raises(UsageError, match="wanted a weight for each of 2 layers, got 1"):
        perceptual_loss(layers, jnp.zeros((1, *SHAPE)), jnp.zeros((1, *SHAPE)), (1.0,))
