"""The compiled programs of training: k steps of a recipe on a mesh in one dispatch.

Under `jit` the batch is sharded over the mesh and the compiler does the rest; under `pmap` each device runs the same
step on its share. Either way the state is donated, data and indices come from the feed, and all metrics leave as one
small array, so that the host reads one thing per dispatch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from jaxgen.core.model import Batch
from jaxgen.data.dataset import Dataset
from jaxgen.engine.devices.mesh import AXIS, on_cpu, place, replicated, sharded
from jaxgen.engine.feed import Resident, Streamed
from jaxgen.engine.gradient import Layout
from jaxgen.engine.jaxprs import convolves
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import TrainState, placement
from jaxgen.engine.step import make_step


class Programs:
    """The compiled programs of a recipe on a mesh: `count` steps in one dispatch, the state donated. `state` gives
    the shapes of what they train, `where` is where its leaves lie."""

    def __init__(self, recipe: Recipe, dataset: Dataset, mesh: Mesh, feed: Resident | Streamed, state: Any):
        self.recipe, self.transform, self.mesh, self.feed = recipe, dataset.transform, mesh, feed
        self.objectives = recipe.model.objectives()
        self.where = placement(recipe, mesh, state)
        self.cpu = on_cpu(mesh)
        self.microbatches = microbatches(recipe, mesh)
        self.chunk = recipe.chunk or (1 if self.cpu else 100)
        self.names: list[str] = []
        self.shown: set[str] = set()
        self._made: dict[Any, Callable[..., Any]] = {}
        many, votes = jax.process_count() > 1, (False, True)
        self._votes = [(place(np.full(mesh.devices.size, vote), sharded(mesh)),) for vote in votes] if many else None

    def __call__(
        self, state: TrainState, items: Any, step: int, count: int, stop: bool = False
    ) -> tuple[TrainState, Any]:
        """Dispatch `count` steps from `step`, with `items` from the feed: the state after them, and the metrics
        float32[count, …] by `names`, behind which comes 1 where the run has a fault. Of several processes each votes
        whether to `stop`, and behind that comes 1 where any does: so all learn it with the same metrics. `shown` are
        the names that losses want in the progress line."""
        # On a CPU an objective that rests is left out of the program: no gradient inside a conditional.
        acting = tuple(bool(o.acts(step)) for o in self.objectives) if self.cpu and count == 1 else None
        program = self._made.get((count, acting))
        if program is None:
            program = self._made[count, acting] = self._make(count, acting)
        return program(state, self.feed.resident, items, *self._votes[stop] if self._votes else ())

    def _make(self, count: int, acting: tuple[bool, ...] | None) -> Callable[..., Any]:
        mapped = self.recipe.parallel == "pmap"
        axis = AXIS if mapped else None
        mesh = None if mapped else self.mesh
        layout = Layout(axis, mesh, self.microbatches, spread=self.recipe.parallel == "fsdp")
        make = functools.partial(make_step, self.recipe, self.transform, acting=acting, shown=self.shown)

        def one(state: TrainState, batch: Batch) -> tuple[TrainState, Any]:
            unrolled = self.cpu and max(self.microbatches) > 1 and convolves(make(layout), state, batch)
            if not mapped:
                batch = lax.with_sharding_constraint(batch, sharded(self.mesh))
            state, metrics = make(dataclasses.replace(layout, unrolled=unrolled))(state, batch)
            self.names = sorted(metrics)
            fault = (state.fault >= 0).any().astype(jnp.float32)
            return state, jnp.stack([*(metrics[name] for name in self.names), fault])

        def program(state: TrainState, resident: Any, items: Any, *votes: Any) -> tuple[TrainState, Any]:
            if count == 1:
                state, row = one(state, self.feed.batch_at(resident, items, state.step))
                rows = row[None]
            else:
                state, rows = lax.scan(lambda state, item: one(state, self.feed.batch_of(resident, item)), state, items)
            voted = [jnp.full((count, 1), vote.any(), rows.dtype) for vote in votes]
            return state, jnp.concatenate([rows, *voted], 1)

        if mapped:
            devices = list(self.mesh.devices.flat)
            return jax.pmap(program, AXIS, in_axes=(None, None, 1), out_axes=None, devices=devices, donate_argnums=0)  # type: ignore[return-value]
        everywhere, shared = replicated(self.mesh), sharded(self.mesh)
        return jax.jit(
            program,
            in_shardings=(self.where, everywhere, sharded(self.mesh, 1), *[shared] * bool(self._votes)),
            out_shardings=(self.where, everywhere),
            donate_argnums=0,
        )


def microbatches(recipe: Recipe, mesh: Mesh) -> tuple[int, ...]:
    """In how many microbatches each objective takes its batch: as the recipe says, else as fits a CPU's cache, else
    one."""
    share = recipe.batch // mesh.devices.size
    if recipe.accumulate is not None or not on_cpu(mesh):
        return (recipe.accumulate or 1,) * len(recipe.model.objectives())
    asked = (o.microbatch if o.examples == "separable" else None for o in recipe.model.objectives())
    return tuple(share // size if size and share % size == 0 else 1 for size in asked)
