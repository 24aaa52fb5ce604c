"""Sums of codes: on a model whose attributes are directions of its codes, so that the answer is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE
from helpers.stand_ins import Untrained

from jaxgen.core.capabilities import Classifier, Features, Latent
from jaxgen.core.errors import UsageError
from jaxgen.explore.arithmetic import around, check_classes, kept, of_class, score, summed, taken_for
from jaxgen.explore.trained import Trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faces(Untrained, Latent):
    """An image of two pixels, each an attribute: white where its number of the code is positive."""

    def prior(self, key, num):
        return jax.random.normal(key, (num, 2))

    def decode(self, variables, z, condition=None):
        return (z > 0).astype(jnp.uint8).reshape(len(z), 1, 2, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attributes(Untrained, Classifier, Features):
    """The class of an image is both its attributes, 2·first + second."""

    classes: int = 4

    def class_log_probs(self, variables, image, key):
        kind = jnp.asarray(image, jnp.int32).reshape(len(image), 2) > 0
        return jax.nn.log_softmax(50.0 * jax.nn.one_hot(2 * kind[:, 0] + kind[:, 1], 4))

    def features(self, variables, image):
        return jnp.asarray(image, jnp.float32).reshape(len(image), 2)


FACES = Trained(Faces(shape=(1, 2, 1), levels=2), {}, ONE)
TOLD = Trained(Attributes(shape=(1, 2, 1), levels=256), {}, ONE)


def test_an_attribute_that_is_a_direction_is_added_and_the_other_kept():
    """(1, 1) − (0, 1) + (0, 0) is (1, 0), of the mean and of each code by itself; the classifier has more levels."""
    check_classes(TOLD, FACES)
    z = FACES.prior(400, 3)
    classes = taken_for(TOLD, FACES.decode(z), 2)
    np.testing.assert_array_equal(classes, 2 * (z[:, 0] > 0) + (z[:, 1] > 0))
    a, b, c = (of_class(classes, kind, 3) for kind in (3, 1, 0))
    middle = summed(z, a, b, c)
    np.testing.assert_allclose(middle, (z[a] - z[b] + z[c]).sum(axis=0) / 3, rtol=1e-6)
    actual = score(taken_for(TOLD, FACES.decode(z[classes == 3] + 100.0 * np.array([0.0, -1.0])), 2), classes, 2)
    assert (actual.percent, actual.trials) == (100.0, (classes == 3).sum())
    assert actual.chance == 100 * (classes == 2).mean()
    assert actual.stderr == 0.0
    assert score(np.array([1, 1, 0, 0]), classes, 1).stderr == 25.0  # 100 · √(¼ / 4)


def test_what_a_classifier_of_another_attribute_says_is_kept_where_the_direction_is_another():
    """Adding the first attribute leaves the second as it was, of each code; a direction across both does not."""
    z = FACES.prior(400, 5)
    second = lambda z: np.asarray(FACES.decode(z))[:, 0, 1, 0].astype(int)  # noqa: E731
    same = kept(second(z), second(z + np.array([9.0, 0.0])))
    assert (same.percent, same.trials) == (100.0, 400)
    share = (z[:, 1] > 0).mean()
    assert same.chance == pytest.approx(100 * (share**2 + (1 - share) ** 2))
    across = kept(second(z), second(z + np.array([9.0, 9.0])))
    assert across.percent == pytest.approx(100 * share)  # those that had it


def test_codes_around_a_sum_differ_from_it_by_the_noise_at_most():
    code = np.arange(6.0).reshape(2, 3)
    near = around(code, 0.25, seed=1)
    np.testing.assert_array_equal(near[4], code)
    off = np.abs(np.delete(near, 4, 0) - code)
    assert 0.2 < off.max() <= 0.25
    assert off.min() > 0
    np.testing.assert_array_equal(near, around(code, 0.25, seed=1))
    assert (near != around(code, 0.25, seed=2)).any()


def test_what_cannot_be_summed_is_said():
    with pytest.raises(UsageError, match=r"class 5 wants 3 codes, and 1 of 4 are of it"):
        of_class(np.array([5, 0, 1, 0]), 5, 3)
    with pytest.raises(UsageError, match=r"noise must be a number from 0 on, got nan"):
        around(np.zeros(2), float("nan"))
    with pytest.raises(UsageError, match=r"got none"):
        score(np.zeros(0, int), np.zeros(3, int), 0)
    with pytest.raises(UsageError, match=r"Faces cannot tell the concepts of images"):
        check_classes(FACES, FACES)
