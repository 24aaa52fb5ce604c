"""A run opened again: its model, its variables, its data.

Loading a run executes the recipe in its folder, and nothing else of it: load only runs that you trust.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.core.capabilities import Density, require
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.data.source import source
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.engine.evaluate import figures, log_probs
from jaxgen.engine.reporter import BEST
from jaxgen.engine.state import mismatch
from jaxgen.explore.trained import Trained
from jaxgen.runs import recipes
from jaxgen.runs.folder import Record, read_run


@dataclasses.dataclass(frozen=True, eq=False)
class Run(Trained):
    """A trained model with all that its folder says of it."""

    folder: Path
    record: Record
    recipe: Any
    step: int

    @functools.cached_property
    def dataset(self) -> Any:
        """The data that the run was trained on, loaded on first use.

        Raises `UsageError` where they are not there, with the folder in which the run was started, if it is another.
        """
        try:
            return self.recipe.data.load()
        except UsageError as error:
            started = self.record.about.get("folder", str(Path.cwd()))
            if started == str(Path.cwd()):
                raise
            raise UsageError(f"{str(error).rstrip('.')}; the run was started in {started}.") from error

    def other_data(self, spec: str) -> Any:
        """Another data set by what a user types, seen as the run's recipe sees its own where `data` is its knob."""
        if "data" in self.record.file.knobs:
            return recipes.build(self.record.file, self.record.settings | {"data": spec}).data.load()
        return source(spec).load()

    def evaluate(self, split: str = "test", dataset: Any = None, batch: int = 100) -> dict[str, Any]:
        """ "nats", "bits_per_dim", "count" and "bound" of a whole split of the run's data, or of another data set."""
        return figures(self.log_probs(split, dataset, batch), self.model.shape, bound=not self.model.exact)

    def log_probs(self, split: str = "test", dataset: Any = None, batch: int = 100) -> np.ndarray:
        """float64[images]: nats of each image of a whole split, as the run's recipe sees them; what `evaluate` means.

        `jaxgen.engine.evaluate.mixture` makes of several runs' those of their mixture.
        """
        dataset = self.scored_data(split, dataset)
        options = {"transform": dataset.transform, "mesh": self.mesh, "batch": batch}
        return log_probs(self.model, self.variables, getattr(dataset, split), **options)

    def scored_data(self, split: str = "test", dataset: Any = None) -> Any:
        """The run's data, or another data set. Raises `UsageError` unless the model can score that split of it."""
        require(self.model, Density, "be evaluated by likelihood")
        dataset = self.dataset if dataset is None else dataset
        if split not in ("train", "valid", "test") or getattr(dataset, split) is None:
            there = ", ".join(s for s in ("train", "valid", "test") if getattr(dataset, s) is not None)
            raise UsageError(f"{dataset.name} has no split {split!r}; it has {there}.")
        self.check(dataset.shape, dataset.levels, dataset.name)
        return dataset

    def check(self, shape: tuple[int, ...], levels: int, name: str) -> None:
        """Raises `UsageError` unless images of this shape and these levels are the model's kind."""
        if tuple(shape) != tuple(self.model.shape) or levels != self.model.levels:
            made = f"{_size(self.model.shape)} images of {self.model.levels} levels"
            raise UsageError(
                f"the model of {self.folder} is made for {made}, but {name} has {_size(shape)} of {levels}: "
                "give images of that size and those levels."
            )


def load(folder: str | Path, step: int | Literal["best", "last"] = "best", ema: bool = True) -> Run:
    """Open a run: its model, its variables (averaged, where it kept an average, unless `ema=False`), its functions.

    "best" is the checkpoint with the best validation likelihood, the last where there is none. Executes the recipe
    that lies in the folder and nothing else of it. Raises `UsageError` where the folder is no run, has no such
    checkpoint, or has one of another model.
    """
    record = read_run(folder)
    made = recipes.build(record.file, record.settings)
    mesh = make_mesh()
    best = BEST if isinstance(made.model, Density) else None
    with Checkpoints(record.folder / "checkpoints", made.keep, best, write=False) as checkpoints:
        if step == "best":
            found = checkpoints.latest if checkpoints.best is None else checkpoints.best
        else:
            found = checkpoints.latest if step == "last" else step
        variables = checkpoints.variables(found, averaged=ema, sharding=replicated(mesh))
    _check_variables(made, variables, f"checkpoint {found} of {record.folder}")
    return Run(made.model, variables, mesh, record.folder, record, made, int(found or 0))


def _check_variables(made: Any, variables: Variables, name: str) -> None:
    """Raises `UsageError` unless the variables are those of the recipe's model, naming the first that differs."""
    # Shapes come from the model alone, so that a run can be opened where its data are not.
    batch = {
        "image": jax.ShapeDtypeStruct((made.batch, *made.model.shape), jnp.uint8),
        "label": jax.ShapeDtypeStruct((made.batch,), jnp.int32),
    }
    wanted = jax.eval_shape(lambda batch: made.model.init(jax.random.key(0), batch), batch)
    found = mismatch(wanted, variables)
    if found:
        raise UsageError(
            f"{name} was not written by its recipe's {type(made.model).__name__}: {found}. "
            "Load the run with the recipe that trained it."
        )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
