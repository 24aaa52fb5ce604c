"""How one objective's gradient is taken: on the whole batch, in microbatches, and by each device on its own share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgen.core.errors import UsageError
from jaxgen.core.keys import at_places, shared_by
from jaxgen.core.model import Batch, Objective, Variables
from jaxgen.engine.devices.mesh import spread
from jaxgen.engine.state import own_params

Gradient = Callable[[Variables, Batch, Any], tuple[Any, dict[str, Any], Variables]]
"""`(variables, batch, key) ->` gradients of the objective's own subtrees, its metrics, updates of other collections."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a step lies on the devices.

    `axis` names the mapped axis under pmap. Over a `mesh` the batch is sharded: a separable objective is then
    differentiated by each device on its own share, and under `spread` each receives its share of the averaged gradient
    only. `microbatches` says in how many each objective takes its batch (None: as the recipe says), and with `unrolled`
    they are no loop, inside which XLA-CPU runs gradient convolutions many times slower.
    """

    axis: str | None = None
    mesh: Mesh | None = None
    microbatches: tuple[int, ...] | None = None
    unrolled: bool = False
    spread: bool = False


def objective_gradient(objective: Objective, layout: Layout, count: int, shown: set[str]) -> Gradient:
    """The gradient of one objective in that layout, in `count` microbatches. `shown` receives the names of the metrics
    that the progress line has, while the gradient is traced."""

    def gradient(variables: Variables, batch: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
        gradient = _in_microbatches(objective, variables, batch, key, count, layout.unrolled, shown)
        return gradient if layout.axis is None else lax.pmean(gradient, layout.axis)

    mesh = layout.mesh
    if layout.axis is None and mesh is not None and mesh.devices.size > 1 and objective.examples == "separable":
        return _over_devices(objective, gradient, mesh, layout.spread)
    if layout.axis is None and mesh is not None and mesh.devices.size > 1:
        return _by_the_compiler(gradient, mesh)
    return gradient


def _by_the_compiler(gradient: Gradient, mesh: Mesh) -> Gradient:
    """`gradient`, which the compiler shares out as the batch is; so draws that belong to its examples."""
    by_rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))

    def share(x: Any) -> Any:
        return x if len(x) % mesh.devices.size else lax.with_sharding_constraint(x, by_rows)

    def shared(variables: Variables, batch: Batch, key: Any) -> Any:
        with shared_by(share):
            return gradient(variables, batch, key)

    return shared


def _over_devices(objective: Objective, gradient: Gradient, mesh: Mesh, shared_out: bool) -> Gradient:
    """`gradient`, by each device on its share of the batch: the same as leaving it to the compiler, but for rounding,
    and no operation has to be partitioned."""
    name, everywhere = mesh.axis_names[0], PartitionSpec()

    def mean(grad: Any, share: PartitionSpec) -> Any:
        if share == everywhere:
            return lax.pmean(grad, name)
        total = lax.psum_scatter(grad, name, scatter_dimension=len(share) - 1, tiled=True)
        return (total / mesh.devices.size).astype(grad.dtype)

    def differentiate(variables: Variables, batch: Batch, key: Any) -> Any:
        params = own_params(variables["params"], objective)
        shares = spread(mesh, params) if shared_out else jax.tree.map(lambda leaf: everywhere, params)

        def local(variables: Variables, batch: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
            share = len(jax.tree.leaves(batch)[0])
            with at_places(lax.axis_index(name) * share):
                grads, metrics, updates = gradient(variables, batch, key)
            return jax.tree.map(mean, grads, shares), lax.pmean(metrics, name), lax.pmean(updates, name)

        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(everywhere, PartitionSpec(name), everywhere),
            out_specs=(shares, everywhere, everywhere),
            check_vma=False,  # a loop's carry starts as zeros, the same on all devices, and ends as a device's own
        )(variables, batch, key)

    return differentiate


def _in_microbatches(
    objective: Objective, variables: Variables, batch: Batch, key: Any, count: int, unrolled: bool, shown: set[str]
) -> tuple[Any, dict[str, Any], Variables]:
    params = variables["params"]

    def one(updates: Variables, part: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
        def loss(own: dict[str, Any]) -> tuple[Any, Any]:
            return objective.loss({**variables, **updates, "params": {**params, **own}}, part, key)

        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(own_params(params, objective))
        if "params" in aux.updates:
            raise UsageError(
                f"objective '{objective.name}' gives updates of 'params', which its gradient moves: return those of "
                "other collections, or change parameters in `after`."
            )
        shown.update(aux.shown)
        scalars = {**aux.metrics, **aux.shown, "loss": value}
        metrics = {name: jnp.asarray(m, jnp.float32) for name, m in scalars.items()}
        return grads, metrics, {**updates, **aux.updates}

    if count == 1:
        return one({}, batch, key)
    # Microbatch j has examples j, j+count, …: so each device keeps its own share of every one.
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)

    def body(carry: Any, numbered: Any) -> tuple[Any, None]:
        number, part = numbered
        total, updates = carry
        own = key if objective.examples == "separable" else jax.random.fold_in(key, number)
        with at_places(number, count):
            grads, metrics, updates = one(updates, part, own)
        return (jax.tree.map(jnp.add, total, (grads, metrics)), updates), None

    first = jax.tree.map(lambda x: x[0], parts)
    grads, metrics, updates = jax.eval_shape(one, {}, first, key)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (grads, metrics))
    carry = (zeros, {name: variables[name] for name in updates})
    if not unrolled:
        carry, _ = lax.scan(body, carry, (jnp.arange(count), parts))
    else:
        for j in range(count):
            part = jax.tree.map(lambda x, j=j: x[j], parts)
            part, carry = lax.optimization_barrier((part, carry))  # one after another, as in the loop
            carry, _ = body(carry, (jnp.int32(j), part))
    total, updates = carry
    grads, metrics = jax.tree.map(lambda x: (x / count).astype(x.dtype), total)
    return grads, metrics, updates
