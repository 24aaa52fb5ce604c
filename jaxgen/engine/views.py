"""What a model draws and shows at an evaluation, and what judges say of it: compiled once for a run.

All processes of a run compute the same and each has the whole of it, so that they agree on what is best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.core.capabilities import Sampler, require
from jaxgen.core.model import Batch, Model, Variables
from jaxgen.data.dataset import Dataset, seen_images, split_arrays
from jaxgen.engine.devices.mesh import place, replicated, sharded
from jaxgen.engine.evaluate import example_condition
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import key_named
from jaxgen.pictures.grid import displayed
from jaxgen.pictures.sentence_page import sentence_page

CHUNK = 100
"""Samples that are drawn at a time for judges, rounded up to the devices."""

MOST_REAL = 10_000
"""Images of the validation split that judges see at most."""


class Views:
    """The programs of a recipe's evaluations, made when they are first wanted. `root` is the key under which each has
    its own, the same at every evaluation."""

    def __init__(self, recipe: Recipe, dataset: Dataset, mesh: Mesh, root: Any):
        self.recipe, self.dataset, self.mesh, self.root = recipe, dataset, mesh, root
        self._samplers: dict[int, Callable[..., Any]] = {}
        self._shower: Callable[[Variables], Any] | None = None
        self._real: np.ndarray | None = None

    def samples(self, variables: Variables) -> np.ndarray | None:
        """uint8[samples,h,w,c] drawn from the model, with the same key each time; None where it draws none."""
        model, num = self.recipe.model, self.recipe.samples
        if not isinstance(model, Sampler) or not num:
            return None
        condition = example_condition(model, self.dataset, num)
        return self._drawn(variables, key_named(self.root, "sample"), num, condition)

    def judged(self, variables: Variables) -> dict[str, Any]:
        """All judges' figures, and how many samples each has seen, as "count"."""
        model = require(self.recipe.model, Sampler, "be judged by its samples")
        judged: dict[str, Any] = {}
        most = max(judge.num for judge in self.recipe.judges)
        condition = example_condition(model, self.dataset, most)
        chunk = -(-min(CHUNK, most) // self.mesh.devices.size) * self.mesh.devices.size
        drawn = []
        for start in range(0, most, chunk):
            rows = np.minimum(np.arange(start, start + chunk), most - 1)
            some = None if condition is None else np.asarray(condition)[rows]
            drawn.append(self._drawn(variables, jax.random.fold_in(key_named(self.root, "judge"), start), chunk, some))
        image = np.concatenate(drawn)[:most]
        if self._real is None:
            valid = self.dataset.valid
            self._real = np.concatenate(list(seen_images(self.dataset, valid)))[:MOST_REAL]
        for judge in self.recipe.judges:
            some = None if condition is None else np.asarray(condition)[: judge.num]
            figures = judge.judge(image[: judge.num], self._real, model.levels, some)
            judged |= {name: float(value) for name, value in figures.items()}
        return {**judged, "count": most}

    def shown(self, variables: Variables) -> Iterator[tuple[str, np.ndarray | list[str]]]:
        """What the model shows of itself on the first validation examples: names, and pictures or lines."""
        model, num = self.recipe.model, min(self.recipe.samples, len(self.dataset.valid))
        if type(model).shows is Model.shows or not num:
            return
        if self._shower is None:
            transform, key = self.dataset.transform, key_named(self.root, "show")
            batch = {name: np.asarray(array[:num]) for name, array in split_arrays(self.dataset.valid).items()}

            def shower(variables: Variables, batch: Batch) -> dict[str, Any]:
                seen = batch if transform is None else transform(batch, key_named(key, "transform"), False)
                return model.shows(variables, seen, key)

            program = jax.jit(shower, out_shardings=replicated(self.mesh))
            self._shower = lambda variables: program(variables, place(batch, replicated(self.mesh)))
        for name, array in self._shower(variables).items():
            vocabulary = self.dataset.vocabulary
            if isinstance(array, tuple):
                yield name, self._with_sentences(*map(np.asarray, array))
                continue
            shown = np.asarray(array)
            if vocabulary is not None and shown.dtype == np.int32:
                yield name, vocabulary.lines(shown)
            else:
                yield name, model.readable(name, shown)

    def _with_sentences(self, image: np.ndarray, words: np.ndarray) -> np.ndarray:
        """A page of pictures [n,k,h,w,c] beside their sentences, as one picture of the model's levels."""
        model: Any = self.recipe.model
        vocabulary = self.dataset.vocabulary
        sentences = [" ".join(map(str, row)) if vocabulary is None else vocabulary.sentence(row) for row in words]
        page = sentence_page(displayed(image, model.levels), sentences)
        return np.round(page[None] * ((model.levels - 1) / 255)).astype(np.uint8)

    def _drawn(self, variables: Variables, key: Any, num: int, condition: Any) -> np.ndarray:
        if num not in self._samplers:
            model: Any = self.recipe.model
            shared = num % self.mesh.devices.size == 0
            where = sharded(self.mesh) if shared else replicated(self.mesh)
            self._samplers[num] = jax.jit(
                lambda variables, key, condition: model.sample(variables, key, num, condition), out_shardings=where
            )
        image = self._samplers[num](variables, key, condition)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            image = multihost_utils.process_allgather(image, tiled=True)
        return np.asarray(image)
