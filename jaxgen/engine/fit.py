"""Training: chunks of steps on the devices, and between them evaluation, samples and checkpoints.

On accelerators a chunk of steps is one `lax.scan` in one program with the state donated; its metrics are read while
the next one runs. On a CPU a dispatch is one step and one is in flight, because XLA-CPU runs gradient convolutions
inside loops many times slower, and queued all-reduces of virtual devices starve each other until it aborts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.core.capabilities import Scored, require
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.data.dataset import Dataset, example, split_arrays
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.deciding import deciding
from jaxgen.engine.derived import derived
from jaxgen.engine.devices.mesh import make_mesh, replicated, whole
from jaxgen.engine.evaluate import evaluate
from jaxgen.engine.feed import Resident, Streamed, make_feed
from jaxgen.engine.preflight import check
from jaxgen.engine.programs import Programs
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.reporter import Diverged, Outcome, Reporter, never
from jaxgen.engine.state import TrainState, averaged, init_state, key_named
from jaxgen.engine.views import Views

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
    grafts: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train a recipe's model on a data set, from where the checkpoints in `folder` left off.

    A `Scored` model is evaluated on the validation split (with averaged parameters, where kept), judges look at its
    samples, and one figure decides the best checkpoint and early stopping (`deciding`); the test split is read once, at
    the end, with the best parameters. What is due to be saved is saved first, so that an evaluation that fails loses
    nothing. `folder` None keeps nothing on disk. `stop` is asked after each dispatch: a true answer saves and returns.
    `budget` is how many bytes of training data may lie on each device (default: a quarter of its memory). A fresh run
    begins with the variables `start`, those of another run of the same model, say, or with the model's own, in which
    `grafts`, the parts of other runs that the recipe names, replace the fresh ones.

    Raises `UsageError` for what a user can mend, before anything is compiled or written, and for a disk that fails;
    `Diverged` for a loss, gradient or update that is not finite, leaving the last good checkpoint.
    """
    mesh = make_mesh() if mesh is None else mesh
    check(recipe, dataset, mesh, start, grafts)
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if folder is not None:
            best = deciding(recipe)
            name, higher = (best.name, best.higher) if best else (None, False)
            checkpoints = stack.enter_context(
                Checkpoints(Path(folder) / "checkpoints", recipe.keep, name, higher=higher)
            )
            if checkpoints.steps and not resume:
                raise UsageError(f"{folder} already holds a run: resume it, or choose another folder.")
        if recipe.grafts and not grafts and start is None and (checkpoints is None or checkpoints.latest is None):
            raise UsageError(
                "the recipe has grafts, and their parts were not given: read them by `jaxgen.runs.grafts.read`."
            )
        kept = checkpoints if checkpoints is not None and checkpoints.latest is not None else None
        feed = make_feed(
            {**split_arrays(dataset.train), **derived(recipe, dataset, mesh, kept, start, grafts)},
            mesh,
            seed=recipe.seed,
            batch=recipe.batch,
            replacement=recipe.replacement,
            lanes=mesh.devices.size if recipe.parallel == "pmap" else None,
            budget=budget,
        )
        stack.callback(feed.close)
        return _Fit(recipe, dataset, mesh, feed, checkpoints, reporter or Reporter(), stop, start, grafts).run()


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
        grafts: Mapping[str, Any] | None,
    ):
        self.recipe, self.dataset, self.mesh, self.feed = recipe, dataset, mesh, feed
        self.checkpoints, self.reporter, self.stop = checkpoints, reporter, stop
        self.start, self.grafts = start, dict(grafts or {})
        self.first = example(dataset, recipe.batch)
        self.make = jax.jit(lambda batch, start, grafts: init_state(recipe, batch, dataset.transform, start, grafts))
        self.shapes = jax.eval_shape(self.make, self.first, None, {})
        self.programs = Programs(recipe, dataset, mesh, feed, self.shapes)
        self.highlighted: set[str] = set()
        self.skipped = [0] * len(recipe.model.objectives())
        self.root = jax.random.key(recipe.seed)
        self.metrics: dict[str, float] = {}
        self.deciding = deciding(recipe)
        self.best_step: int | None = None
        self.best_score = math.inf if self.deciding is None or not self.deciding.higher else -math.inf
        self.best_variables: Any = None
        self.views = Views(recipe, dataset, mesh, self.root)

    def run(self) -> Outcome:
        recipe = self.recipe
        state, step = self._begin()
        self.reporter.started(step, recipe.steps)
        if step and self.checkpoints is not None and self._evaluates(step) and step not in self.checkpoints.recorded:
            self._evaluate(state, step)  # a run that was killed between its save and its evaluation
        self.feed.schedule(self._dispatches(step))
        pending: Any = None
        stopped, alone = False, jax.process_count() == 1
        while step < recipe.steps and not self._exhausted(step):
            count = self._next_count(step)
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
            return make(self.first, self.start, self.grafts), 0
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

    def _next_count(self, step: int) -> int:
        """How many steps the dispatch at `step` takes: a chunk if one fits before the next boundary, else one."""
        recipe = self.recipe
        room = min(recipe.steps, *((step // n + 1) * n for n in (recipe.evaluate_every, recipe.save_every))) - step
        return self.programs.chunk if self.programs.chunk <= room else 1

    def _dispatches(self, step: int) -> Iterator[tuple[int, int]]:
        while step < self.recipe.steps:
            count = self._next_count(step)
            yield step, count
            step += count

    def _evaluates(self, step: int) -> bool:
        return step == self.recipe.steps or step % self.recipe.evaluate_every == 0

    def _saves(self, step: int) -> bool:
        return step == self.recipe.steps or step % self.recipe.save_every == 0

    def _due(self, step: int) -> bool:
        return self._evaluates(step) or self._saves(step)

    def _exhausted(self, step: int) -> bool:
        recipe = self.recipe
        if recipe.patience is None or self.best_step is None:
            return False
        return step // recipe.evaluate_every - self.best_step // recipe.evaluate_every >= recipe.patience

    def _settle(self, state: TrainState, step: int, rows: Any) -> bool:
        """Read the metrics of a dispatch, waiting for it, and report them: whether another process wished to stop.
        Raises `Diverged`."""
        rows = np.asarray(rows)
        rows, fault, voted = np.split(rows, (n := len(self.programs.names), n + 1), axis=1)
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
        if self.programs.shown != self.highlighted:
            self.highlighted = set(self.programs.shown)
            self.reporter.highlighted(self.highlighted)
        self.reporter.progress(step, means)
        return bool(voted.any())

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
        """What is due between two dispatches: first a checkpoint, then evaluation and samples."""
        saved, keeps = stopped or self._saves(step), self.checkpoints is not None
        if saved and keeps:
            self._save(state, step)
        better = self._evaluates(step) and self._evaluate(state, step)
        if keeps and not saved and (better or self._exhausted(step)):
            self._save(state, step)

    def _save(self, state: TrainState, step: int) -> None:
        assert self.checkpoints is not None
        self.checkpoints.save(step, state)
        self.reporter.saved(step)

    def _evaluate(self, state: TrainState, step: int) -> bool:
        """Figures of the validation split, of judges, samples and what the model shows: whether this is the best."""
        variables, best = whole(self.mesh, averaged(state)), self.deciding
        told: dict[str, dict[str, Any]] = {}
        if isinstance(self.recipe.model, Scored):
            told["valid"] = self._score(variables, "valid", step)
        if self.recipe.judges:
            told["samples"] = self.views.judged(variables)
            self._tell(step, "samples", told["samples"])
        if (image := self.views.samples(variables)) is not None:
            self.reporter.sampled(step, image)
        for name, content in self.views.shown(variables):
            self.reporter.shown(step, name, content)
        score, better = math.nan, False
        if best is not None:
            if best.name not in told[best.split]:
                figures = told[best.split].items()
                names = ", ".join(n for n, v in figures if isinstance(v, float) and not n.endswith("_stderr"))
                raise UsageError(f"best={best.name!r} is no figure of this run: there are {names}.")
            score = told[best.split][best.name]
            sign = -1.0 if best.higher else 1.0
            better = math.isfinite(score) and sign * score < sign * self.best_score
        if self.checkpoints is not None:
            self.checkpoints.record(step, {} if best is None else {best.name: score})
        if better:
            self.best_step, self.best_score = step, score
            if self.checkpoints is None:
                self.best_variables = jax.device_get(variables)
        return better

    def _score(self, variables: Variables, split: str, step: int) -> dict[str, Any]:
        figures = evaluate(
            require(self.recipe.model, Scored, "be scored"),
            variables,
            getattr(self.dataset, split),
            transform=self.dataset.transform,
            mesh=self.mesh,
            batch=self.recipe.eval_batch or self.recipe.batch,
            key=key_named(self.root, "evaluate"),
        )
        self._tell(step, split, figures)
        return figures

    def _tell(self, step: int, split: str, figures: dict[str, Any]) -> None:
        self.metrics |= {f"{split}/{name}": value for name, value in figures.items() if isinstance(value, float)}
        self.reporter.evaluated(step, split, figures)

    def _test(self, state: TrainState) -> None:
        """Read the test split, once, with the best parameters."""
        if self.dataset.test is None or not isinstance(self.recipe.model, Scored):
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
