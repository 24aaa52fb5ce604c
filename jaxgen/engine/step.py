"""What a run is made of, its state, and the one train step that serves every family.

A step takes the objectives in their order. Each differentiates its loss with respect to the parameter subtrees that it
trains and no others, moves them with its own optimiser state, and hands the new variables to the next. No line here
knows which family is trained.

Keys: step t uses `fold_in(state.key, t)`, from which the transform and each objective get a key by their names; under
pmap the device's index is folded in as well, and gradients, metrics and running statistics are averaged over devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxgen.core.keys import placed
from jaxgen.core.model import Batch, Objective, Variables
from jaxgen.data.dataset import Transform
from jaxgen.engine.devices.mesh import spread
from jaxgen.engine.gradient import objective_gradient
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import TrainState, named, optimizer_of, own_params


def make_step(
    recipe: Recipe,
    transform: Transform | None = None,
    axis: str | None = None,
    *,
    mesh: Mesh | None = None,
    acting: tuple[bool, ...] | None = None,
    pieces: tuple[int, ...] | None = None,
    loops: bool = True,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]:
    """The pure step `(state, batch) -> (state, metrics)`, metrics being float32 scalars.

    They are the objective's own, with "loss" and "grad_norm" (before clipping), behind "name/" where there are
    several objectives; NaN for an objective that did not act in this step.

    `axis` names the mapped axis under pmap. With a `mesh` over which the batch is sharded, a separable objective is
    differentiated by each device on its own share and the gradients are averaged, in one program: the same as leaving
    it to the compiler, but for rounding, and no operation has to be partitioned. Under "fsdp" each device then receives
    its share of the averaged gradient only, and moves its share of the parameters. `acting` says which objectives act,
    for a caller who knows the step (None: decided inside by `lax.cond`), `pieces` in how many pieces each takes its
    batch (None: as the recipe says), and `loops=False` unrolls that accumulation. On a CPU the first and the last avoid
    gradient convolutions inside control flow, which XLA-CPU runs many times slower.
    """
    objectives = recipe.model.objectives()
    parts = pieces or (recipe.accumulate or 1,) * len(objectives)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        key = jax.random.fold_in(state.key, state.step)
        if axis is not None:
            key = jax.random.fold_in(key, lax.axis_index(axis))
        if transform is not None:
            batch = transform(batch, named(key, "transform"), True)
        variables, opt_states, faults = state.variables, [], []
        logged: dict[str, Any] = {}
        for i, objective in enumerate(objectives):
            act = _actor(recipe, objective, axis, mesh, parts[i], loops)
            operands = (variables, state.opt_states[i], batch, named(key, f"objective/{objective.name}"))
            if acting is not None:
                now: Any = act if acting[i] else _rest(act)
                variables, opt_state, metrics, finite = now(*operands)
            elif objective.every == 1:
                variables, opt_state, metrics, finite = act(*operands)
            else:
                due = state.step % objective.every == 0
                variables, opt_state, metrics, finite = lax.cond(due, act, _rest(act), *operands)
            opt_states.append(opt_state)
            faults.append(jnp.where((state.fault[i] < 0) & ~finite, state.step, state.fault[i]))
            prefix = f"{objective.name}/" if len(objectives) > 1 else ""
            logged |= {prefix + name: value for name, value in metrics.items()}
        ema = state.ema
        if ema is not None:
            t = state.step.astype(jnp.float32)
            decay = jnp.minimum(recipe.ema, (1 + t) / (10 + t))
            ema = jax.tree.map(lambda a, b: (decay * a + (1 - decay) * b).astype(a.dtype), ema, variables["params"])
        state = TrainState(state.step + 1, state.key, variables, tuple(opt_states), ema, jnp.stack(faults))
        return state, logged

    return step


def _actor(
    recipe: Recipe, objective: Objective, axis: str | None, mesh: Mesh | None, pieces: int, loops: bool
) -> Callable[..., Any]:
    """One objective's share of a step: (variables, opt_state, batch, key) -> the same two, metrics, finite."""
    optimizer = optimizer_of(recipe, objective)

    def gradient(variables: Variables, batch: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
        found = objective_gradient(objective, variables, batch, key, pieces, loops)
        return found if axis is None else lax.pmean(found, axis)

    def over_devices(mesh: Mesh, own: Any) -> Callable[..., Any]:
        """`gradient`, by each device on its share of the batch; `own` are the parameters that it is for."""
        name, everywhere = mesh.axis_names[0], PartitionSpec()
        shares = spread(mesh, own) if recipe.parallel == "fsdp" else jax.tree.map(lambda leaf: everywhere, own)

        def mean(grad: Any, share: PartitionSpec) -> Any:
            if share == everywhere:
                return lax.pmean(grad, name)
            total = lax.psum_scatter(grad, name, scatter_dimension=len(share) - 1, tiled=True)
            return (total / mesh.devices.size).astype(grad.dtype)

        def local(variables: Variables, batch: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
            share = len(jax.tree.leaves(batch)[0])
            with placed(lax.axis_index(name) * share):
                grads, metrics, updates = gradient(variables, batch, key)
            return jax.tree.map(mean, grads, shares), lax.pmean(metrics, name), lax.pmean(updates, name)

        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(everywhere, PartitionSpec(name), everywhere),
            out_specs=(shares, everywhere, everywhere),
            check_vma=False,  # a loop's carry starts as zeros, the same on all devices, and ends as a device's own
        )

    def act(variables: Variables, opt_state: Any, batch: Batch, key: Any) -> tuple[Any, Any, Any, Any]:
        params = variables["params"]
        own = own_params(params, objective)
        differentiate = gradient
        if axis is None and mesh is not None and mesh.devices.size > 1 and objective.separable:
            differentiate = over_devices(mesh, own)
        grads, metrics, updates = differentiate(variables, batch, key)
        norm = optax.tree.norm(grads).astype(jnp.float32)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(norm)
        if recipe.clip is not None:
            scale = jnp.minimum(1.0, recipe.clip / jnp.maximum(norm, 1e-12))
            grads = jax.tree.map(lambda g: (g * scale).astype(g.dtype), grads)
        moves, moved_state = optimizer.update(grads, opt_state, own)
        finite &= jnp.isfinite(optax.tree.norm(moves))
        moved = {**variables, **updates, "params": {**params, **optax.apply_updates(own, moves)}}
        metrics = {**metrics, "grad_norm": norm}
        if recipe.on_nan == "skip":
            moved, moved_state = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old), (moved, moved_state), (variables, opt_state)
            )
            metrics["skipped"] = 1.0 - finite.astype(jnp.float32)
            finite = jnp.bool_(True)
        return moved, moved_state, metrics, finite

    return act


def _rest(act: Callable[..., Any]) -> Callable[..., Any]:
    """What `act` gives back when its objective does not act: the same variables, NaN for metrics."""

    def rest(variables: Variables, opt_state: Any, batch: Batch, key: Any) -> tuple[Any, Any, Any, Any]:
        shapes = jax.eval_shape(act, variables, opt_state, batch, key)[2]
        return (
            variables,
            opt_state,
            jax.tree.map(lambda m: jnp.full(m.shape, jnp.nan, m.dtype), shapes),
            jnp.bool_(True),
        )

    return rest
