"""Scoring a whole split: the means of a model's own figures over its examples, with their standard errors.

The last batch is padded to the size of the others and its padding dropped, so that one program serves the split and
every example counts once. Batches are sharded over the mesh.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxgen.core.capabilities import Density, ImportanceWeighted, Scored, require
from jaxgen.core.conditions import Map, Text, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.core.model import Batch, Model, Variables
from jaxgen.data.dataset import Transform, check_split, padded_batches, split_arrays
from jaxgen.engine.devices.mesh import AXIS, make_mesh, on_cpu, place, replicated, sharded

Scores = dict[str, np.ndarray]
"""float64[examples] by the figure's name."""


def evaluate(model: Scored, variables: Variables, split: Any, **options: Any) -> dict[str, Any]:
    """A model's figures of a whole split; `options` and errors are those of `scores`.

    Returns each figure's mean under its name and the standard error of that mean under "NAME_stderr" (of these examples
    as draws from all there could be), "count" of examples, and for a `Density` "bound": True where the model gives a
    bound.
    """
    return summary(model, scores(model, variables, split, **options))


def summary(model: Scored, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What `evaluate` returns, from the figures of each example."""
    count = len(next(iter(scores.values())))
    means: dict[str, Any] = {name: float(x.mean()) for name, x in scores.items()}
    spreads = dict(scores)
    for name, (above, below) in model.ratios.items():
        means[name] = means[above] / means[below]
        spreads[name] = (scores[above] - means[name] * scores[below]) / means[below]  # to first order (delta method)
    errors = {f"{name}_stderr": float(x.std(ddof=1) / np.sqrt(count)) for name, x in spreads.items() if count > 1}
    return means | errors | {"count": count} | ({"bound": not model.exact} if isinstance(model, Density) else {})


def mixture(members: Sequence[Scores], shape: tuple[int, int, int]) -> Scores:
    """The scores of the mixture of several densities with equal weights, from theirs: log p = lse_k log p_k − log K.
    Of bounds it is a bound."""
    nats = np.log(len(members)) - np.logaddexp.reduce(-np.stack([scores["nats"] for scores in members]), axis=0)
    return {"nats": nats, "bits_per_dim": bits_per_dim(nats, shape)}


def scores(
    model: Scored,
    variables: Variables,
    split: Any,
    *,
    transform: Transform | None = None,
    mesh: Mesh | None = None,
    batch: int = 100,
    key: Any = None,
    draws: int = 1,
    iw_samples: int | None = None,
) -> Scores:
    """A model's figures of each example of a split, under `transform` with train=False.

    `batch` is rounded up to a multiple of the devices. Bounds and transforms that draw use a key per batch, made
    from `key` (default `jax.random.key(0)`): the draws depend on `batch`, not on the devices. Of several `draws` the
    figures are the means. With `iw_samples` K the likelihood is the bound L_K of an `ImportanceWeighted` model.

    Raises `UsageError` for an empty split, and for one that lacks what the model is conditioned on: a model that was
    trained with labels dropped scores images without any by its unconditional distribution.
    """
    if len(split) == 0:
        raise UsageError("the split to evaluate is empty: it needs at least one image.")
    if iw_samples is not None:
        require(model, ImportanceWeighted, "give the bound L_K by importance samples")
    for name, value in (("draws", draws), ("iw_samples", 1 if iw_samples is None else iw_samples)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}.")
    check_split(model.check_scored, split, transform)
    mesh = make_mesh() if mesh is None else mesh
    key = jax.random.key(0) if key is None else key
    count = mesh.devices.size
    batch = -(-min(batch, len(split)) // count) * count
    program = _program(model, transform, mesh, iw_samples)
    keys = [key if draw == 0 else jax.random.fold_in(key, 2**31 + draw) for draw in range(draws)]
    if jax.process_count() == 1:  # in many, what training gives is already global
        variables, keys = jax.device_put((variables, keys), replicated(mesh))
    rows: list[Scores] = []
    for number, (data, _) in enumerate(padded_batches(split, batch)):
        placed = place(data, sharded(mesh))
        total: Any = None
        for one in keys:
            part = program(variables, placed, one, np.int32(number))
            if on_cpu(mesh):
                part = jax.tree.map(np.asarray, part)  # one program in flight: queued exchanges starve each other there
            part = part if draws == 1 else jax.tree.map(lambda x: np.asarray(x, np.float64), part)
            total = part if total is None else jax.tree.map(np.add, total, part)
        rows.append(total)
    names = rows[0]
    return {n: np.concatenate([np.asarray(f[n], np.float64) for f in rows])[: len(split)] / draws for n in names}


def example_condition(model: Model, dataset: Any, num: int) -> Any:
    """A condition for `num` images to show what the model does: its own example, or for a model of vectors, maps or
    sentences those of the first validation images, again and again where they are fewer."""
    if not isinstance(model.condition, Vector | Map | Text):
        return model.example_condition(num)
    batch = {name: array[np.arange(num) % len(array)] for name, array in split_arrays(dataset.valid).items()}
    if dataset.transform is not None:
        batch = jax.jit(dataset.transform, static_argnums=2)(batch, jax.random.key(0), False)
    return np.asarray(model.condition_of(batch))


def _scores(model: Any, variables: Variables, batch: Batch, key: Any, mesh: Mesh, iw_samples: int | None) -> Any:
    """The model's, of a batch sharded over the mesh. Where examples are scored each by itself, a device computes those
    of its own share, on a CPU piece by piece where the model asks for that: the same numbers, from maps that fit the
    cache."""

    def score(variables: Variables, batch: Batch, key: Any) -> Any:
        if iw_samples is None:
            return model.scores(variables, batch, key)
        nats = -model.iwae_bound(variables, batch["image"], key, iw_samples, model.condition_of(batch))
        return {"nats": nats, "bits_per_dim": bits_per_dim(nats, model.shape)}

    def in_pieces(variables: Variables, batch: Batch, key: Any) -> Any:
        piece, share = model.piece, len(jax.tree.leaves(batch)[0])
        if not on_cpu(mesh) or not piece or share % piece or share == piece:
            return score(variables, batch, key)
        parts = jax.tree.map(lambda x: x.reshape(-1, piece, *x.shape[1:]), batch)
        rows = lax.map(lambda part: score(variables, part, key), parts)
        return jax.tree.map(lambda x: x.reshape(-1), rows)

    if not (model.by_example or (isinstance(model, Density) and model.exact)):
        return score(variables, batch, key)
    if mesh.devices.size == 1:
        return in_pieces(variables, batch, key)
    everywhere, shared = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        in_pieces, mesh=mesh, in_specs=(everywhere, shared, everywhere), out_specs=shared, check_vma=False
    )(variables, batch, key)


@functools.lru_cache(maxsize=16)
def _program(model: Scored, transform: Transform | None, mesh: Mesh, iw_samples: int | None) -> Callable[..., Any]:
    """The compiled scores of one batch; models and transforms are hashable, so it is kept."""

    def score(variables: Variables, data: Batch, key: Any, number: Any) -> Any:
        drawn = jax.random.fold_in(key, number)
        for_transform, for_model = jax.random.split(drawn)
        if transform is not None:
            data = transform(data, for_transform, False)
        figures = _scores(model, variables, data, for_model, mesh, iw_samples)
        for name, x in figures.items():
            wanted = jax.tree.leaves(data)[0].shape[:1]
            if x.shape != wanted:
                raise UsageError(
                    f"{type(model).__name__} gives the figure '{name}' the shape {list(x.shape)} for {wanted[0]} "
                    "examples: it must be one number for each, summed over pixels."
                )
        return figures

    everywhere = replicated(mesh)
    shardings = (None, sharded(mesh), everywhere, everywhere)
    return jax.jit(score, in_shardings=shardings, out_shardings=everywhere)
