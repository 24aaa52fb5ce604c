"""All of a run in one pytree: how it begins, what of it is evaluated, and where it lies on the devices."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch, Objective, Variables
from jaxgen.data.dataset import Transform
from jaxgen.engine.devices.mesh import replicated, spread
from jaxgen.engine.recipe import Recipe


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
    """All of a run. The same state and data have the same future, bit for bit.

    `opt_states` has one entry per objective, `ema` the averages of the collections that the model names in `averaged`,
    or None, and `fault` the first step at which each objective's loss, gradient or update was not finite, −1 for none.
    """

    step: Any
    key: Any
    variables: Variables
    opt_states: tuple[Any, ...]
    ema: Any
    fault: Any


def key_named(key: Any, name: str) -> Any:
    """The key of that name under `key`."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def init_state(
    recipe: Recipe,
    batch: Batch,
    transform: Transform | None = None,
    start: Variables | None = None,
    grafts: Mapping[str, Any] | None = None,
) -> TrainState:
    """The state before the first step; `batch` is the training batch that the model's init sees, untransformed.

    With `start` the model has those variables at first, not fresh ones, and with `grafts` those parts by their paths;
    all else is the same.

    Raises `UsageError` if an objective trains parameters that the model does not have, or a graft does not fit.
    """
    root = jax.random.key(recipe.seed)
    if transform is not None:
        batch = transform(batch, key_named(root, "init/transform"), True)
    variables = recipe.model.init(key_named(root, "init"), batch) if start is None else start
    for path, part in (grafts or {}).items():
        variables = grafted(variables, path, part)
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
        key=key_named(root, "train"),
        variables=variables,
        opt_states=tuple(optimizer_of(recipe, o).init(own_params(params, o)) for o in objectives),
        ema=jax.tree.map(jnp.copy, _averaged(recipe, variables)) if recipe.ema else None,
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
        had_shape, wanted_shape = (str(list(side[leaf].shape)) if leaf in side else "absent" for side in (had, wanted))
        if had_shape != wanted_shape:
            return f"'{leaf}' is {had_shape} there and {wanted_shape} in the model"
    return None


def part_of(variables: Variables, path: str, whose: str = "the model") -> Any:
    """The subtree at a path such as "params/encoder". Raises `UsageError` where there is none, with what there is."""
    part: Any = variables
    for i, name in enumerate(names := path.split("/")):
        if not isinstance(part, Mapping) or name not in part:
            at = "/".join(names[:i]) or "the variables"
            there = ", ".join(part) if isinstance(part, Mapping) else "an array"
            raise UsageError(f"{whose} has no '{path}': {at} of it has {there}.")
        part = part[name]
    return part


def grafted(variables: Variables, path: str, part: Any) -> Variables:
    """The variables with another part at a path. Raises `UsageError` unless it has the leaves of what is there."""
    fault = mismatch({path: part_of(variables, path)}, {path: part})
    if fault:
        raise UsageError(f"the graft does not fit: {fault}. Take a part with the same leaves, or change the model.")

    def put(tree: Any, names: list[str]) -> Any:
        return part if not names else {**tree, names[0]: put(tree[names[0]], names[1:])}

    return put(variables, path.split("/"))


def _averaged(recipe: Recipe, variables: Variables) -> Variables:
    return {name: variables[name] for name in recipe.model.averaged if name in variables}


def placement(recipe: Recipe, mesh: Mesh, state: Any) -> Any:
    """Where each leaf of a state (arrays or their shapes) lies on the mesh: whole on every device, or, under "fsdp",
    spread over them."""
    if recipe.parallel != "fsdp":
        return jax.tree.map(lambda leaf: replicated(mesh), state)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), spread(mesh, state))


def averaged(state: TrainState) -> Variables:
    """The variables to evaluate and sample with: the averaged parameters where the run keeps them."""
    return state.variables if state.ema is None else {**state.variables, **state.ema}


def optimizer_of(recipe: Recipe, objective: Objective) -> optax.GradientTransformation:
    """The objective's own optimizer, or the recipe's."""
    return recipe.optimizer if objective.optimizer is None else objective.optimizer


def own_params(params: dict[str, Any], objective: Objective) -> dict[str, Any]:
    """The subtrees that the objective trains."""
    return {name: params[name] for name in objective.trains}
