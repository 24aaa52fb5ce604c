"""Deep convolutional GAN (1511.06434): strided 5×5 convolutions, batch norm in both nets, and a pair of adversarial
losses.

The nets are "dcgan" of `models.gan.nets`, z is uniform on [−1, 1], and all else is `models.gan.base`'s. The paper's
figure has `features=128` and images of 64×64.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from jaxgen.core.model import PRNGKey
from jaxgen.models.gan.base import GAN, Norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class DCGAN(GAN):
    """The paper's GAN: with batch norm in the critic, and z from a cube."""

    critic_norm: Norm = "batch"

    conditioned_on: ClassVar = ()
    spherical: ClassVar = False

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z, uniform on [−1, 1]."""
        return jax.random.uniform(key, (num, self.latent), minval=-1.0, maxval=1.0)
