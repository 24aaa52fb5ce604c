"""Losses as pure functions of logits and Gaussian parameters: one value per example, never reduced.

Adversarial losses are pairs: what the critic minimises on a real and a fake logit, and what the generator minimises
on a fake one. Architecture and penalties know nothing of them. With `sp` the softplus and `σ` the sigmoid:

| name | critic | generator | dL/dl_fake of the generator |
|---|---|---|---|
| minimax (1406.2661, eq. 1) | sp(−l_r) + sp(l_f) | −sp(l_f) | −σ(l_f): vanishes where the critic is sure of a fake |
| non-saturating (1406.2661, §3) | the same | sp(−l_f) | −σ(−l_f) |
| least squares (1611.04076, targets 0 and 1) | (l_r − 1)² + l_f² | (l_f − 1)² | 2(l_f − 1) |

The least-squares losses are those of the paper's eq. 9 without its factors ½.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from jaxgen.core.errors import UsageError


class AdversarialLoss(NamedTuple):
    """What the two players minimise: `critic(real, fake) -> [b]` and `generator(fake) -> [b]`, all on logits [b]."""

    critic: Callable[[Array, Array], Array]
    generator: Callable[[Array], Array]


def logistic_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−log σ(l_real) − log(1 − σ(l_fake)), nats: the cross-entropy of telling real from fake."""
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def minimax_generator(fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """log(1 − σ(l_fake)), nats: the negative of the critic's term. Saturates where the critic is sure."""
    return -jax.nn.softplus(fake)


def non_saturating_generator(fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−log σ(l_fake), nats: the same fixed point as minimax with a gradient where the critic is sure."""
    return jax.nn.softplus(-fake)


def least_squares_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """(l_real − 1)² + l_fake²."""
    return (real - 1.0) ** 2 + fake**2


def least_squares_generator(fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """(l_fake − 1)²."""
    return (fake - 1.0) ** 2


ADVERSARIAL: Mapping[str, AdversarialLoss] = MappingProxyType(
    {
        "minimax": AdversarialLoss(logistic_critic, minimax_generator),
        "non-saturating": AdversarialLoss(logistic_critic, non_saturating_generator),
        "least-squares": AdversarialLoss(least_squares_critic, least_squares_generator),
    }
)
"""The pairs by name."""


def adversarial(name: str) -> AdversarialLoss:
    """The pair of that name. Raises `UsageError` with the known names otherwise.

    >>> pair, real, fake = adversarial("least-squares"), jax.numpy.array([1.0, 0.0]), jax.numpy.array([0.0, 2.0])
    >>> pair.critic(real, fake).tolist(), pair.generator(fake).tolist()
    ([0.0, 5.0], [1.0, 1.0])
    """
    if name not in ADVERSARIAL:
        raise UsageError(f"loss: wanted one of {', '.join(ADVERSARIAL)}, got {name!r}.")
    return ADVERSARIAL[name]
