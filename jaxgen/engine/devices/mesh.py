"""One named device mesh for training, evaluation and sampling, and the settings that make a CPU worth using.

Batches are sharded over the axis `"data"`; everything else is replicated, or, for models that outgrow a device,
spread over the same axis leaf by leaf. The mesh has Auto axes, so that ordinary code (a gradient of a batch loss,
`x[0]`, `reshape`) is partitioned by the compiler without annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgen.core.errors import UsageError


def place(tree: Any, sharding: jax.sharding.NamedSharding) -> Any:
    """Host arrays (the same in every process) as global arrays of this sharding."""

    def one(array: Any) -> jax.Array:
        array = np.asarray(array)
        if jax.process_count() == 1:
            return jax.device_put(array, sharding)
        return jax.make_array_from_callback(array.shape, sharding, lambda where: array[where])

    return jax.tree.map(one, tree)


AXIS = "data"


LEAST_SPREAD = 1024
"""Elements from which on a leaf is worth spreading: below that, gathering costs more than it saves."""


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-dimensional mesh over `devices` (all devices of all processes by default), its axis named "data"."""
    chosen = list(jax.devices() if devices is None else devices)
    return Mesh(np.asarray(chosen), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The devices share the array along `axis`, the batch."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def spread(mesh: Mesh, tree: Any) -> Any:
    """The `PartitionSpec` of each leaf of a tree in which every device keeps a share: along its longest axis that the
    devices divide (the last of equals), whole where there is none or the leaf is small."""
    count = mesh.devices.size

    def one(leaf: Any) -> PartitionSpec:
        fits = [axis for axis, size in enumerate(leaf.shape) if size % count == 0]
        if not fits or leaf.size < max(LEAST_SPREAD, count):
            return PartitionSpec()
        longest = max(fits, key=lambda axis: (leaf.shape[axis], axis))
        return PartitionSpec(*[None] * longest, AXIS)

    return jax.tree.map(one, tree)


def whole(mesh: Mesh, tree: Any) -> Any:
    """The same arrays, each whole on every device: what is spread is gathered, the rest is as it was."""
    if all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)


def on_cpu(mesh: Mesh) -> bool:
    """Whether the mesh is made of (virtual) CPU devices, where loops and queued steps must be avoided."""
    return mesh.devices.flat[0].platform == "cpu"


def check_batch(mesh: Mesh, batch: int, name: str = "batch") -> None:
    """Raises `UsageError` unless the devices can share the batch evenly."""
    count = mesh.devices.size
    if batch < 1 or batch % count:
        near = max(count, round(batch / count) * count)
        raise UsageError(
            f"{name} must be a positive multiple of the {count} devices that share it, got {batch}: "
            f"use {name} {near}, or fewer devices."
        )
