"""Two images compared by what a net sees in them, instead of pixel by pixel (1603.08155, eq. 2; 1602.02644, eq. 4).

    loss(x, y) = Σ_l w_l · mean over places and features of (φ_l(x) − φ_l(y))²

φ_l are the maps of layer l of any net: the ReLUs of a classifier or a critic (`layers_of`), or the blocks of Inception
(its `feature_maps`). A mean squared error punishes an edge that is a pixel off like a false one, and is least for a
blurred image; maps of a layer that looks for edges are less particular about their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.capabilities import Adversarial, Classifier, Features, require
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.maths.rewriting import called, of_floats, rewritten

Maps = Sequence[Float[Array, "b ..."]]

RELUS = ("relu", "leaky_relu")
"""Functions of jax by whose names ReLUs are known."""


def perceptual_loss(
    maps: Callable[[Float[Array, "b h w c"]], Maps],
    x: Float[Array, "b h w c"],
    y: Float[Array, "b h w c"],
    weights: Sequence[float] = (),
) -> Float[Array, " b"]:
    """How far apart images are in the maps that a net gives of them, differentiable by both; `weights` of the layers
    are 1 unless told. Raises `UsageError` where there is not a weight for each layer.

    >>> x, y = jnp.zeros((2, 4, 4, 1)), jnp.ones((2, 4, 4, 1))
    >>> perceptual_loss(lambda x: (x, 2 * x.mean(axis=(1, 2))), x, y, (1.0, 0.5)).tolist()
    [3.0, 3.0]
    """
    of_x, of_y = tuple(maps(x)), tuple(maps(y))
    weights = tuple(weights) or (1.0,) * len(of_x)
    if len(weights) != len(of_x):
        raise UsageError(f"wanted a weight for each of {len(of_x)} layers, got {len(weights)}.")
    terms = [w * jnp.square(a - b).reshape(len(x), -1).mean(axis=1) for w, a, b in zip(weights, of_x, of_y)]
    return jnp.stack(terms).sum(axis=0)


def layers_of(model: Any, variables: Variables) -> Callable[[Float[Array, "b h w c"]], list[Array]]:
    """The outputs of the ReLUs by which a model tells what is in images, as floats, 0 to 1: on the way to the features
    of a `Features` model, to the classes of a `Classifier`, or to the critic's scores of an `Adversarial` one.

    Raises `UsageError` for a model that is none of these.
    """
    top = float(model.levels - 1)
    if isinstance(model, Features):
        return lambda x: activations(of_floats(lambda image: model.features(variables, image)))(top * x)
    if isinstance(model, Classifier):
        key = jax.random.key(0)
        return lambda x: activations(of_floats(lambda image: model.class_log_probs(variables, image, key)))(top * x)
    require(model, Adversarial, "give maps of images, in which they could be compared")
    return activations(lambda x: model.critic_scores(variables, x, model.example_condition(len(x))))


def activations(net: Callable[[Array], Any]) -> Callable[[Array], list[Array]]:
    """The function that gives the outputs of a net's ReLUs in the order in which they are computed.

    >>> net = lambda x: jax.nn.relu(2.0 * jax.nn.relu(x)).sum()
    >>> [output.tolist() for output in activations(net)(jnp.array([-1.0, 3.0]))]
    [[0.0, 3.0], [0.0, 6.0]]
    """

    def outputs(x: Array | np.ndarray) -> list[Array]:
        maps: list[Array] = []

        def rule(values: Sequence[Any], results: Sequence[Any]) -> Any:
            maps.append(results[0])
            return results[0]

        rewritten(net, is_relu, rule)(jnp.asarray(x))
        return maps

    return outputs


def is_relu(equation: Any) -> bool:
    """Whether an operation of a jaxpr is a ReLU, leaky or not."""
    return called(equation) is not None and equation.params.get("name") in RELUS
