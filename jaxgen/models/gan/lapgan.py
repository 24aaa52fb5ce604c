"""Images drawn coarse to fine by a GAN at each level of a Laplacian pyramid (1506.05751).

With I_k, c_k = u(d(I_k)) and h_k = I_k − c_k of `maths.pyramid`, K the coarsest level:

    level K      an unconditional GAN of I_K
    level k < K  G_k(z_k, c_k) draws a residual; D_k scores c_k + h_k of an image against c_k + G_k(z_k, c_k)
    sampling     Ĩ_K = G_K(z_K),  Ĩ_k = u(Ĩ_{k+1}) + G_k(z_k, u(Ĩ_{k+1}))                  (eq. 5)

Each level is trained alone, on c_k of real images: as many pairs of objectives as levels, all in one step. z is uniform
on [−1, 1], a vector at level K and a plane beside c_k at the others. Of a residual's level D_k sees the sum alone, as
the paper's nets do, which add the two first: a residual's own low frequencies are not told apart from those of c_k.

The coarsest nets are "dense" of `models.gan.nets`; the residuals' generators are three 5×5 convolutions and their
critics those of "dcgan". Deviations: the paper's critics have dropout, its nets differ in width by level and data, its
d and u are a library's scaling, and its classes are left out.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Latent
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.images import from_float, to_float
from jaxgen.core.keys import of_examples
from jaxgen.core.model import Aux, Batch, Objective, PRNGKey, Variables
from jaxgen.maths.adversarial import ADVERSARIAL, adversarial
from jaxgen.maths.pyramid import check_sides, expanded, reduced
from jaxgen.models.gan.nets import HE, INITIAL, KERNEL, NETS
from jaxgen.nn.strided import Conv

COARSE = NETS["dense"]


class ResidualGenerator(nn.Module):
    """From a plane of z and a smooth image in −1 … 1 to the residual that makes it sharp, float32."""

    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: Float[Array, "b h w 1"], smooth: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        dtype, y = jnp.dtype(self.dtype), jnp.concatenate([smooth, z], axis=-1)
        for _ in range(2):
            y = nn.relu(Conv(self.features, (KERNEL, KERNEL), dtype=dtype, kernel_init=HE)(y))
        y = Conv(smooth.shape[-1], (KERNEL, KERNEL), dtype=dtype, kernel_init=INITIAL)(y)
        return y.astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LAPGAN(Latent):
    """A generator and a critic for each level.

    halvings    how often an image is halved: levels are one more
    latent      numbers of z at the coarsest level
    features    width of the nets
    loss        a pair of `maths.adversarial.ADVERSARIAL`
    """

    halvings: int = 2
    latent: int = 100
    features: int = 64
    loss: str = "non-saturating"
    dtype: str = "float32"

    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Scored": "a GAN defines a sampler, and its losses are a game's, no figures of held-out images",
        "Density": "a GAN defines a sampler and no likelihood",
        "Autoregressive": "a GAN defines a sampler and no likelihood",
        "Completer": "it draws whole images",
        "Encoder": "it has no map from an image to a latent",
        "Reconstructor": "it has no map from an image to a latent",
        "Classifier": "its critics tell real from fake, and no classes",
        "Features": "its critics' features change with the generators, and are no yardstick",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, loss=tuple(ADVERSARIAL))
        at_least(self, halvings=1, latent=1, features=1)
        check_sides(self.shape[:2], self.halvings, type(self).__name__)

    @property
    def coarse_to_fine(self) -> tuple[int, ...]:
        """The levels' numbers k: K, …, 0."""
        return tuple(range(self.halvings, -1, -1))

    def sides(self, k: int) -> tuple[int, int]:
        """Height and width at level k."""
        h, w, _ = self.shape
        return h >> k, w >> k

    def name(self, net: str, k: int) -> str:
        """What the "generator" or the "critic" of a level is called among the parameters: generator_14x14."""
        h, w = self.sides(k)
        return f"{net}_{h}x{w}"

    def generator(self, k: int) -> nn.Module:
        """That of level k: from z to an image at the coarsest, from z and a smooth image to a residual at others."""
        if k == self.halvings:
            coarse: nn.Module = COARSE.generator((*self.sides(k), self.shape[2]), self.features, "none", self.dtype)
            return coarse
        return ResidualGenerator(self.features, self.dtype)

    def critic(self, k: int) -> nn.Module:
        """That of level k, from an image to its score."""
        nets = COARSE if k == self.halvings else NETS["dcgan"]
        critic: nn.Module = nets.critic((*self.sides(k), self.shape[2]), self.features, dtype=self.dtype)
        return critic

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        params = {}
        for k in self.coarse_to_fine:
            generator_key, critic_key = jax.random.split(jax.random.fold_in(key, k))
            image = jnp.zeros((1, *self.sides(k), self.shape[2]))
            z = self.noise(generator_key, 1, k)
            told = (z,) if k == self.halvings else (z, image)
            params[self.name("generator", k)] = self.generator(k).init(generator_key, *told)["params"]
            params[self.name("critic", k)] = self.critic(k).init(critic_key, image)["params"]
        return {"params": params}

    def objectives(self) -> tuple[Objective, ...]:
        """Of each level, the coarsest first, the critic's and the generator's, which meets the critic just updated."""
        players = (("critic", self._critic_loss), ("generator", self._generator_loss))
        return tuple(
            Objective(self.name(net, k), functools.partial(loss, k), trains=(self.name(net, k),))
            for k in self.coarse_to_fine
            for net, loss in players
        )

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z of all levels side by side, the coarsest first: uniform on [−1, 1]."""
        count = self.latent + sum(h * w for h, w in map(self.sides, self.coarse_to_fine[1:]))
        return jax.random.uniform(key, (num, count), minval=-1.0, maxval=1.0)

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """Eq. 5's image, rounded to the nearest level."""
        self.check_condition(condition, len(z))
        return self._pixels(self.pyramid(variables, z)[-1][1])

    def pyramid(self, variables: Variables, z: Float[Array, "b d"]) -> list[tuple[Array, Array]]:
        """What each level adds and the image so far in −1 … 1, from the coarsest on, for which both are the same."""
        coarse = self.drawn(variables, self.halvings, z[:, : self.latent], None)
        steps, taken = [(coarse, coarse)], self.latent
        for k in self.coarse_to_fine[1:]:
            h, w = self.sides(k)
            plane = z[:, taken : taken + h * w].reshape(len(z), h, w, 1)
            smooth = expanded(steps[-1][1])
            residual = self.drawn(variables, k, plane, smooth)
            steps, taken = [*steps, (residual, smooth + residual)], taken + h * w
        return steps

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Pyramids of samples, enlarged to one size: the coarse image, then at each level the residual, in which grey
        is nothing, and its sum with what is there."""
        (coarse, _), *finer = self.pyramid(variables, self.prior(key, len(batch["image"])))
        images = [coarse, *(image for pair in finer for image in pair)]
        h, w, _ = self.shape
        large = [x.repeat(h // x.shape[1], axis=1).repeat(w // x.shape[2], axis=2) for x in images]
        return {"pyramids": self._pixels(jnp.concatenate(large, axis=2))}

    # The parts of a level.

    def noise(self, key: PRNGKey, num: int, k: int) -> Float[Array, "num ..."]:
        """z of one level."""
        tail = (self.latent,) if k == self.halvings else (*self.sides(k), 1)
        return jax.random.uniform(key, (num, *tail), minval=-1.0, maxval=1.0)

    def drawn(self, variables: Variables, k: int, z: Array, smooth: Array | None) -> Float[Array, "b h w c"]:
        """What the generator of level k gives: the coarse image, or the residual of a smooth one."""
        told = (z,) if smooth is None else (z, smooth)
        generator: Any = self.generator(k)
        return generator.apply({"params": variables["params"][self.name("generator", k)]}, *told)

    def real(self, batch: Batch, k: int) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"] | None]:
        """I_k in −1 … 1, and c_k, which the coarsest level has not."""
        x = 2.0 * to_float(batch["image"], self.levels) - 1.0
        for _ in range(k):
            x = reduced(x)
        return x, None if k == self.halvings else expanded(reduced(x))

    def _played(self, k: int, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Array]:
        """Real and fake images of level k, the fake ones on c_k of the real."""
        real, smooth = self.real(batch, k)
        drawn = self.drawn(variables, k, of_examples(self.noise(key, len(real), k)), smooth)
        return real, drawn if smooth is None else smooth + drawn

    def _scores(self, k: int, variables: Variables, x: Array) -> Float[Array, " b"]:
        critic: Any = self.critic(k)
        return critic.apply({"params": variables["params"][self.name("critic", k)]}, x)[0][:, 0]

    def _critic_loss(self, k: int, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        real, fake = self._played(k, variables, batch, key)
        fake = jax.lax.stop_gradient(fake)
        real_scores, fake_scores = (self._scores(k, variables, x) for x in (real, fake))
        terms = adversarial(self.loss).critic_terms(real_scores, fake_scores, real, fake)
        return terms.mean(), Aux({"score_real": real_scores.mean(), "score_fake": fake_scores.mean()})

    def _generator_loss(self, k: int, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        real, fake = self._played(k, variables, batch, key)
        real_scores, fake_scores = (self._scores(k, variables, x) for x in (real, fake))
        return adversarial(self.loss).generator(real_scores, fake_scores).mean(), Aux({})

    def _pixels(self, x: Float[Array, "b h w c"]) -> UInt8[Array, "b h w c"]:
        return from_float((x + 1.0) / 2.0, self.levels)
