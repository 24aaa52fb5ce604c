"""Training: chunks of steps on the devices, and between them evaluation, samples and checkpoints.

On accelerators a chunk of steps is one `lax.scan` in one program with the state donated; its metrics are read while
the next one runs. On a CPU a dispatch is one step and one is in flight, because XLA-CPU runs gradient convolutions
inside loops many times slower, and queued all-reduces of virtual devices starve each other until it aborts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.core.capabilities import Density, Sampler, require
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.data.dataset import Dataset, example, split_arrays
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import make_mesh, replicated, sharded, whole
from jaxgen.engine.evaluate import evaluate, example_condition
from jaxgen.engine.feed import Resident, Streamed, make_feed
from jaxgen.engine.preflight import check
from jaxgen.engine.programs import Programs
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.reporter import BEST, Diverged, Outcome, Reporter, never
from jaxgen.engine.state import TrainState, averaged, init_state, named
from jaxgen.engine.step import make_step

__all__ = [
    "BEST",
    "Diverged",
    "Outcome",
    "Recipe",
    "Reporter",
    "TrainState",
    "averaged",
    "check",
    "fit",
    "init_state",
    "make_step",
    "never",
]


MOST_SKIPPED = 100
"""Bad steps of an objective in a row after which a run that skips them gives up."""


def fit(
    recipe: Recipe,
    dataset: Dataset,
    folder: str | Path | None = None,
    *,
    mesh: Mesh | None = None,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = never,
    resume: bool = True,
    budget: int | None = None,
    start: Variables | None = None,
) -> Outcome:
    """Train a recipe's model on a data set, from where the checkpoints in `folder` left off.

    A `Density` is judged by bits/dim on the validation split (with averaged parameters, where kept), which decides
    the best checkpoint and early stopping; its test split is read once, at the end, with the best parameters.
    `folder` None keeps nothing on disk. `stop` is asked after each dispatch: a true answer saves and returns.
    `budget` is how many bytes of training data may lie on each device (default: a quarter of its memory). A fresh run
    begins with the variables `start`, those of another run of the same model, say, or with the model's own.

    Raises `UsageError` for what a user can mend, before anything is compiled or written, and for a disk that fails;
    `Diverged` for a loss, gradient or update that is not finite, leaving the last good checkpoint.
    """
    mesh = make_mesh() if mesh is None else mesh
    check(recipe, dataset, mesh, start)
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if folder is not None:
            best = BEST if isinstance(recipe.model, Density) else None
            checkpoints = stack.enter_context(Checkpoints(Path(folder) / "checkpoints", recipe.keep, best))
            if checkpoints.steps and not resume:
                raise UsageError(f"{folder} already holds a run: resume it, or choose another folder.")
        feed = make_feed(
            split_arrays(dataset.train),
            mesh,
            seed=recipe.seed,
            batch=recipe.batch,
            replacement=recipe.replacement,
            lanes=mesh.devices.size if recipe.parallel == "pmap" else None,
            budget=budget,
        )
        stack.callback(feed.close)
        return _Fit(recipe, dataset, mesh, feed, checkpoints, reporter or Reporter(), stop, start).run()


class _Fit:
    """One call of `fit`."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        mesh: Mesh,
        feed: Resident | Streamed,
        checkpoints: Checkpoints | None,
        reporter: Reporter,
        stop: Callable[[], bool],
        start: Variables | None,
    ):
        self.recipe, self.dataset, self.mesh, self.feed = recipe, dataset, mesh, feed
        self.checkpoints, self.reporter, self.stop, self.start = checkpoints, reporter, stop, start
        self.first = example(dataset, recipe.batch)
        self.make = jax.jit(lambda batch, start: init_state(recipe, batch, dataset.transform, start))
        self.shapes = jax.eval_shape(self.make, self.first, None)
        self.programs = Programs(recipe, dataset, mesh, feed, self.shapes)
        self.skipped = [0] * len(recipe.model.objectives())
        self.root = jax.random.key(recipe.seed)
        self.metrics: dict[str, float] = {}
        self.best_step: int | None = None
        self.best_score = math.inf
        self.best_variables: Any = None
        self._sampler: Any = None

    def run(self) -> Outcome:
        recipe = self.recipe
        state, step = self._begin()
        self.reporter.started(step, recipe.steps)
        self.feed.expect(self._pieces(step))
        pending: Any = None
        stopped, alone = False, jax.process_count() == 1
        while step < recipe.steps and not self._exhausted(step):
            count = self._piece(step)
            items = self.feed.get(step, count)
            if pending is not None and self.programs.cpu:
                pending = (pending[0], np.asarray(pending[1]))
            state, rows = self.programs(state, items, step, count, not alone and self.stop())
            if pending is not None:
                stopped = self._settle(state, *pending)
            step += count
            pending = (step, rows)
            stopped = stopped or (alone and self.stop())
            if stopped or self._due(step):
                stopped = self._settle(state, *pending) or stopped
                pending = None
                self._between(state, step, stopped)
            if stopped:
                break
        if not stopped:
            self._test(state)
        if self.checkpoints is not None:
            self.checkpoints.wait()
        outcome = Outcome(state, step, self.best_step, dict(self.metrics), stopped)
        self.reporter.finished(outcome)
        return outcome

    def _begin(self) -> tuple[TrainState, int]:
        """A fresh state or the last one saved, and its step."""
        saved = self.checkpoints
        if saved is None or saved.latest is None:
            make = jax.jit(self.make, out_shardings=self.programs.where)
            return make(self.first, self.start), 0
        state = self._restored(saved, saved.latest)
        scores = saved.scores
        if saved.best is not None:
            self.best_step, self.best_score = saved.best, scores[saved.best]
        return state, saved.latest

    def _restored(self, saved: Checkpoints, step: int) -> TrainState:
        """The state of a checkpoint, laid out as the programs take it."""

        def target(leaf: Any, where: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

        return saved.restore(jax.tree.map(target, self.shapes, self.programs.where), step)

    def _piece(self, step: int) -> int:
        """How many steps the dispatch at `step` takes: a chunk if one fits before the next boundary, else one."""
        recipe = self.recipe
        room = min(recipe.steps, *((step // n + 1) * n for n in (recipe.evaluate_every, recipe.save_every))) - step
        return self.programs.chunk if self.programs.chunk <= room else 1

    def _pieces(self, step: int) -> Iterator[tuple[int, int]]:
        while step < self.recipe.steps:
            count = self._piece(step)
            yield step, count
            step += count

    def _due(self, step: int) -> bool:
        recipe = self.recipe
        return step == recipe.steps or step % recipe.evaluate_every == 0 or step % recipe.save_every == 0

    def _exhausted(self, step: int) -> bool:
        recipe = self.recipe
        if recipe.patience is None or self.best_step is None:
            return False
        return step // recipe.evaluate_every - self.best_step // recipe.evaluate_every >= recipe.patience

    def _settle(self, state: TrainState, step: int, rows: Any) -> bool:
        """Read the metrics of a dispatch, waiting for it, and report them: whether another process wished to stop.
        Raises `Diverged`."""
        rows = np.asarray(rows)
        rows, fault, wished = np.split(rows, (n := len(self.programs.names), n + 1), axis=1)
        if fault[-1]:
            at = np.asarray(state.fault)
            first = min(range(len(at)), key=lambda i: (at[i] < 0, at[i]))
            raise Diverged(int(at[first]), self.recipe.model.objectives()[first].name)
        if self.recipe.on_nan == "skip":
            self._count_skipped(step, rows)
        if len(rows) == 1:  # every step on a CPU: no more work than needed
            row = rows[0].tolist()
        else:
            acted = ~np.isnan(rows)
            row = (np.where(acted, rows, 0).sum(0) / np.where(acted.any(0), acted.sum(0), np.nan)).tolist()
        means = {name: value for name, value in zip(self.programs.names, row) if value == value}
        self.reporter.progress(step, means)
        return bool(wished.any())

    def _count_skipped(self, step: int, rows: np.ndarray) -> None:
        """Raises `Diverged` where an objective has had nothing but bad steps for a while: such a run learns nothing."""
        for i, objective in enumerate(objectives := self.recipe.model.objectives()):
            name = f"{objective.name}/skipped" if len(objectives) > 1 else "skipped"
            acted = rows[:, self.programs.names.index(name)]
            for bad in acted[~np.isnan(acted)]:
                self.skipped[i] = self.skipped[i] + 1 if bad else 0
            if self.skipped[i] >= MOST_SKIPPED:
                raise Diverged(step - 1, objective.name, skipped=self.skipped[i])

    def _between(self, state: TrainState, step: int, stopped: bool) -> None:
        """What is due between two dispatches: evaluation, samples, a checkpoint."""
        recipe = self.recipe
        last = step == recipe.steps
        score, better = {}, False
        if last or step % recipe.evaluate_every == 0:
            variables = whole(self.mesh, averaged(state))
            if isinstance(recipe.model, Density):
                score = self._score(variables, "valid", step)
                better = score[BEST] < self.best_score
            self._sample(variables, step)
        if better:
            self.best_step, self.best_score = step, score[BEST]
            if self.checkpoints is None:
                self.best_variables = jax.device_get(whole(self.mesh, averaged(state)))
        last = last or self._exhausted(step)
        if self.checkpoints is not None and (better or last or stopped or step % recipe.save_every == 0):
            finite = math.isfinite(score.get(BEST, math.nan))  # a bound may overflow where the parameters do not
            self.checkpoints.save(step, state, {BEST: score[BEST]} if finite else None)
            self.reporter.saved(step)

    def _score(self, variables: Variables, split: str, step: int) -> dict[str, Any]:
        found = evaluate(
            require(self.recipe.model, Density, "be scored"),
            variables,
            getattr(self.dataset, split),
            transform=self.dataset.transform,
            mesh=self.mesh,
            batch=self.recipe.eval_batch or self.recipe.batch,
            key=named(self.root, "evaluate"),
        )
        self.metrics |= {f"{split}/{name}": found[name] for name in ("nats", "bits_per_dim")}
        self.reporter.evaluated(step, split, found)
        return found

    def _sample(self, variables: Variables, step: int) -> None:
        model, num = self.recipe.model, self.recipe.samples
        if not isinstance(model, Sampler) or not num:
            return
        if self._sampler is None:
            shared = num % self.mesh.devices.size == 0
            where = sharded(self.mesh) if shared else replicated(self.mesh)
            condition = example_condition(model, self.dataset, num)
            self._sampler = jax.jit(
                lambda variables, key: model.sample(variables, key, num, condition), out_shardings=where
            )
        image = self._sampler(variables, named(self.root, "sample"))
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            image = multihost_utils.process_allgather(image, tiled=True)
        self.reporter.sampled(step, np.asarray(image))

    def _test(self, state: TrainState) -> None:
        """Read the test split, once, with the best parameters."""
        if self.dataset.test is None or not isinstance(self.recipe.model, Density):
            return
        variables, step = averaged(state), int(state.step)
        if self.best_step is not None and self.best_step != step:
            step = self.best_step
            if self.checkpoints is not None:
                self.checkpoints.wait()
                variables = averaged(self._restored(self.checkpoints, step))
            else:
                variables = jax.device_put(self.best_variables, replicated(self.mesh))
        self._score(whole(self.mesh, variables), "test", step)
