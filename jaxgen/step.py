"""What a run is made of, its state, and the one train step that serves every family.

A step takes the objectives in their order. Each differentiates its loss with respect to the parameter subtrees that it
trains and no others, moves them with its own optimiser state, and hands the new variables to the next. No line here
knows which family is trained.

Keys: step t uses `fold_in(state.key, t)`, from which the transform and each objective get a key by their names; under
pmap the device's index is folded in as well, and gradients, metrics and running statistics are averaged over devices.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgen.core import Batch, Model, Objective, UsageError, Variables
from jaxgen.data.base import Source, Transform
from jaxgen.draws import placed
from jaxgen.mesh import replicated, spread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a run goes.

    data, model, optimizer   what is trained on what, and how parameters move (schedules belong to the optimizer)
    batch, steps, seed       images per step over all devices, number of steps, seed of parameters, draws and order
    clip                     largest global norm of an objective's gradient, None: unbounded
    ema                      decay of the averaged parameters that evaluation and sampling use, 0: none; at step t the
                             decay is min(ema, (1+t)/(10+t)), so that the first parameters are soon forgotten
    replacement              draw examples independently, instead of shuffled epochs
    parallel                 "jit": one program over the mesh, equal to one device; "fsdp": the same program, equal
                             too, with parameters, optimiser state and averages spread over the devices; "pmap": one
                             program per device, with its own draws and batch statistics, gradients averaged
    chunk                    steps per dispatch; None: 100 on accelerators, 1 on a CPU
    accumulate               pieces in which a batch is taken, one after another: less memory, same gradient (but
                             for other draws where an objective is not separable). For losses that are means over
                             independent examples; None: 1, but on a CPU pieces of the size that an objective asks for
    on_nan                   a loss, gradient or update that is not finite stops the run ("stop"), or its step moves
                             no parameter ("skip"), is counted by the metric "skipped", and the run goes on
    evaluate_every, save_every, keep   steps between evaluations, between checkpoints, how many of the latest stay
    patience                 evaluations without a better validation before the run ends, None: never
    samples, eval_batch      images drawn at each evaluation, images per batch there (None: as in training)
    """

    data: Source
    model: Model
    optimizer: optax.GradientTransformation
    batch: int
    steps: int
    seed: int = 0
    clip: float | None = None
    ema: float = 0.0
    replacement: bool = False
    parallel: Literal["jit", "fsdp", "pmap"] = "jit"
    chunk: int | None = None
    accumulate: int | None = None
    on_nan: Literal["stop", "skip"] = "stop"
    evaluate_every: int = 1000
    save_every: int = 1000
    keep: int = 2
    patience: int | None = None
    samples: int = 64
    eval_batch: int | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
    """All of a run. The same state and data have the same future, bit for bit.

    `opt_states` has one entry per objective, `ema` the averaged params or None, and `fault` the first step at which
    each objective's loss, gradient or update was not finite, −1 for none.
    """

    step: Any
    key: Any
    variables: Variables
    opt_states: tuple[Any, ...]
    ema: Any
    fault: Any


def named(key: Any, name: str) -> Any:
    """The key of that name under `key`."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def init_state(
    recipe: Recipe, batch: Batch, transform: Transform | None = None, start: Variables | None = None
) -> TrainState:
    """The state before the first step; `batch` is the training batch that the model's init sees, untransformed.

    With `start` the model has those variables at first, not fresh ones; all else is the same.

    Raises `UsageError` if an objective trains parameters that the model does not have.
    """
    root = jax.random.key(recipe.seed)
    if transform is not None:
        batch = transform(batch, named(root, "init/transform"), True)
    variables = recipe.model.init(named(root, "init"), batch) if start is None else start
    params = variables["params"]
    objectives = recipe.model.objectives()
    for objective in objectives:
        for name in objective.trains:
            if name not in params:
                raise UsageError(
                    f"objective '{objective.name}' trains '{name}', but the parameters are: {', '.join(params)}."
                )
    return TrainState(
        step=jnp.int32(0),
        key=named(root, "train"),
        variables=variables,
        opt_states=tuple(_optimizer(recipe, o).init(_own(params, o)) for o in objectives),
        ema=jax.tree.map(jnp.copy, params) if recipe.ema else None,
        fault=jnp.full((len(objectives),), -1, jnp.int32),
    )


def mismatch(want: Variables, have: Variables) -> str | None:
    """The first leaf of two trees that is absent from one or has another shape there, as "'leaf' is … there and … in
    the model", or None where they agree."""
    wanted, had = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (want, have))
    )
    for leaf in [*wanted, *had]:
        there, here = (str(list(side[leaf].shape)) if leaf in side else "absent" for side in (had, wanted))
        if there != here:
            return f"'{leaf}' is {there} there and {here} in the model"
    return None


def placement(recipe: Recipe, mesh: Mesh, state: Any) -> Any:
    """Where each leaf of a state (arrays or their shapes) lies on the mesh: whole on every device, or, under "fsdp",
    spread over them."""
    if recipe.parallel != "fsdp":
        return jax.tree.map(lambda leaf: replicated(mesh), state)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), spread(mesh, state))


def averaged(state: TrainState) -> Variables:
    """The variables to evaluate and sample with: the averaged parameters where the run keeps them."""
    return state.variables if state.ema is None else {**state.variables, "params": state.ema}


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


def _optimizer(recipe: Recipe, objective: Objective) -> optax.GradientTransformation:
    return recipe.optimizer if objective.optimizer is None else objective.optimizer


def _own(params: dict[str, Any], objective: Objective) -> dict[str, Any]:
    return {name: params[name] for name in objective.trains}


def _actor(
    recipe: Recipe, objective: Objective, axis: str | None, mesh: Mesh | None, pieces: int, loops: bool
) -> Callable[..., Any]:
    """One objective's share of a step: (variables, opt_state, batch, key) -> the same two, metrics, finite."""
    optimizer = _optimizer(recipe, objective)

    def gradient(variables: Variables, batch: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
        found = _gradient(objective, variables, batch, key, pieces, loops)
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
        own = _own(params, objective)
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


def _gradient(
    objective: Objective, variables: Variables, batch: Batch, key: Any, pieces: int, loops: bool
) -> tuple[Any, dict[str, Any], Variables]:
    """The gradient for the objective's own subtrees, its metrics with the loss, and updates of other collections."""
    params = variables["params"]

    def one(updates: Variables, piece: Batch, key: Any) -> tuple[Any, dict[str, Any], Variables]:
        def loss(own: dict[str, Any]) -> tuple[Any, Any]:
            return objective.loss({**variables, **updates, "params": {**params, **own}}, piece, key)

        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(_own(params, objective))
        metrics = {name: jnp.asarray(m, jnp.float32) for name, m in {**aux.metrics, "loss": value}.items()}
        return grads, metrics, {**updates, **aux.updates}

    if pieces == 1:
        return one({}, batch, key)
    # Piece j takes examples j, j+pieces, …: so each device keeps its own share of every piece.
    parts = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), batch)

    def body(carry: Any, numbered: Any) -> tuple[Any, None]:
        number, piece = numbered
        total, updates = carry
        own = key if objective.separable else jax.random.fold_in(key, number)
        with placed(number, pieces):
            grads, metrics, updates = one(updates, piece, own)
        return (jax.tree.map(jnp.add, total, (grads, metrics)), updates), None

    first = jax.tree.map(lambda x: x[0], parts)
    grads, metrics, updates = jax.eval_shape(one, {}, first, key)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (grads, metrics))
    carry = (zeros, {name: variables[name] for name in updates})
    if loops:
        carry, _ = lax.scan(body, carry, (jnp.arange(pieces), parts))
    else:
        for j in range(pieces):
            piece = jax.tree.map(lambda x, j=j: x[j], parts)
            piece, carry = lax.optimization_barrier((piece, carry))  # one piece after another, as in the loop
            carry, _ = body(carry, (jnp.int32(j), piece))
    total, updates = carry
    grads, metrics = jax.tree.map(lambda x: (x / pieces).astype(x.dtype), total)
    return grads, metrics, updates
