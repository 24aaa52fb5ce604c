"""What a model makes of each training example once, before the first step (`Model.derived`), and the feed then brings
with it: a run's own frozen parts make it, so that neither a cache nor the run that they came from is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch, Model, Variables, rows
from jaxgen.data.dataset import Dataset, example, padded_batches
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import place, replicated, sharded
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import init_state

CHUNK = 500
"""Examples at a time, rounded up to the devices."""


def derived(
    recipe: Recipe,
    dataset: Dataset,
    mesh: Mesh,
    checkpoints: Checkpoints | None = None,
    start: Variables | None = None,
    grafts: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays that the recipe's model derives from the training examples, by name, on the host: none where it
    derives nothing, and none under a transform, which shows an example otherwise each time.

    The variables are those of the last of the `checkpoints`, or those that a fresh run begins with. Raises `UsageError`
    where a derived array has the name of one of the data.
    """
    model = recipe.model
    if type(model).derived is Model.derived or dataset.transform is not None:
        return {}
    where = replicated(mesh)
    if checkpoints is not None:
        kept = _kept(checkpoints.variables(checkpoints.latest, averaged=False, sharding=where))
    else:
        first = example(dataset, recipe.batch)
        begin = lambda batch, start, grafts: _kept(init_state(recipe, batch, None, start, grafts).variables)  # noqa: E731
        kept = jax.jit(begin, out_shardings=where)(first, start, dict(grafts or {}))
    program = jax.jit(model.derived, out_shardings=where)
    count = mesh.devices.size
    chunk = -(-min(CHUNK, rows(dataset.train.arrays)) // count) * count
    parts: list[Batch] = []
    for data, valid in padded_batches(dataset.train, chunk):
        part = program(kept, place(data, sharded(mesh)))
        parts.append({name: np.asarray(array)[valid] for name, array in part.items()})
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name in arrays:
        if name in dataset.train:
            raise UsageError(f"{type(model).__name__} derives '{name}', which {dataset.name} has already: rename one.")
    return arrays


def _kept(variables: Variables) -> Variables:
    """All but the parameters: what a graft replaces of a fresh model's is then not even drawn."""
    return {name: collection for name, collection in variables.items() if name != "params"}
