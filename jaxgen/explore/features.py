"""What the maps of a net respond to, by guided backpropagation (1412.6806, §3.4; of a GAN's critic 1511.06434, fig. 5),
and the images that lie nearest to others.

The gradient of a response by the image is passed back through a ReLU only where the number that went in and the
gradient that comes back are both positive: what would silence the response is left out, and what excites it remains. A
leaky ReLU passes nothing back below zero either, though it passes numbers on.

A net is any function of images; its ReLUs (`jax.nn.relu`, `jax.nn.leaky_relu`) are found in its jaxpr, numbered in the
order in which they are computed. Those inside loops are not found.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.core.errors import UsageError
from jaxgen.explore.chunks import in_chunks
from jaxgen.maths.perceptual import is_relu
from jaxgen.maths.rewriting import rewritten

Net = Callable[[Array], Any]
Rule = Callable[[int, Array, Array], Array]
Images = Float[Array | np.ndarray, "b h w c"]

ROWS = 1000
"""Rows whose distances to all others are in memory at a time."""


@dataclasses.dataclass(frozen=True)
class Responses:
    """Of each feature, k of them, the n images that excite it most: their places, the responses, each the largest over
    the map's pixels, and the guided gradients of these by the images."""

    features: tuple[int, ...]
    place: Int[np.ndarray, "k n"]
    value: Float[np.ndarray, "k n"]
    gradient: Float[np.ndarray, "k n h w c"]


def guided(net: Net) -> Callable[[Array], list[Array]]:
    """The function that gives the outputs of a net's ReLUs in their order, whose gradients are guided ones.

    >>> w = jnp.array([1.0, -1.0])
    >>> net = lambda x: jax.nn.relu(w * jax.nn.relu(x)).sum()
    >>> jax.grad(lambda x: guided(net)(x)[1].sum())(jnp.array([3.0, 3.0])).tolist()
    [1.0, 0.0]
    """

    def outputs(x: Array | np.ndarray) -> list[Array]:
        maps: list[Array] = []

        def rule(number: int, x: Array, y: Array) -> Array:
            maps.append(_guide(x, jax.lax.stop_gradient(y)))
            return maps[-1]

        with_relus(net, rule)(jnp.asarray(x))
        return maps

    return outputs


def with_relus(net: Net, rule: Rule) -> Net:
    """The net whose ReLUs give what a rule says: `rule(number, x, y)`, of the ReLU of that number, which gets x and
    would give y."""

    def changed(x: Array | np.ndarray) -> Any:
        numbers = itertools.count()
        return rewritten(net, is_relu, lambda values, results: rule(next(numbers), values[0], results[0]))(x)

    return changed


def layers(net: Net, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The shape of the output of each of a net's ReLUs for one image of a shape; computes nothing.

    Raises `UsageError` for a net without any.
    """
    shapes = jax.eval_shape(guided(net), jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    if not shapes:
        raise UsageError("guided backpropagation goes through ReLUs, and this net has none: take another one.")
    return [tuple(output.shape[1:]) for output in shapes]


def last_map(known: Sequence[tuple[int, ...]]) -> int:
    """The last layer that is a map [h, w, c]; of a net without maps the last one."""
    maps = [number for number, shape in enumerate(known) if len(shape) == 3]
    return maps[-1] if maps else len(known) - 1


def check_features(known: Sequence[tuple[int, ...]], layer: int, features: Sequence[int]) -> None:
    """Raises `UsageError` for a layer, or a feature of it, that is not there."""
    if not 0 <= layer < len(known):
        named = ", ".join(f"{number} ({'×'.join(map(str, shape))})" for number, shape in enumerate(known))
        raise UsageError(f"there is no layer {layer}. The layers are {named}.")
    for feature in features:
        if not 0 <= feature < known[layer][-1]:
            raise UsageError(f"layer {layer} has features 0 to {known[layer][-1] - 1}, got {feature}.")


def responses(net: Net, x: Images, layer: int, features: Sequence[int], num: int) -> Responses:
    """What excites the features of a layer most among images, `num` of them for each, the strongest first.

    The net must treat each image by itself. Raises `UsageError` for a layer or a feature that is not there, and for
    more images than there are.
    """
    x = np.asarray(x, np.float32)
    check_features(layers(net, x.shape[1:]), layer, features)
    if not 1 <= num <= len(x):
        raise UsageError(f"wanted 1 to {len(x)} images for each feature, got {num}.")
    chosen = np.asarray(features, np.int32)

    def largest(x: Array) -> Float[Array, "b c"]:
        output = guided(net)(x)[layer].astype(jnp.float32)
        return output.max(axis=tuple(range(1, output.ndim - 1)))

    of_all: Any = jax.jit(largest)
    gradient = jax.jit(jax.grad(lambda x, feature: largest(x)[:, feature].sum()))
    value = in_chunks(lambda rows: of_all(rows["x"]), {"x": x}, len(x)).T[chosen]
    place = np.argsort(-value, axis=1, kind="stable")[:, :num]
    back = np.stack([gradient(x[rows], feature) for rows, feature in zip(place, chosen)])
    return Responses(tuple(features), place, np.take_along_axis(value, place, axis=1), back)


def nearest(
    x: Float[np.ndarray, "n d"], among: Float[np.ndarray, "m d"], k: int
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The k rows of `among` that are nearest to each row of x, the nearest first, and their Euclidean distances.

    Raises `UsageError` for more neighbours than there are rows.

    >>> place, distance = nearest(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [9.0, 9.0], [0.0, 1.0]]), 2)
    >>> place.tolist(), distance.tolist()
    ([[2, 0]], [[1.0, 5.0]])
    """
    if not 1 <= k <= len(among):
        raise UsageError(f"wanted 1 to {len(among):,} neighbours, got {k:,}.")
    x, places, distances = x.astype(np.float64), [], []
    pieces = [np.asarray(among[i : i + ROWS], np.float64) for i in range(0, len(among), ROWS)]
    for row in x:
        squared = np.concatenate([((piece - row) ** 2).sum(axis=1) for piece in pieces])
        order = np.argsort(squared, kind="stable")[:k]
        places.append(order)
        distances.append(np.sqrt(squared[order]))
    return np.stack(places), np.stack(distances)


@jax.custom_vjp
def _guide(x: Array, y: Array) -> Array:
    """y, the output of a ReLU of x, from where the gradient goes back to x as it is guided."""
    return y


def _guide_forward(x: Array, y: Array) -> tuple[Array, Array]:
    return y, x


def _guide_back(x: Array, back: Array) -> tuple[Array, Array]:
    return jnp.where((x > 0) & (back > 0), back, 0), jnp.zeros_like(back)


_guide.defvjp(_guide_forward, _guide_back)
