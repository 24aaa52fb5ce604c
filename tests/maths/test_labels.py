"""Losses and labels of adversarial training with classes: closed forms, and draws that are never right and uniform."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.core.keys import at_places
from jaxgen.maths.labels import feature_matching, matching_critic, wrong_labels


def test_the_critic_is_scored_by_its_three_probabilities():
    draw = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32) * 4
    p_right, p_wrong, p_fake = 1 / (1 + np.exp(-draw.astype(np.float64)))
    want = -np.log(p_right) - np.log(1 - p_wrong) - np.log(1 - p_fake)
    np.testing.assert_allclose(matching_critic(*map(jnp.asarray, draw)), want, rtol=1e-5, atol=1e-6)


def test_the_best_critic_tells_right_pairs_from_the_two_other_kinds():
    """Of densities r, w and f of a pair it gives the logit log r/(w + f), where the gradient of its loss vanishes."""
    r, w, f = np.random.default_rng(1).uniform(0.1, 2, (3, 20)).astype(np.float32)
    best = jnp.log(r / (w + f))

    def slope(of):
        """Of the loss by one of the three scores, where all are the best logit."""
        return jax.grad(lambda score: matching_critic(*(score if i == of else best for i in range(3))).sum())(best)

    gradient = sum(density * slope(of) for of, density in enumerate((r, w, f)))
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_wrong_labels_are_never_right_and_uniform_among_the_others():
    num, classes = 8000, 5
    label = jnp.arange(num) % classes
    wrong = np.asarray(jax.jit(wrong_labels, static_argnums=2)(jax.random.key(0), label, classes))
    assert wrong.min() >= 0
    assert wrong.max() < classes
    counts = np.zeros((classes, classes))
    np.add.at(counts, (np.asarray(label), wrong), 1)
    assert (np.diag(counts) == 0).all()
    each = num / classes / (classes - 1)
    others = counts[~np.eye(classes, dtype=bool)]
    assert ((others - each) ** 2 / each).sum() < 37.7  # χ² of 15 degrees of freedom, p = .001
    np.testing.assert_array_equal(wrong_labels(jax.random.key(3), jnp.arange(6) % 2, 2), 1 - np.arange(6) % 2)


def test_wrong_labels_belong_to_their_places():
    key, label = jax.random.key(4), jnp.arange(12) % 4
    whole = wrong_labels(key, label, 4)
    with at_places(8):
        np.testing.assert_array_equal(wrong_labels(key, label[8:], 4), whole[8:])


def test_feature_matching_and_its_gradient():
    """‖m‖² of the difference of means m; each fake feature is pulled by −2m/n, whatever its own value."""
    draw = np.random.default_rng(2)
    real, fake = draw.normal(size=(6, 3)).astype(np.float32), draw.normal(size=(4, 3)).astype(np.float32)
    m = real.mean(axis=0) - fake.mean(axis=0)
    value, gradient = jax.value_and_grad(feature_matching, argnums=1)(jnp.asarray(real), jnp.asarray(fake))
    np.testing.assert_allclose(value, (m**2).sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, np.tile(-2 * m / 4, (4, 1)), rtol=1e-5)
    assert float(feature_matching(jnp.asarray(real), jnp.asarray(real[::-1]))) < 1e-10
