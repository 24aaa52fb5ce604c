"""What a run refuses before anything is compiled or written: a recipe that does not fit its data, devices or itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from jaxgen.core.capabilities import Sampler, require
from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError
from jaxgen.core.model import ImageModel, Variables
from jaxgen.data.dataset import Dataset, check_split, example
from jaxgen.engine.deciding import deciding
from jaxgen.engine.devices.mesh import check_batch
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import grafted, init_state, mismatch


def check(
    recipe: Recipe,
    dataset: Dataset,
    mesh: Mesh,
    start: Variables | None = None,
    grafts: Mapping[str, Any] | None = None,
) -> None:
    """Raises `UsageError` for a recipe that cannot be trained on this data set and mesh, naming the knob, or not from
    these variables or with these grafts."""
    model = recipe.model
    check_seed(recipe.seed)
    if isinstance(model, ImageModel) and (tuple(dataset.shape) != tuple(model.shape) or dataset.levels != model.levels):
        raise UsageError(
            f"{type(model).__name__} is made for images {tuple(model.shape)} with {model.levels} levels, but "
            f"'{dataset.name}' has {tuple(dataset.shape)} with {dataset.levels}: change the model's shape and levels, "
            "or the data."
        )
    for split in (dataset.train, dataset.valid, dataset.test):
        if split is not None:
            check_split(model.check_data, split, dataset.transform, train=split is dataset.train)
    check_batch(mesh, recipe.batch)
    share = recipe.batch // mesh.devices.size
    least = {"steps": 1, "accumulate": 1, "evaluate_every": 1, "save_every": 1, "keep": 1, "samples": 0}
    for name, low in {**least, "chunk": 1, "patience": 1, "eval_batch": 1}.items():
        value = getattr(recipe, name)
        if value is not None and value < low:
            raise UsageError(f"{name} must be at least {low}, got {value}.")
    if share % (recipe.accumulate or 1):
        raise UsageError(f"accumulate must divide the {share} images that each device takes, got {recipe.accumulate}.")
    for objective in model.objectives() if (recipe.accumulate or 1) > 1 else ():
        if objective.examples == "mixed":
            raise UsageError(
                f"accumulate must be 1 for {type(model).__name__}, got {recipe.accumulate}: its objective "
                f"'{objective.name}' is no mean over independent examples (batch statistics, say), so that a batch in "
                "pieces would have another loss. Use a smaller batch, more devices, or remat."
            )
    if not 0 <= recipe.ema < 1:
        raise UsageError(f"ema must be at least 0 (none) and below 1, got {recipe.ema}.")
    if recipe.clip is not None and recipe.clip <= 0:
        raise UsageError(f"clip must be positive, or None for no clipping, got {recipe.clip}.")
    if recipe.parallel not in ("jit", "fsdp", "pmap"):
        raise UsageError(f"parallel must be 'jit', 'fsdp' or 'pmap', got '{recipe.parallel}'.")
    if recipe.on_nan not in ("stop", "skip"):
        raise UsageError(f"on_nan must be 'stop' or 'skip', got '{recipe.on_nan}'.")
    if recipe.parallel == "pmap" and jax.process_count() > 1:
        raise UsageError(f"parallel='pmap' runs in one process, here are {jax.process_count()}: use parallel='jit'.")
    best = deciding(recipe)
    if recipe.patience is not None and best is None:
        raise UsageError(
            f"patience needs a figure of validation data, such as a likelihood, or a judge's, and "
            f"{type(model).__name__} has none: leave it None."
        )
    if recipe.better not in (None, "lower", "higher"):
        raise UsageError(f"better must be 'lower' or 'higher', got {recipe.better!r}.")
    for judge in recipe.judges:
        require(model, Sampler, f"be judged by {type(judge).__name__}")
        judge.check(model.shape, model.levels)  # type: ignore[attr-defined]
    for objective in model.objectives():
        if objective.every < 1 or objective.begin < 0 or (objective.end or objective.begin + 1) <= objective.begin:
            raise UsageError(
                f"objective '{objective.name}' acts at every step divisible by `every` from `begin` on and before "
                f"`end`: got every={objective.every}, begin={objective.begin}, end={objective.end}, which is never."
            )
    if not recipe.replacement and recipe.batch > len(dataset.train):
        raise UsageError(
            f"batch {recipe.batch} is larger than the {len(dataset.train)} training examples: "
            f"use batch {len(dataset.train)} or less, or replacement=True."
        )
    if start is not None or grafts:
        fresh = jax.eval_shape(
            lambda batch: init_state(recipe, batch, dataset.transform), example(dataset, recipe.batch)
        )
        for path, part in (grafts or {}).items():
            grafted(fresh.variables, path, part)
        difference = None if start is None else mismatch(fresh.variables, start)
        if difference:
            raise UsageError(
                f"what the run shall start from does not fit its {type(model).__name__}: {difference}. Start from a "
                "run of a model with the same settings."
            )
