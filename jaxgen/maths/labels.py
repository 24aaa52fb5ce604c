"""What adversarial training needs where labels are in play: a critic's loss on pairs of an image and a label, labels
that are wrong, and the loss of a generator that matches features.

With `sp` the softplus, `σ` the sigmoid, l_r, l_w and l_f a critic's scores of (real image, its label), (real image,
another label) and (fake image, the label that it was drawn under), and f features:

    matching-aware critic (1605.05396, §4.2, where w is ½)    sp(−l_r) + w (sp(l_w) + sp(l_f))
    feature matching (1606.03498, §3.1)                       ‖E f(x) − E f(G(z))‖²
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.core.keys import example_keys
from jaxgen.core.model import PRNGKey


def matching_critic(
    right: Float[Array, " b"], wrong: Float[Array, " b"], fake: Float[Array, " b"], weight: float = 1.0
) -> Float[Array, " b"]:
    """−log σ(l_right) − w log(1 − σ(l_wrong)) − w log(1 − σ(l_fake)), nats, with w the weight: is the image real *and*
    the label its own?

    >>> round(float(matching_critic(*3 * (jnp.zeros(1),))[0]), 4)  # 3 log 2
    2.0794
    """
    return jax.nn.softplus(-right) + weight * (jax.nn.softplus(wrong) + jax.nn.softplus(fake))


def wrong_labels(key: PRNGKey, label: Int[Array, " b"], classes: int) -> Int[Array, " b"]:
    """For each label another one of 0 to `classes` − 1, all others equally likely. Draws belong to examples."""
    keys = example_keys(key, len(label))
    ahead = jax.vmap(lambda key: jax.random.randint(key, (), 1, classes))(keys)
    return (label + ahead) % classes


def feature_matching(real: Float[Array, "b d"], fake: Float[Array, "n d"]) -> Float[Array, ""]:
    """‖mean of the real features − mean of the fake‖²: zero where no linear map of them tells the two sets apart by
    its mean.

    >>> float(feature_matching(jnp.array([[1.0, 0.0], [3.0, 0.0]]), jnp.array([[0.0, 1.0]])))
    5.0
    """
    return jnp.square(real.mean(axis=0) - fake.mean(axis=0)).sum()
