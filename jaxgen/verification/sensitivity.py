"""Who sees whom: which sub-pixels move the logits of which, held against the context that a model declares.

Two probes, because each is blind to something. The *Jacobian* of the logits by the image is exactly zero where there is
no path, however weak the others are, but steps (x > 0, a table of embeddings) hide from it. *Another value* of one
sub-pixel of a real image shows those. Both in networks with random weights everywhere: a zero initial weight hides a
leak until the first update.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from jaxgen.core.capabilities import Autoregressive
from jaxgen.core.conditions import UNLABELLED, Classes, Map, Vector
from jaxgen.core.images import to_float
from jaxgen.core.model import Batch, Model, Variables

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

LABELS = 12
"""Conditions at most under which it is looked who sees whom: where there are more, these are spread over all."""

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


def _fresh(model: Any, key: Key[Array, ""]) -> Variables:
    start, image = jax.random.split(key)
    return model.init(start, batch_of(model, some_images(model, image, 4), same_condition(model, 4)))


def batch_of(model: Any, image: Any, condition: Any) -> Batch:
    """A batch with these images, and their conditions where a batch has them."""
    batch = {"image": image, "label": jnp.zeros(len(image), jnp.int32)}
    if condition is None:
        return batch
    kind = model.condition
    return batch | {"condition" if isinstance(kind, Vector | Map) else "label": condition}


def _noisy(leaf: Array, draw: np.random.Generator) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating) or not leaf.size:
        return leaf
    spread = float(jnp.sqrt(jnp.mean(jnp.square(leaf))))
    scale = spread / 2 if spread > 0 else min(0.5, math.prod(leaf.shape[:-1]) ** -0.5)
    return leaf + jnp.asarray(scale * draw.standard_normal(leaf.shape), leaf.dtype)


def some_images(model: Any, key: Key[Array, ""], num: int) -> UInt8[Array, "num h w c"]:
    """Images of uniform noise."""
    return jax.random.randint(key, (num, *model.shape), 0, model.levels).astype(jnp.uint8)


def some_conditions(model: Any, most: int) -> list[int]:
    """Numbers of conditions of a model, `most` at most and spread over all that it has; one number where it has none.

    Classes have a number each, and one more is that of no label where some are dropped in training. Vectors and maps
    have as many as are wanted: random ones.
    """
    kind = model.condition
    if isinstance(kind, Vector | Map):
        return list(range(most))
    if isinstance(kind, Classes):
        count = kind.count + bool(kind.dropout)
    else:  # those that come before the first comes again
        rows = [np.asarray(leaf) for leaf in jax.tree.leaves(model.example_condition(most))]
        again = (i for i in range(1, most) if all((leaf[i] == leaf[0]).all() for leaf in rows))
        count = next(again, most) if rows else 1
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most)).round()})


def mixed_condition(model: Any, numbers: Sequence[int], num: int) -> Any:
    """A condition for each of `num` images: the numbers in turn (see `some_conditions`). None without conditions."""
    kind = model.condition
    turn = np.asarray(numbers)[np.arange(num) % len(numbers)]
    if isinstance(kind, Vector | Map):
        features = {which: jax.random.normal(jax.random.key(which), kind.shape(model.shape)) for which in numbers}
        return jnp.stack([features[which] for which in turn.tolist()])
    if isinstance(kind, Classes):
        return jnp.where(turn == kind.count, UNLABELLED, turn).astype(jnp.int32)
    example = model.example_condition(int(turn.max()) + 1)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[turn], example)


def same_condition(model: Any, num: int, which: int = 0) -> Any:
    """The condition number `which` for each of `num` images. None for an unconditional model."""
    return mixed_condition(model, [which], num)


def named(model: Any, which: int) -> str:
    """The condition of that number in words, nothing for an unconditional model."""
    kind = model.condition
    if isinstance(kind, Classes):
        return f" under label {which if which < kind.count else UNLABELLED}"
    return "" if same_condition(model, 1) is None else f" under condition {which}"


Probe = Callable[[Variables, Int[np.ndarray, " some"], Any, int], Float[np.ndarray, "rows columns"]]
"""`(variables, numbers, key, which)`: how far logits move with sub-pixels, at a random image and under the condition
number `which`; see what makes one."""

Logits = Callable[[Variables, Any, Any], Array]
"""`(variables, image, condition)`: logits of `CHUNK` images, compiled."""


def logits_of(model: Autoregressive) -> Logits:
    """The logits of uint8 images, compiled."""
    return jax.jit(
        lambda variables, image, condition: model.logits(variables, to_float(image, model.levels), condition)
    )


def jacobian(model: Autoregressive, chunk: int = CHUNK) -> Probe:
    """How the logits of the sub-pixels of some numbers (rows, `chunk` at a time) move with each sub-pixel (columns).

    Absolute derivatives of a random mean of the logits' levels, at an image of random floats.
    """
    n = math.prod(model.shape)

    @jax.jit
    def some(variables: Variables, rows: Array, key: Any, condition: Any) -> Array:
        for_image, for_levels = jax.random.split(key)
        x, direction = jax.random.uniform(for_image, model.shape), jax.random.normal(for_levels, (model.levels,))
        _, pull = jax.vjp(lambda x: (model.logits(variables, x[None], condition)[0] @ direction).reshape(n), x)
        return jax.vmap(lambda row: jnp.abs(pull(row)[0]).reshape(n))(jax.nn.one_hot(rows, n))

    def probe(variables: Variables, rows: np.ndarray, key: Any, which: int = 0) -> np.ndarray:
        condition = same_condition(model, 1, which)
        parts = [np.asarray(some(variables, part, key, condition)) for part in _chunks(rows, min(chunk, n))]
        return np.concatenate([np.zeros((0, n), np.float32), *parts])[: len(rows)]

    return probe


def steps(model: Autoregressive, logits: Logits) -> Probe:
    """How the logits of each sub-pixel (rows) move when one of the sub-pixels of some numbers (columns) changes.

    The largest move of any level's logit, per unit of x; zero where that is within rounding.
    """
    n = math.prod(model.shape)

    @jax.jit
    def start(key: Any) -> tuple[Array, Array]:
        for_image, for_change = jax.random.split(key)
        change = jax.random.randint(for_change, (n,), 1, model.levels)
        return some_images(model, for_image, 1).reshape(n), change.astype(jnp.uint8)

    def probe(variables: Variables, columns: np.ndarray, key: Any, which: int = 0) -> np.ndarray:
        condition = same_condition(model, CHUNK, which)
        image, change = (np.asarray(a, int) for a in start(key))
        other = (image + change) % model.levels
        plain = np.tile(image.astype(np.uint8), (CHUNK, 1))

        def moves(columns: np.ndarray) -> np.ndarray:
            changed = plain.copy()
            changed[np.arange(CHUNK), columns] = other[columns]
            moved = after(changed)
            return moved * ((model.levels - 1) / np.abs(other - image)[columns, None])

        def run(flat: np.ndarray) -> np.ndarray:
            return np.asarray(logits(variables, flat.reshape(CHUNK, *model.shape), condition))

        after = moved_from(run, plain, n)
        parts = [moves(part) for part in _chunks(columns, CHUNK)]
        return np.concatenate([np.zeros((0, n), np.float32), *parts])[: len(columns)].T

    return probe


def moved_from(
    run: Callable[[np.ndarray], np.ndarray], plain: np.ndarray, places: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of changed images [b,n]: how far each place of `run` moves from those of `plain`, [b,places].

    `run` is the same program on the same images, slot by slot, so that what does not move is the same to the last bit.
    The largest move on further axes; zero where that is within rounding.
    """
    before = run(plain)
    spread = before[np.isfinite(before)].std()

    def moved(changed: np.ndarray) -> np.ndarray:
        after = run(changed)
        change = np.zeros_like(before)
        np.subtract(after, before, where=after != before, out=change)  # an impossible value is −∞ before and after
        change = np.abs(change).reshape(len(changed), places, -1).max(axis=-1)
        return np.where(change > ROUNDING * spread, change, 0)

    return moved


def _chunks(numbers: np.ndarray, size: int) -> np.ndarray:
    """[chunks, size], the last filled up with the first number."""
    if not len(numbers):
        return np.zeros((0, size), int)
    filled = np.append(numbers, np.repeat(numbers[:1], -len(numbers) % size))
    return filled.reshape(-1, size)


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """How far the logits of each sub-pixel (rows) moved with each (columns), at most; `under` the condition of which
    number that was; and in how many random networks and under how many conditions was looked."""

    strength: Float[np.ndarray, "n n"]
    under: Int[np.ndarray, "n n"]
    networks: int
    conditions: int


def sensitivity(
    model: Autoregressive,
    networks: Networks,
    context: Bool[np.ndarray, "n n"],
    key: Key[Array, ""],
    slope: Probe,
    step: Probe,
) -> Seen:
    """Who sees whom by both probes, `jacobian` and `steps` of the model.

    Two networks are probed in full, each under a condition of its own, more where a part of `context` has not been
    seen to act; and under each further condition some sub-pixels.
    """
    n, kinds = len(context), some_conditions(model, LABELS)
    strength, under = np.zeros((n, n)), np.zeros((n, n), int)

    def look(number: int, rows: np.ndarray, columns: np.ndarray, which: int) -> None:
        for_weights, for_slope, for_step = jax.random.split(jax.random.fold_in(key, number), 3)
        variables = networks(model, for_weights)
        for at, movement in (
            ((rows, slice(None)), slope(variables, rows, for_slope, which)),
            ((slice(None), columns), step(variables, columns, for_step, which)),
        ):
            under[at] = np.where(movement > strength[at], which, under[at])
            strength[at] = np.maximum(strength[at], movement)

    looked = NETWORKS
    for number in range(NETWORKS):
        missing = context & (strength == 0)
        rows = np.flatnonzero(missing.any(axis=1)) if number >= 2 else np.arange(n)
        columns = np.flatnonzero(missing.any(axis=0)) if number >= 2 else np.arange(n)
        if not len(rows):
            looked = number
            break
        look(number, rows, columns, kinds[number % len(kinds)])
    draw = np.random.default_rng(0)
    for number, which in enumerate(kinds[2:]):
        rows, columns = (draw.permutation(n)[:CHUNK] for _ in range(2))
        look(number % 2, rows, columns, which)
    return Seen(strength, under, looked, len(kinds))


def site(number: Any, shape: tuple[int, ...]) -> Site:
    """Row, column and channel of a sub-pixel by its number."""
    r, c, k = (int(i) for i in np.unravel_index(int(number), shape))
    return r, c, k
