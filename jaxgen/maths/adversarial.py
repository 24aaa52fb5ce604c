"""Adversarial losses as pairs of pure functions of scores, one value per example, never reduced.

Both players get the scores (logits) of real and of fake images, paired by position. Architecture and penalties know
nothing of them. With `sp` the softplus, `σ` the sigmoid, Δ = l_r − l_f, and l̄ the mean of a batch's scores:

| name | critic | generator | dL/dl_f of the generator |
|---|---|---|---|
| minimax (1406.2661, eq. 1) | sp(−l_r) + sp(l_f) | −sp(l_f) | −σ(l_f): vanishes where the critic is sure of a fake |
| non-saturating (1406.2661, §3) | the same | sp(−l_f) | −σ(−l_f) |
| least-squares (1611.04076, targets 0 and 1) | (l_r − 1)² + l_f² | (l_f − 1)² | 2(l_f − 1) |
| hinge (1705.02894, 1802.05957 eq. 16) | relu(1 − l_r) + relu(1 + l_f) | −l_f | −1 |
| wgan (1701.07875) | −Δ | −l_f | −1 |
| gan-qp-l1, gan-qp-l2 (1811.07296) | −Δ + Δ²/(2λd) | Δ | −1 |
| relativistic (1807.00734, eq. 11 and 12) | sp(l̄_f − l_r) + sp(l_f − l̄_r) | sp(l_r − l̄_f) + sp(l̄_r − l_f) | |

The least-squares losses are those of the paper's eq. 9 without its factors ½. Nothing in the WGAN's loss holds its
critic: a clip, a penalty or a norm of its weights has to. GAN-QP's own term holds it, with d(x_r, x_f) the mean
absolute (l1) or root mean square (l2) difference of two images and λ = 10: on two points the critic's best Δ is λd, and
the optimum there λd/2. Relativistic losses are of a batch: its examples mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.errors import UsageError, nearest

QP_WEIGHT = 10.0
"""GAN-QP's λ."""

MINIMUM = 1e-6
"""The least distance that GAN-QP divides by: of two equal images it is zero."""


class AdversarialLoss(NamedTuple):
    """What the two players minimise: `generator(real, fake) -> [b]` and `critic(real, fake) -> [b]`, of scores [b].

    Where there is a `distance(x_real, x_fake) -> [b]` of images, the critic takes it as its third argument.
    """

    critic: Callable[..., Array]
    generator: Callable[[Array, Array], Array]
    distance: Callable[[Array, Array], Array] | None = None

    def critic_terms(self, real: Array, fake: Array, x_real: Array, x_fake: Array) -> Float[Array, " b"]:
        """What the critic minimises on scores of these images, whichever the loss."""
        if self.distance is None:
            return self.critic(real, fake)
        return self.critic(real, fake, self.distance(x_real, x_fake))


def logistic_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−log σ(l_real) − log(1 − σ(l_fake)), nats: the cross-entropy of telling real from fake."""
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def minimax_generator(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """log(1 − σ(l_fake)), nats: the negative of the critic's term. Saturates where the critic is sure."""
    return -jax.nn.softplus(fake)


def non_saturating_generator(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−log σ(l_fake), nats: the same fixed point as minimax with a gradient where the critic is sure."""
    return jax.nn.softplus(-fake)


def least_squares_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """(l_real − 1)² + l_fake²."""
    return (real - 1.0) ** 2 + fake**2


def least_squares_generator(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """(l_fake − 1)²."""
    return (fake - 1.0) ** 2


def hinge_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """relu(1 − l_real) + relu(1 + l_fake): what is told apart by a margin is left alone."""
    return jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake)


def wasserstein_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """l_fake − l_real: minus an estimate of the Wasserstein-1 distance, where the critic is 1-Lipschitz."""
    return fake - real


def score_generator(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−l_fake."""
    return -fake


def quadratic_critic(
    real: Float[Array, " b"], fake: Float[Array, " b"], distance: Float[Array, " b"], weight: float = QP_WEIGHT
) -> Float[Array, " b"]:
    """−Δ + Δ²/(2λd), Δ = l_real − l_fake, d the distance of the two images and λ the weight.

    >>> quadratic_critic(jax.numpy.array([5.0]), jax.numpy.array([0.0]), jax.numpy.array([0.5])).tolist()  # −λd/2
    [-2.5]
    """
    gap = real - fake
    return -gap + gap**2 / (2.0 * weight * jnp.maximum(distance, MINIMUM))


def gap_generator(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """Δ = l_real − l_fake: an estimate of the divergence, whose gradient is that of −l_fake."""
    return real - fake


def mean_absolute_difference(x: Float[Array, "b ..."], y: Float[Array, "b ..."]) -> Float[Array, " b"]:
    """Of each pair, over all numbers of an image."""
    return jnp.abs(x - y).reshape(len(x), -1).mean(axis=1)


def root_mean_square_difference(x: Float[Array, "b ..."], y: Float[Array, "b ..."]) -> Float[Array, " b"]:
    """Of each pair, over all numbers of an image."""
    square = ((x - y) ** 2).reshape(len(x), -1).mean(axis=1)
    return jnp.sqrt(jnp.maximum(square, MINIMUM**2))


def relativistic_critic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−log σ(l_real − mean l_fake) − log(1 − σ(l_fake − mean l_real)), nats: is it more real than the others are?"""
    return jax.nn.softplus(fake.mean() - real) + jax.nn.softplus(fake - real.mean())


def relativistic_generator(real: Float[Array, " b"], fake: Float[Array, " b"]) -> Float[Array, " b"]:
    """−log σ(l_fake − mean l_real) − log(1 − σ(l_real − mean l_fake)), nats: the same with the roles changed."""
    return relativistic_critic(fake, real)


ADVERSARIAL: Mapping[str, AdversarialLoss] = MappingProxyType(
    {
        "minimax": AdversarialLoss(logistic_critic, minimax_generator),
        "non-saturating": AdversarialLoss(logistic_critic, non_saturating_generator),
        "least-squares": AdversarialLoss(least_squares_critic, least_squares_generator),
        "hinge": AdversarialLoss(hinge_critic, score_generator),
        "wgan": AdversarialLoss(wasserstein_critic, score_generator),
        "gan-qp-l1": AdversarialLoss(quadratic_critic, gap_generator, mean_absolute_difference),
        "gan-qp-l2": AdversarialLoss(quadratic_critic, gap_generator, root_mean_square_difference),
        "relativistic": AdversarialLoss(relativistic_critic, relativistic_generator),
    }
)
"""The pairs by name."""


def adversarial(name: str) -> AdversarialLoss:
    """The pair of that name. Raises `UsageError` with the known names otherwise.

    >>> pair, real, fake = adversarial("least-squares"), jax.numpy.array([1.0, 0.0]), jax.numpy.array([0.0, 2.0])
    >>> pair.critic(real, fake).tolist(), pair.generator(real, fake).tolist()
    ([0.0, 5.0], [1.0, 1.0])
    """
    if name not in ADVERSARIAL:
        raise UsageError(f"loss: wanted one of {', '.join(ADVERSARIAL)}, got {name!r}.{nearest(name, ADVERSARIAL)}")
    return ADVERSARIAL[name]
