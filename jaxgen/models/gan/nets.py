"""Generators and critics, three of each: "dense", "dcgan" (1511.06434) and "resnet" (1704.00028, table 3, made small).

A generator maps (z, condition) to an image in −1 … 1; a critic maps (image, condition) to scores and to the features
that they are read off, its last hidden layer. A condition is a vector for each image: a generator has it behind z, a
critic behind its features, with one hidden layer on both, without which they could not meet.

Any net goes with any norm: "batch" (1502.03167), "layer" (1607.06450, over a whole image with a scale and a shift for
each channel) or "none". Critics have spectral norm (1802.05957) in place of, or beside, a norm, and minibatch
discrimination (1606.03498) behind their features, which features leave out.

**dcgan**  The generator projects z to a map of about 4×4 and doubles it by transposed 5×5 convolutions: four of them
for 64×64 as in the paper's fig. 1, three for 32×32 and 28×28 (4 → 7 → 14 → 28), one for 8×8. A side that is no power of
two is halved rounding up, and each transposed convolution has the geometry of the critic's SAME convolution between the
same two sizes, turned round. Widths double with every halving, from `features` next to the image (the paper's figure
has 128). ReLU in the generator, LeakyReLU .2 in the critic, tanh at the output; a norm everywhere but on the
generator's output and the critic's input, without a bias before a batch norm; weights from N(0, .02²).

**resnet**  Three blocks of 3×3 convolutions of the same width with Glorot's weights, two of which double or halve the
sides, and ReLU; the critic's features are the mean of the last map over its pixels.

**dense**  Three hidden layers of 8·`features` numbers with LeakyReLU .2 and He's weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn.minibatch import MinibatchDiscrimination
from jaxgen.nn.spectral_norm import SpectralLayer
from jaxgen.nn.strided import Conv, ConvTranspose

KERNEL = 5
INITIAL = nn.initializers.normal(0.02)
HE = nn.initializers.he_normal()
GLOROT = nn.initializers.glorot_uniform()
DENSE_LAYERS = 3

Shape = tuple[int, int, int]


def pyramid(shape: Shape) -> list[tuple[int, int]]:
    """Heights and widths of a DCGAN's maps, smallest first: the image halved, rounding up, until neither side exceeds
    4."""
    sizes = [shape[:2]]
    while max(sizes[0]) > 4:
        h, w = sizes[0]
        sizes.insert(0, (-(-h // 2), -(-w // 2)))
    return sizes


def up_padding(small: int, large: int) -> tuple[int, int]:
    """Padding that makes a transposed convolution of stride 2 the reverse of the SAME one from `large` to `small`."""
    total = max((small - 1) * 2 + KERNEL - large, 0)
    low = total // 2
    return KERNEL - 1 - low, KERNEL - 1 - (total - low)


class Layers:
    """The layers of a net by its knobs, made inside its `__call__`."""

    def __init__(self, net: Any, train: bool, init: Any):
        self.norm, self.dtype, self.init, self.train = net.norm, net.dtype, init, train
        self.spectral = getattr(net, "spectral", False)

    def normed(self, x: Array) -> Array:
        """The net's norm of a map [b,…,c]."""
        if self.norm == "batch":
            return nn.BatchNorm(use_running_average=not self.train, momentum=0.9, dtype=self.dtype)(x)
        if self.norm == "layer":
            return nn.LayerNorm(reduction_axes=tuple(range(1, x.ndim)), feature_axes=-1, dtype=self.dtype)(x)
        return x

    def map(self, x: Array, features: int, kernel: tuple[int, ...] = (), stride: int = 1, bias: bool = True) -> Array:
        """A dense map, or a SAME convolution with a `kernel`."""
        strides = (stride,) * len(kernel)
        knobs: dict[str, Any] = dict(use_bias=bias, dtype=self.dtype, kernel_init=self.init)
        if self.spectral:
            return SpectralLayer(features, kernel, strides, **knobs)(x, self.train)
        return Conv(features, kernel, strides, **knobs)(x) if kernel else nn.Dense(features, **knobs)(x)

    @property
    def biased(self) -> bool:
        """Whether layers whose output is normed have a bias: a batch norm would take it away again."""
        return self.norm != "batch"


class Generator(nn.Module):
    """From z and a condition to an image in −1 … 1, float32."""

    shape: Shape
    features: int
    norm: str = "batch"
    dtype: str = "float32"


class Critic(nn.Module):
    """From an image in −1 … 1 and a condition to `outputs` scores, and to the features that they are read off. Without
    `bias` no constant is added to scores, of which only differences count then."""

    shape: Shape
    features: int
    norm: str = "none"
    spectral: bool = False
    minibatch: int = 0
    outputs: int = 1
    bias: bool = True
    dtype: str = "float32"


class DenseGenerator(Generator):
    """Hidden layers from z to an image in −1 … 1, float32."""

    @nn.compact
    def __call__(self, z: Array, condition: Array | None = None, train: bool = True) -> Float[Array, "b h w c"]:
        layers, y = Layers(self, train, HE), joined(z, condition)
        for _ in range(DENSE_LAYERS):
            y = nn.leaky_relu(layers.normed(layers.map(y, 8 * self.features, bias=layers.biased)), 0.2)
        y = layers.map(y, math.prod(self.shape))
        return jnp.tanh(y.reshape(len(z), *self.shape).astype(jnp.float32))


class DCGANGenerator(Generator):
    """Transposed convolutions from z to an image in −1 … 1, float32."""

    @nn.compact
    def __call__(self, z: Array, condition: Array | None = None, train: bool = True) -> Float[Array, "b h w c"]:
        layers, sizes = Layers(self, train, INITIAL), pyramid(self.shape)
        width = self.features * 2 ** (len(sizes) - 2)
        y = layers.map(joined(z, condition), math.prod(sizes[0]) * width, bias=layers.biased)
        y = nn.relu(layers.normed(y.reshape(len(z), *sizes[0], width)))
        for small, large in itertools.pairwise(sizes):
            last = large == sizes[-1]
            width = self.shape[-1] if last else width // 2
            y = ConvTranspose(
                width,
                (KERNEL, KERNEL),
                strides=(2, 2),
                padding=[up_padding(s, n) for s, n in zip(small, large)],
                use_bias=layers.biased or last,
                dtype=self.dtype,
                kernel_init=INITIAL,
            )(y)
            y = y if last else nn.relu(layers.normed(y))
        return jnp.tanh(y.astype(jnp.float32))


class ResNetGenerator(Generator):
    """A map of a quarter of the sides, three residual blocks, and an image in −1 … 1, float32."""

    @nn.compact
    def __call__(self, z: Array, condition: Array | None = None, train: bool = True) -> Float[Array, "b h w c"]:
        layers, (h, w, c) = Layers(self, train, GLOROT), self.shape
        y = layers.map(joined(z, condition), h // 4 * (w // 4) * self.features)
        y = y.reshape(len(z), h // 4, w // 4, self.features)
        for resize in (doubled, doubled, None):
            y = residual(layers, y, self.features, before=resize)
        y = layers.map(nn.relu(layers.normed(y)), c, (3, 3))
        return jnp.tanh(y.astype(jnp.float32))


class Scores(nn.Module):
    """What all critics end with: features of a condition and of an image, and scores read off them, all float32."""

    features: int
    norm: str
    spectral: bool
    minibatch: int
    outputs: int
    bias: bool
    kernel_init: Any
    dtype: str

    @nn.compact
    def __call__(self, x: Array, condition: Array | None, train: bool) -> tuple[Array, Array]:
        layers, features = Layers(self, train, self.kernel_init), x.reshape(len(x), -1)
        if condition is not None:
            features = nn.leaky_relu(layers.map(joined(features, condition), 8 * self.features), 0.2)
        known = features
        if self.minibatch:
            close = MinibatchDiscrimination(self.minibatch)(features)
            known = jnp.concatenate([features, close.astype(features.dtype)], axis=1)
        return layers.map(known, self.outputs, bias=self.bias).astype(jnp.float32), features.astype(jnp.float32)


class DenseCritic(Critic):
    """Hidden layers from an image in −1 … 1 to scores."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Array | None = None, train: bool = True
    ) -> tuple[Float[Array, "b outputs"], Float[Array, "b d"]]:
        layers, x = Layers(self, train, HE), x.reshape(len(x), -1)
        for i in range(DENSE_LAYERS):
            x = layers.map(x, 8 * self.features, bias=layers.biased or i == 0)
            x = nn.leaky_relu(layers.normed(x) if i else x, 0.2)
        return scores(self, HE)(x, condition, train)


class DCGANCritic(Critic):
    """Strided convolutions from an image in −1 … 1 to scores."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Array | None = None, train: bool = True
    ) -> tuple[Float[Array, "b outputs"], Float[Array, "b d"]]:
        x = strided(Layers(self, train, INITIAL), x, self.features, len(pyramid(self.shape)) - 1)
        return scores(self, INITIAL)(x, condition, train)


class ResNetCritic(Critic):
    """Three residual blocks, two of which halve the sides, and the mean over the last map's pixels, to scores."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Array | None = None, train: bool = True
    ) -> tuple[Float[Array, "b outputs"], Float[Array, "b d"]]:
        layers = Layers(self, train, GLOROT)
        x = layers.map(x, self.features, (3, 3))
        for resize in (halved, halved, None):
            x = residual(layers, x, self.features, behind=resize)
        return scores(self, GLOROT)(nn.relu(x).mean(axis=(1, 2)), condition, train)


KNOBS = ("features", "norm", "spectral", "minibatch", "outputs", "bias", "dtype")


class Nets(NamedTuple):
    """A generator and a critic that go together, and what must divide the sides of their images."""

    generator: Any
    critic: Any
    divides: int = 1


NETS: Mapping[str, Nets] = MappingProxyType(
    {
        "dense": Nets(DenseGenerator, DenseCritic),
        "dcgan": Nets(DCGANGenerator, DCGANCritic),
        "resnet": Nets(ResNetGenerator, ResNetCritic, divides=4),
    }
)
"""The pairs by name."""


def scores(critic: Any, init: Any) -> Scores:
    """What stands on a critic's last map."""
    knobs = {name: getattr(critic, name) for name in KNOBS}
    return Scores(**knobs, kernel_init=init)


def strided(layers: Layers, x: Float[Array, "b h w c"], features: int, count: int) -> Float[Array, "b h2 w2 c2"]:
    """A DCGAN critic's last map: so many strided convolutions of x, from `features` on twice as wide each time."""
    for i in range(count):
        x = layers.map(x, features * 2**i, (KERNEL, KERNEL), 2, bias=layers.biased or i == 0)
        x = nn.leaky_relu(layers.normed(x) if i else x, 0.2)
    return x


def residual(layers: Layers, x: Array, features: int, before: Any = None, behind: Any = None) -> Array:
    """x + two convolutions of ReLU of it, `before` which, or `behind` which, both are resized."""
    before, behind = before or (lambda x: x), behind or (lambda x: x)
    y = before(nn.relu(layers.normed(x)))
    y = nn.relu(layers.normed(layers.map(y, features, (3, 3), bias=layers.biased)))
    return behind(before(x)) + behind(layers.map(y, features, (3, 3)))


def doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """A map of twice the sides: each pixel four times."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def halved(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """A map of half the sides: the mean of each four pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


def joined(x: Float[Array, "b d"], condition: Float[Array, "b k"] | None) -> Float[Array, "b e"]:
    """Both side by side."""
    return x if condition is None else jnp.concatenate([x, condition.astype(x.dtype)], axis=1)
