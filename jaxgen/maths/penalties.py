"""What holds a critic: penalties on its gradient by the image, as pure functions of a critic function, one value per
example, never reduced.

With ‖·‖ the L2 norm over all numbers of one image:

| name | at | value |
|---|---|---|
| two-sided (1704.00028, eq. 3) | x̂ = αx_r + (1 − α)x_f, one α ~ U(0, 1) per image | (‖∇D(x̂)‖ − 1)² |
| one-sided (1704.00028, §4; 1709.08894) | the same | max(0, ‖∇D(x̂)‖ − 1)² |
| r1 (1801.04406, eq. 9) | x_r | ½‖∇D(x_r)‖² |
| score penalty of an energy (1901.08508, eq. 5) | x_r | ‖∇E(x_r)‖² |

A critic function maps images [b,…] to scores [b], that of an image by itself: with batch statistics or batch mates in
it there is no gradient of one score by one image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.errors import UsageError, nearest
from jaxgen.core.model import PRNGKey

CriticFunction = Callable[[Any], Any]
"""Images [b,…] to scores [b]."""


def squared_gradient(critic: CriticFunction, x: Float[Array, "b ..."]) -> Float[Array, " b"]:
    """‖∇D(x)‖² of each image."""
    gradient = jax.grad(lambda x: critic(x).sum())(x)
    return (gradient.reshape(len(x), -1) ** 2).sum(axis=1)


def gradient_norm(critic: CriticFunction, x: Float[Array, "b ..."]) -> Float[Array, " b"]:
    """‖∇D(x)‖ of each image; where it is 0, its own gradient is taken as 0."""
    square = squared_gradient(critic, x)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def between(real: Float[Array, "b ..."], fake: Float[Array, "b ..."], key: PRNGKey) -> Float[Array, "b ..."]:
    """A point on the way from each fake image to the real one at its place, with one α for all of its pixels."""
    alpha = jax.random.uniform(key, (len(real), *[1] * (real.ndim - 1)))
    return alpha * real + (1.0 - alpha) * fake


def two_sided_penalty(
    critic: CriticFunction, real: Float[Array, "b ..."], fake: Float[Array, "b ..."], key: PRNGKey
) -> Float[Array, " b"]:
    """(‖∇D(x̂)‖ − 1)².

    >>> x, w = jnp.zeros((2, 3)), jnp.array([0.0, 3.0, 4.0])
    >>> two_sided_penalty(lambda x: x @ w, x, x, jax.random.key(0)).tolist()
    [16.0, 16.0]
    """
    return (gradient_norm(critic, between(real, fake, key)) - 1.0) ** 2


def one_sided_penalty(
    critic: CriticFunction, real: Float[Array, "b ..."], fake: Float[Array, "b ..."], key: PRNGKey
) -> Float[Array, " b"]:
    """max(0, ‖∇D(x̂)‖ − 1)²: a critic may be flatter than 1-Lipschitz ones need to be."""
    return jax.nn.relu(gradient_norm(critic, between(real, fake, key)) - 1.0) ** 2


def r1_penalty(
    critic: CriticFunction, real: Float[Array, "b ..."], fake: Float[Array, "b ..."], key: PRNGKey
) -> Float[Array, " b"]:
    """½‖∇D(x_r)‖². Draws nothing and looks at no fake image."""
    return 0.5 * squared_gradient(critic, real)


def score_penalty(energy: CriticFunction, x: Float[Array, "b ..."]) -> Float[Array, " b"]:
    """‖∇E(x)‖² of real images: it keeps an energy smooth where the data are."""
    return squared_gradient(energy, x)


PENALTIES: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {"two-sided": two_sided_penalty, "one-sided": one_sided_penalty, "r1": r1_penalty}
)
"""A critic's penalties by name, each `(critic, real, fake, key) -> [b]`."""


def penalty(name: str) -> Callable[..., Array]:
    """The penalty of that name. Raises `UsageError` with the known names otherwise."""
    if name not in PENALTIES:
        raise UsageError(f"penalty: wanted one of {', '.join(PENALTIES)}, got {name!r}.{nearest(name, PENALTIES)}")
    return PENALTIES[name]
