"""Scoring a whole split: nats and bits per dimension, and the baselines that they are compared with.

The last batch is padded to the size of the others and its padding dropped, so that one program serves the split and
every image counts once. Batches are sharded over the mesh.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxgen.core.capabilities import Density
from jaxgen.core.conditions import Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.core.model import Batch, Model, Variables
from jaxgen.data.dataset import Transform, check_split, padded_batches, split_arrays
from jaxgen.engine.devices.mesh import AXIS, make_mesh, on_cpu, place, replicated, sharded


def evaluate(model: Density, variables: Variables, split: Any, **options: Any) -> dict[str, Any]:
    """The mean negative log-likelihood of every image of a split; `options` and errors are those of `log_probs`.

    Returns "nats" per image, "bits_per_dim", "count" of images, and "bound": True where the model gives a bound.
    """
    return figures(log_probs(model, variables, split, **options), model.shape, bound=not model.exact)


def figures(log_prob: np.ndarray, shape: tuple[int, int, int], bound: bool) -> dict[str, Any]:
    """What `evaluate` returns, from the log-likelihood of each image in nats."""
    nats = -float(log_prob.mean())
    return {"nats": nats, "bits_per_dim": float(bits_per_dim(nats, shape)), "count": len(log_prob), "bound": bound}


def mixture(log_probs: Sequence[np.ndarray]) -> np.ndarray:
    """float64[images]: log p = lse_k log p_k − log K, the models having equal weights. Of bounds it is a bound."""
    return np.logaddexp.reduce(np.stack(log_probs), axis=0) - np.log(len(log_probs))


def log_probs(
    model: Density,
    variables: Variables,
    split: Any,
    *,
    transform: Transform | None = None,
    mesh: Mesh | None = None,
    batch: int = 100,
    key: Any = None,
) -> np.ndarray:
    """float64[images]: the log-likelihood in nats of each image of a split, under `transform` with train=False.

    `batch` is rounded up to a multiple of the devices. Bounds and transforms that draw use a key per batch, made
    from `key` (default `jax.random.key(0)`): the draws depend on `batch`, not on the devices.

    Raises `UsageError` for an empty split, and for one that lacks what the model is conditioned on: a model that was
    trained with labels dropped scores images without any by its unconditional distribution.
    """
    if len(split) == 0:
        raise UsageError("the split to evaluate is empty: it needs at least one image.")
    check_split(model.check_scored, split, transform)
    mesh = make_mesh() if mesh is None else mesh
    key = jax.random.key(0) if key is None else key
    count = mesh.devices.size
    batch = -(-min(batch, len(split)) // count) * count
    program = _program(model, transform, mesh)
    if jax.process_count() == 1:  # in many, what training gives is already global
        variables, key = jax.device_put((variables, key), replicated(mesh))
    found: list[Any] = []
    for number, (data, _) in enumerate(padded_batches(split, batch)):
        placed = place(data, sharded(mesh))
        found.append(program(variables, placed, key, np.int32(number)))
        if on_cpu(mesh):
            found[-1] = np.asarray(found[-1])  # one program in flight: queued exchanges starve each other there
    return np.concatenate([np.asarray(row, np.float64) for row in found])[: len(split)]


def example_condition(model: Model, dataset: Any, num: int) -> Any:
    """A condition for `num` images to show what the model does: its own example, or for a model of vectors or maps
    those of the first validation images, again and again where they are fewer."""
    if not isinstance(getattr(model, "condition", None), Vector | Map):
        return model.example_condition(num)
    batch = {name: array[np.arange(num) % len(array)] for name, array in split_arrays(dataset.valid).items()}
    if dataset.transform is not None:
        batch = jax.jit(dataset.transform, static_argnums=2)(batch, jax.random.key(0), False)
    return np.asarray(model.condition_of(batch))


def _log_prob(model: Density, variables: Variables, batch: Batch, key: Any, mesh: Mesh) -> Any:
    """The model's, of a batch sharded over the mesh. An exact one is computed by each device on its own share, on a CPU
    piece by piece where the model asks for that: the same numbers, from maps that fit the cache."""

    def score(variables: Variables, batch: Batch, key: Any) -> Any:
        return model.log_prob(variables, batch["image"], key, model.condition_of(batch))

    def in_pieces(variables: Variables, batch: Batch, key: Any) -> Any:
        piece, share = model.piece, len(batch["image"])
        if not on_cpu(mesh) or not piece or share % piece or share == piece:
            return score(variables, batch, key)
        parts = jax.tree.map(lambda x: x.reshape(-1, piece, *x.shape[1:]), batch)
        return lax.map(lambda part: score(variables, part, key), parts).reshape(-1)

    if not model.exact:
        return score(variables, batch, key)
    if mesh.devices.size == 1:
        return in_pieces(variables, batch, key)
    everywhere, shared = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        in_pieces, mesh=mesh, in_specs=(everywhere, shared, everywhere), out_specs=shared, check_vma=False
    )(variables, batch, key)


@functools.lru_cache(maxsize=16)
def _program(model: Density, transform: Transform | None, mesh: Mesh) -> Callable[..., Any]:
    """The compiled log-probabilities of one batch; models and transforms are hashable, so it is kept."""

    def score(variables: Variables, data: Batch, key: Any, number: Any) -> Any:
        drawn = jax.random.fold_in(key, number)
        for_transform, for_model = jax.random.split(drawn)
        if transform is not None:
            data = transform(data, for_transform, False)
        return _log_prob(model, variables, data, for_model, mesh)

    everywhere = replicated(mesh)
    shardings = (None, sharded(mesh), everywhere, everywhere)
    return jax.jit(score, in_shardings=shardings, out_shardings=everywhere)
