"""The one train step that serves every family.

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

from jaxgen.core.model import Batch, Objective, Variables
from jaxgen.data.dataset import Transform
from jaxgen.engine.gradient import Gradient, Layout, objective_gradient
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import TrainState, key_named, optimizer_of, own_params


def make_step(
    recipe: Recipe,
    transform: Transform | None = None,
    layout: Layout | None = None,
    *,
    acting: tuple[bool, ...] | None = None,
    shown: set[str] | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]:
    """The pure step `(state, batch) -> (state, metrics)`, metrics being float32 scalars.

    They are the objective's own, with "loss" and "grad_norm" (before clipping), behind "name/" where there are
    several objectives; NaN for an objective that did not act in this step. `shown` receives the names of those that
    losses want in the progress line, while the step is traced. `acting` says which objectives act, for a caller who
    knows the step (None: decided inside by `lax.cond`, where XLA-CPU runs gradient convolutions many times slower).
    """
    layout = Layout() if layout is None else layout
    objectives = recipe.model.objectives()
    counts = layout.microbatches or (recipe.accumulate or 1,) * len(objectives)
    shown = set() if shown is None else shown

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        key = jax.random.fold_in(state.key, state.step)
        if layout.axis is not None:
            key = jax.random.fold_in(key, lax.axis_index(layout.axis))
        if transform is not None:
            batch = transform(batch, key_named(key, "transform"), True)
        variables, opt_states, faults = state.variables, [], []
        logged: dict[str, Any] = {}
        for i, objective in enumerate(objectives):
            own_shown: set[str] = set()
            update = _update(recipe, objective, objective_gradient(objective, layout, counts[i], own_shown))
            operands = (variables, state.opt_states[i], batch, key_named(key, f"objective/{objective.name}"))
            if acting is not None:
                now: Any = update if acting[i] else _no_update(update)
                variables, opt_state, metrics, finite = now(*operands)
            elif objective.every == 1 and not objective.begin and objective.end is None:
                variables, opt_state, metrics, finite = update(*operands)
            else:
                due = objective.acts(state.step)
                variables, opt_state, metrics, finite = lax.cond(due, update, _no_update(update), *operands)
            opt_states.append(opt_state)
            faults.append(jnp.where((state.fault[i] < 0) & ~finite, state.step, state.fault[i]))
            prefix = f"{objective.name}/" if len(objectives) > 1 else ""
            logged |= {prefix + name: value for name, value in metrics.items()}
            shown.update(prefix + name for name in own_shown)
        ema = state.ema
        if ema is not None:
            t = state.step.astype(jnp.float32)
            decay = jnp.minimum(recipe.ema, (1 + t) / (10 + t))
            ema = jax.tree.map(
                lambda a, b: (decay * a + (1 - decay) * b).astype(a.dtype), ema, {name: variables[name] for name in ema}
            )
        state = TrainState(state.step + 1, state.key, variables, tuple(opt_states), ema, jnp.stack(faults))
        return state, logged

    return step


def _update(recipe: Recipe, objective: Objective, gradient: Gradient) -> Callable[..., Any]:
    """One objective's share of a step: (variables, opt_state, batch, key) -> the same two, metrics, finite."""
    optimizer = optimizer_of(recipe, objective)

    def update(variables: Variables, opt_state: Any, batch: Batch, key: Any) -> tuple[Any, Any, Any, Any]:
        params = variables["params"]
        trained = own_params(params, objective)
        grads, metrics, updates = gradient(variables, batch, key)
        norm = optax.tree.norm(grads).astype(jnp.float32)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(norm)
        if recipe.clip is not None:
            scale = jnp.minimum(1.0, recipe.clip / jnp.maximum(norm, 1e-12))
            grads = jax.tree.map(lambda g: (g * scale).astype(g.dtype), grads)
        moves, moved_state = optimizer.update(grads, opt_state, trained)
        finite &= jnp.isfinite(optax.tree.norm(moves))
        moved = {**variables, **updates, "params": {**params, **optax.apply_updates(trained, moves)}}
        if objective.after is not None:
            moved = objective.after(moved, batch, key_named(key, "after"))
        metrics = {**metrics, "grad_norm": norm}
        if recipe.on_nan == "skip":
            moved, moved_state = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old), (moved, moved_state), (variables, opt_state)
            )
            metrics["skipped"] = 1.0 - finite.astype(jnp.float32)
            finite = jnp.bool_(True)
        return moved, moved_state, metrics, finite

    return update


def _no_update(update: Callable[..., Any]) -> Callable[..., Any]:
    """What `update` gives back when its objective does not act: the same variables, NaN for metrics."""

    def rest(variables: Variables, opt_state: Any, batch: Batch, key: Any) -> tuple[Any, Any, Any, Any]:
        shapes = jax.eval_shape(update, variables, opt_state, batch, key)[2]
        return (
            variables,
            opt_state,
            jax.tree.map(lambda m: jnp.full(m.shape, jnp.nan, m.dtype), shapes),
            jnp.bool_(True),
        )

    return rest
