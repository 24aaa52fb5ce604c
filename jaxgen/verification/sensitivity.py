"""Who sees whom: which sub-pixels move the logits of which, held against the context that a model declares.

Two probes, because each is blind to something. The *Jacobian* of the logits by the image is exactly zero where there is
no path, however weak the others are, but steps (x > 0, a table of embeddings) hide from it. *Another value* of one
sub-pixel of a real image shows those. Both in networks with random weights everywhere: a zero initial weight hides a
leak until the first update.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from jaxgen.core.capabilities import Autoregressive
from jaxgen.core.conditions import Map, Vector
from jaxgen.core.images import to_float
from jaxgen.core.model import Model, Variables

Site = tuple[int, int, int]
"""A sub-pixel: (row, column, channel)."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What the logits of the sub-pixel `at` see: `declared`, really `seen`, and `before` it in the model's order."""

    at: Site
    declared: Bool[np.ndarray, "h w c"]
    seen: Bool[np.ndarray, "h w c"]
    before: Bool[np.ndarray, "h w c"]


NETWORKS = 24
"""Random networks at most; only the first two are probed in full, the others where something is still unseen."""

CHUNK = 32
"""Rows of a Jacobian, or images, at a time."""

ROUNDING = 1e-5
"""A step of the logits counts from this share of their spread: the same image can differ by rounding."""


class Networks:
    """Random variables for a model at any size: fresh ones with noise on every parameter, of half its leaf's root mean
    square. Leaves that start at zero get noise of 1/√(inputs), at most ½: what keeps features of order one.

    Most models have the same parameters at every size: one program makes the variables of all that have them.
    """

    def __init__(self) -> None:
        self._programs: dict[Any, Callable[[Any], Variables]] = {}
        self._of: dict[int, tuple[Model, Callable[[Any], Variables]]] = {}

    def __call__(self, model: Model, key: Key[Array, ""]) -> Variables:
        start, noise = jax.random.split(key)
        if id(model) not in self._of:
            leaves, tree = jax.tree.flatten(jax.eval_shape(lambda key: _fresh(model, key), start))
            form = tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
            program = self._programs.setdefault(form, jax.jit(lambda key: _fresh(model, key)))
            self._of[id(model)] = model, program
        variables = self._of[id(model)][1](start)
        # By NumPy: a program that draws for every leaf takes seconds to compile.
        draw = np.random.default_rng(np.asarray(jax.random.key_data(noise)))
        return {**variables, "params": jax.tree.map(lambda leaf: _noisy(leaf, draw), variables["params"])}


def _fresh(model: Model, key: Key[Array, ""]) -> Variables:
    start, image = jax.random.split(key)
    return model.init(start, {"image": some_images(model, image, 4), "label": jnp.zeros(4, jnp.int32)})


def _noisy(leaf: Array, draw: np.random.Generator) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating) or not leaf.size:
        return leaf
    spread = float(jnp.sqrt(jnp.mean(jnp.square(leaf))))
    scale = spread / 2 if spread > 0 else min(0.5, math.prod(leaf.shape[:-1]) ** -0.5)
    return leaf + jnp.asarray(scale * draw.standard_normal(leaf.shape), leaf.dtype)


def some_images(model: Model, key: Key[Array, ""], num: int) -> UInt8[Array, "num h w c"]:
    """Images of uniform noise."""
    return jax.random.randint(key, (num, *model.shape), 0, model.levels).astype(jnp.uint8)


def is_conditional(model: Model) -> bool:
    """Whether the model is conditioned on something."""
    return same_condition(model, 1) is not None


def same_condition(model: Model, num: int, which: int = 0) -> Any:
    """A condition for each of `num` images, the same for all: the model's own example number `which`, or random
    numbers where it is conditioned on vectors or maps. None for an unconditional model."""
    kind = getattr(model, "condition", None)
    if isinstance(kind, Vector | Map):
        tail = (kind.size,) if isinstance(kind, Vector) else (*model.shape[:2], kind.channels)
        return jnp.broadcast_to(jax.random.normal(jax.random.key(which), tail), (num, *tail))
    example = model.example_condition(which + 1)
    return jax.tree.map(lambda a: jnp.repeat(jnp.asarray(a)[which : which + 1], num, axis=0), example)


Probe = Callable[[Variables, Int[np.ndarray, " some"], Any], Float[np.ndarray, "rows columns"]]
"""`(variables, numbers, key)`: how far logits move with sub-pixels, at a random image; see what makes one."""


def jacobian(model: Autoregressive, chunk: int = CHUNK) -> Probe:
    """How the logits of the sub-pixels of some numbers (rows, `chunk` at a time) move with each sub-pixel (columns).

    Absolute derivatives of a random mean of the logits' levels, at an image of random floats.
    """
    n, condition = math.prod(model.shape), same_condition(model, 1)

    @jax.jit
    def some(variables: Variables, rows: Array, key: Any) -> Array:
        for_image, for_levels = jax.random.split(key)
        x, direction = jax.random.uniform(for_image, model.shape), jax.random.normal(for_levels, (model.levels,))
        _, pull = jax.vjp(lambda x: (model.logits(variables, x[None], condition)[0] @ direction).reshape(n), x)
        return jax.vmap(lambda row: jnp.abs(pull(row)[0]).reshape(n))(jax.nn.one_hot(rows, n))

    def probe(variables: Variables, rows: np.ndarray, key: Any) -> np.ndarray:
        parts = [np.asarray(some(variables, part, key)) for part in _chunks(rows, min(chunk, n))]
        return np.concatenate([np.zeros((0, n), np.float32), *parts])[: len(rows)]

    return probe


def steps(model: Autoregressive) -> Probe:
    """How the logits of each sub-pixel (rows) move when one of the sub-pixels of some numbers (columns) changes.

    The largest move of any level's logit, per unit of x; zero where that is within rounding.
    """
    n = math.prod(model.shape)
    size = min(CHUNK, n)
    condition = same_condition(model, size)

    @jax.jit
    def start(key: Any) -> tuple[Array, Array]:
        for_image, for_change = jax.random.split(key)
        change = jax.random.randint(for_change, (n,), 1, model.levels)
        return some_images(model, for_image, 1).reshape(n), change.astype(jnp.uint8)

    @jax.jit
    def logits(variables: Variables, image: Array) -> Array:
        return model.logits(variables, to_float(image.reshape(-1, *model.shape), model.levels), condition)

    def probe(variables: Variables, columns: np.ndarray, key: Any) -> np.ndarray:
        image, change = (np.asarray(a, int) for a in start(key))
        other = (image + change) % model.levels
        # The same program on the same image, slot by slot, so that what does not move is the same to the last bit.
        plain = np.asarray(logits(variables, np.tile(image.astype(np.uint8), (size, 1))))
        spread, parts = plain[np.isfinite(plain)].std(), [np.zeros((0, n), np.float32)]
        for part in _chunks(columns, size):
            changed = np.tile(image.astype(np.uint8), (size, 1))
            changed[np.arange(size), part] = other[part]
            after = np.asarray(logits(variables, changed))
            moved = np.zeros_like(plain)
            np.subtract(after, plain, where=after != plain, out=moved)  # an impossible value is −∞ before and after
            moved = np.abs(moved).max(axis=-1).reshape(size, n)
            moved = np.where(moved > ROUNDING * spread, moved, 0)
            parts.append(moved * ((model.levels - 1) / np.abs(other - image)[part, None]))
        return np.concatenate(parts)[: len(columns)].T

    return probe


def _chunks(numbers: np.ndarray, size: int) -> np.ndarray:
    """[chunks, size], the last filled up with the first number."""
    if not len(numbers):
        return np.zeros((0, size), int)
    filled = np.append(numbers, np.repeat(numbers[:1], -len(numbers) % size))
    return filled.reshape(-1, size)


def sensitivity(
    model: Autoregressive, networks: Networks, context: Bool[np.ndarray, "n n"], key: Key[Array, ""]
) -> tuple[Float[np.ndarray, "n n"], int]:
    """How far the logits of each sub-pixel (rows) moved with each (columns), at most, and in how many networks.

    Two networks are probed in full by both probes, more where a part of `context` has not been seen to act.
    """
    n = len(context)
    slope, step = jacobian(model), steps(model)
    strength = np.zeros((n, n))
    for number in range(NETWORKS):
        missing = context & (strength == 0)
        rows = np.flatnonzero(missing.any(axis=1)) if number >= 2 else np.arange(n)
        columns = np.flatnonzero(missing.any(axis=0)) if number >= 2 else np.arange(n)
        if not len(rows):
            return strength, number
        for_weights, for_slope, for_step = jax.random.split(jax.random.fold_in(key, number), 3)
        variables = networks(model, for_weights)
        strength[rows] = np.maximum(strength[rows], slope(variables, rows, for_slope))
        strength[:, columns] = np.maximum(strength[:, columns], step(variables, columns, for_step))
    return strength, NETWORKS


def site(number: Any, shape: tuple[int, ...]) -> Site:
    """Row, column and channel of a sub-pixel by its number."""
    r, c, k = (int(i) for i in np.unravel_index(int(number), shape))
    return r, c, k
