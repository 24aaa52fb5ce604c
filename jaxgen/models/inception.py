"""Inception v3 (1512.00567) as the network of the Fréchet inception distance (1706.08500): 2048 features of any images.

The net is that of 2015-12-05 in TensorFlow, of which the usual figures of FID are, as it was ported to PyTorch
(`pytorch-fid`): images 0 … 1 are resized to 299×299 by bilinear interpolation between pixel centres without smoothing,
then scaled to −1 … 1; grey ones have three equal channels. It differs from later Inceptions in that means at the border
are of the pixels inside the image, and in a maximum for the mean in the last block. Features are the means of the last
block's maps. The layer of classes is left out, since no figure here reads it.

Nobody trains it: its weights come from a file of the user's (`runs.inception_file`), whose names of arrays these are,
`Mixed_5b.branch1x1.conv.weight` and four of its batch norm. Convolution and batch norm become one affine map:

    scale = γ / √(σ² + 0.001),  kernel = W · scale,  bias = β − μ · scale
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.capabilities import Features
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.model import Batch, Images, Objective, PRNGKey, Variables

SIDE, EPSILON = 299, 0.001


class InceptionNet(nn.Module):
    """The maps behind each block of images in −1 … 1; the means of the last are the features."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        maps = []

        def conv(name: str, x: Array, features: int, size: Any = 1, stride: int = 1, padding: str = "SAME") -> Array:
            sides = (size, size) if isinstance(size, int) else size
            weights = nn.Conv(features, sides, (stride, stride), padding, kernel_init=nn.initializers.zeros, name=name)
            return nn.relu(weights(x))

        def halved(name: str, x: Array, features: int, size: int = 3) -> Array:
            return conv(name, x, features, size, 2, "VALID")

        x = halved("Conv2d_1a_3x3", x, 32)
        x = conv("Conv2d_2a_3x3", x, 32, 3, padding="VALID")
        x = conv("Conv2d_2b_3x3", x, 64, 3)
        maps.append(x)
        x = conv("Conv2d_3b_1x1", _half(x), 80)
        x = conv("Conv2d_4a_3x3", x, 192, 3, padding="VALID")
        maps.append(x)
        x = _half(x)

        for block, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            a = conv(f"{block}.branch1x1", x, 64)
            b = conv(f"{block}.branch5x5_2", conv(f"{block}.branch5x5_1", x, 48), 64, 5)
            c = conv(f"{block}.branch3x3dbl_2", conv(f"{block}.branch3x3dbl_1", x, 64), 96, 3)
            c = conv(f"{block}.branch3x3dbl_3", c, 96, 3)
            x = _joined(a, b, c, conv(f"{block}.branch_pool", _mean(x), pooled))
        maps.append(x)

        a = halved("Mixed_6a.branch3x3", x, 384)
        b = conv("Mixed_6a.branch3x3dbl_2", conv("Mixed_6a.branch3x3dbl_1", x, 64), 96, 3)
        x = _joined(a, halved("Mixed_6a.branch3x3dbl_3", b, 96), _half(x))

        for block, n in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            a = conv(f"{block}.branch1x1", x, 192)
            b = conv(f"{block}.branch7x7_2", conv(f"{block}.branch7x7_1", x, n), n, (1, 7))
            b = conv(f"{block}.branch7x7_3", b, 192, (7, 1))
            c = conv(f"{block}.branch7x7dbl_2", conv(f"{block}.branch7x7dbl_1", x, n), n, (7, 1))
            c = conv(f"{block}.branch7x7dbl_4", conv(f"{block}.branch7x7dbl_3", c, n, (1, 7)), n, (7, 1))
            c = conv(f"{block}.branch7x7dbl_5", c, 192, (1, 7))
            x = _joined(a, b, c, conv(f"{block}.branch_pool", _mean(x), 192))
        maps.append(x)

        a = halved("Mixed_7a.branch3x3_2", conv("Mixed_7a.branch3x3_1", x, 192), 320)
        b = conv("Mixed_7a.branch7x7x3_2", conv("Mixed_7a.branch7x7x3_1", x, 192), 192, (1, 7))
        b = halved("Mixed_7a.branch7x7x3_4", conv("Mixed_7a.branch7x7x3_3", b, 192, (7, 1)), 192)
        x = _joined(a, b, _half(x))

        for block, pool in (("Mixed_7b", _mean), ("Mixed_7c", _largest)):
            a = conv(f"{block}.branch1x1", x, 320)
            b = conv(f"{block}.branch3x3_1", x, 384)
            b = _joined(*(conv(f"{block}.branch3x3_2{s}", b, 384, k) for s, k in (("a", (1, 3)), ("b", (3, 1)))))
            c = conv(f"{block}.branch3x3dbl_2", conv(f"{block}.branch3x3dbl_1", x, 448), 384, 3)
            c = _joined(*(conv(f"{block}.branch3x3dbl_3{s}", c, 384, k) for s, k in (("a", (1, 3)), ("b", (3, 1)))))
            x = _joined(a, b, c, conv(f"{block}.branch_pool", pool(x), 192))
        return (*maps, x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inception(Features):
    """The net for images of a shape, of one or three channels, and its 2048 features of each.

    >>> model = Inception(shape=(28, 28, 1), levels=256)
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), {})
    >>> len(variables["params"])
    94
    >>> jax.eval_shape(model.features, variables, jnp.zeros((2, 28, 28, 1), jnp.uint8)).shape
    (2, 2048)
    """

    conditioned_on: ClassVar = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[2] not in (1, 3):
            raise UsageError(f"Inception: shape must have 1 or 3 channels, grey or RGB, got {self.shape}.")

    @property
    def net(self) -> InceptionNet:
        return InceptionNet()

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Zeros, which draw nothing from the key: `loaded` gives the weights of a file."""
        return {"params": self.net.init(key, jnp.zeros((1, SIDE, SIDE, 3)))["params"]}

    def objectives(self) -> tuple[Objective, ...]:
        """None: it is not trained here."""
        return ()

    def feature_maps(self, variables: Variables, x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b _ _ _"], ...]:
        """The maps in front of both poolings and behind the blocks 5, 6 and 7, of images as floats, 0 to 1."""
        return cast(Any, self.net.apply({"params": variables["params"]}, prepared(x)))

    def features(self, variables: Variables, image: Images) -> Float[Array, "b 2048"]:
        """The means of the last block's maps."""
        return self.feature_maps(variables, to_float(image, self.levels))[-1].mean(axis=(1, 2))


def prepared(x: Float[Array, "b h w c"]) -> Float[Array, "b 299 299 3"]:
    """Images 0 … 1 of any size, with one or three channels, as the net takes them."""
    x = jnp.broadcast_to(x, (*x.shape[:3], 3))
    return 2.0 * jax.image.resize(x, (len(x), SIDE, SIDE, 3), "bilinear", antialias=False) - 1.0


def loaded(arrays: Mapping[str, np.ndarray], where: str) -> Variables:
    """The variables of the net from arrays by the port's names; what else there is, classes among it, is passed over.

    Raises `UsageError` naming the first array that is missing, of another shape or not of finite numbers. `where` names
    the file.
    """
    return {"params": {name: _folded(arrays, name, shape, where) for name, shape in _kernels().items()}}


@functools.cache
def _kernels() -> dict[str, tuple[int, ...]]:
    """The shapes of the kernels by the names of their convolutions."""
    model = Inception(shape=(SIDE, SIDE, 3), levels=256)
    params: Any = jax.eval_shape(model.init, jax.random.key(0), {})["params"]
    return {name: conv["kernel"].shape for name, conv in params.items()}


def _folded(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], where: str) -> dict[str, np.ndarray]:
    """Kernel and bias of a convolution whose batch norm is folded into it."""
    out_in = (shape[3], shape[2], *shape[:2])
    parts = [("conv.weight", out_in), *((f"bn.{p}", shape[3:]) for p in ("weight", "bias", "running_mean"))]
    parts.append(("bn.running_var", shape[3:]))
    for part, wanted in parts:
        array = arrays.get(f"{name}.{part}")
        if array is None or array.shape != wanted or not np.isfinite(array).all():
            what = "no such array" if array is None else f"shape {list(array.shape)}"
            what = "NaN or infinity" if array is not None and array.shape == wanted else what
            raise UsageError(
                f"{where}: wanted the array {name}.{part} of Inception v3, finite numbers {list(wanted)}, got {what}: "
                "give the weights of pytorch-fid's network."
            )
    weight, gamma, beta, mean, var = (np.asarray(arrays[f"{name}.{part}"], np.float64) for part, _ in parts)
    if (var < 0).any():
        raise UsageError(f"{where}: wanted variances of at least 0 in {name}.bn.running_var, got {var.min():.3g}.")
    scale = gamma / np.sqrt(var + EPSILON)
    kernel = (weight * scale[:, None, None, None]).transpose(2, 3, 1, 0)
    return {"kernel": kernel.astype(np.float32), "bias": (beta - mean * scale).astype(np.float32)}


def _joined(*branches: Array) -> Array:
    return jnp.concatenate(branches, axis=-1)


def _half(x: Array) -> Array:
    """The maximum of 3×3 pixels at every second one."""
    return nn.max_pool(x, (3, 3), (2, 2))


def _largest(x: Array) -> Array:
    """The maximum of 3×3 pixels at every one."""
    return nn.max_pool(x, (3, 3), padding="SAME")


def _mean(x: Array) -> Array:
    """The mean of 3×3 pixels at every one, of those that lie inside the map."""
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
