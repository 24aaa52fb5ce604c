"""A run opened again: its model, its variables, its data.

Loading a run executes the recipe in its folder, and nothing else of it: load only runs that you trust.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any

import jax

from jaxgen.core.capabilities import Scored, require
from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError
from jaxgen.core.model import ImageModel, Variables, batch_like
from jaxgen.data.dataset import digest
from jaxgen.data.source import source
from jaxgen.data.vocabulary import Vocabulary
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.deciding import deciding
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.engine.evaluate import Scores, scores, summary
from jaxgen.engine.state import mismatch
from jaxgen.explore.trained import Trained
from jaxgen.runs import recipes
from jaxgen.runs.folder import RunRecord, read_run


@dataclasses.dataclass(frozen=True, eq=False)
class Run(Trained):
    """A trained model with all that its folder says of it."""

    folder: Path
    record: RunRecord
    recipe: Any
    step: int

    def __reduce__(self) -> Any:
        raise UsageError(
            "a run cannot be pickled: it holds compiled programs and devices of this process. Pickle its folder's path "
            f"and open it there again: jaxgen.load({str(self.folder)!r}, {self.step})."
        )

    @functools.cached_property
    def dataset(self) -> Any:
        """The data that the run was trained on, loaded on first use.

        Warns where they are others than then, by their counts or their checksum. Raises `UsageError` where they are not
        there, with the folder in which the run was started, if it is another.
        """
        try:
            dataset = self.recipe.data.load()
        except UsageError as error:
            started = self.record.about.get("folder", str(Path.cwd()))
            if started == str(Path.cwd()):
                raise
            raise UsageError(f"{str(error).rstrip('.')}; the run was started in {started}.") from error
        self._compare(dataset)
        return dataset

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """What words the numbers of the run's sentences stand for, from its record. Raises `UsageError` for a run of
        data without sentences."""
        words = self.record.about.get("vocabulary")
        if not isinstance(words, str):
            trained_on = f"{type(self.model).__name__} was trained on {self.record.about['data']}"
            raise UsageError(f"{self.folder} knows no words: {trained_on}, which has none. Give a run of a text model.")
        return Vocabulary.read(words)

    def _compare(self, dataset: Any) -> None:
        """Warns where the data are others than those that the run was started on."""
        now: dict[str, Any] = {"count of examples": {name: len(split) for name, split in dataset.splits().items()}}
        now |= {"checksum": digest(dataset)}
        then = {"count of examples": self.record.about.get("examples"), "checksum": self.record.about.get("digest")}
        for what, was in then.items():
            if was is not None and was != now[what]:
                warnings.warn(
                    f"{self.folder} was started on other data: their {what} was {was}, and is {now[what]}; figures of "
                    "these are not the run's own: bring those back, or name these with --data.",
                    stacklevel=3,
                )
                return

    def other_data(self, spec: str) -> Any:
        """Another data set by what a user types, seen as the run's recipe sees its own where `data` is its knob."""
        if "data" in self.record.file.knobs:
            return recipes.build(self.record.file, self.record.settings | {"data": spec}).data.load()
        return source(spec).load()

    def evaluate(self, split: str = "test", dataset: Any = None, **options: Any) -> dict[str, Any]:
        """The model's figures of a whole split of the run's data, or of another data set, with standard errors and
        "count"; `options` are those of `scores`."""
        return summary(self.model, self.scores(split, dataset, **options))

    def scores(
        self,
        split: str = "test",
        dataset: Any = None,
        batch: int = 100,
        seed: int = 0,
        draws: int = 1,
        iw_samples: int | None = None,
    ) -> Scores:
        """float64[examples] by figure: those of each example of a whole split, as the run's recipe sees them.

        A bound is the mean of so many `draws`, or with `iw_samples` K the bound L_K of a model that has it.
        `jaxgen.engine.evaluate.mixture` makes of several runs' scores those of their mixture.
        """
        check_seed(seed)
        dataset = self.scored_data(split, dataset)
        options = {"transform": dataset.transform, "mesh": self.mesh, "batch": batch, "key": jax.random.key(seed)}
        options |= {"draws": draws, "iw_samples": iw_samples}
        return scores(self.model, self.variables, getattr(dataset, split), **options)

    def scored_data(self, split: str = "test", dataset: Any = None) -> Any:
        """The run's data, or another data set. Raises `UsageError` unless the model can score that split of it."""
        require(self.model, Scored, "be evaluated")
        dataset = self.dataset if dataset is None else dataset
        if split not in dataset.splits():
            raise UsageError(f"{dataset.name} has no split {split!r}; it has {', '.join(dataset.splits())}.")
        if isinstance(self.model, ImageModel):
            self.check(dataset.shape, dataset.levels, dataset.name)
        return dataset

    def check(self, shape: tuple[int, ...], levels: int, name: str) -> None:
        """Raises `UsageError` unless images of this shape and these levels are the model's kind."""
        if tuple(shape) != tuple(self.model.shape) or levels != self.model.levels:
            wanted = f"{_size(self.model.shape)} images of {self.model.levels} levels"
            raise UsageError(
                f"the model of {self.folder} is made for {wanted}, but {name} has {_size(shape)} of {levels}: "
                "give images of that size and those levels."
            )


def load(folder: str | Path, step: str | int = "best", ema: bool = True) -> Run:
    """Open a run: its model, its variables (averaged, where it kept an average, unless `ema=False`), its functions.

    "best" is the checkpoint with the best figure of those that decide, the last where there is none. Executes the
    recipe that lies in the folder and nothing else of it. Raises `UsageError` where the folder is no run, has no such
    checkpoint, or has one of another model.
    """
    return opened(read_run(folder), step, ema)


def opened(record: RunRecord, step: str | int = "best", ema: bool = True) -> Run:
    """`load` of a run whose record was read."""
    recipe = recipes.build(record.file, record.settings)
    mesh = make_mesh()
    best = deciding(recipe)
    name, higher = (best.name, best.higher) if best else (None, False)
    with Checkpoints(record.folder / "checkpoints", recipe.keep, name, higher=higher, write=False) as checkpoints:
        if step == "best":
            chosen = checkpoints.latest if checkpoints.best is None else checkpoints.best
        else:
            chosen = checkpoints.latest if step == "last" else int(step)
        variables = checkpoints.variables(chosen, averaged=ema, sharding=replicated(mesh))
    _check_variables(recipe, variables, record.about.get("batch"), f"checkpoint {chosen} of {record.folder}")
    return Run(recipe.model, variables, mesh, record.folder, record, recipe, int(chosen or 0))


def _check_variables(recipe: Any, variables: Variables, arrays: Any, name: str) -> None:
    """Raises `UsageError` unless the variables are those of the recipe's model, naming the first that differs."""
    # Shapes come from the run's record, so that a run can be opened where its data are not.
    batch = batch_like(recipe.model, recipe.batch, arrays)
    wanted = jax.eval_shape(lambda batch: recipe.model.init(jax.random.key(0), batch), batch)
    difference = mismatch(wanted, variables)
    if difference:
        raise UsageError(
            f"{name} was not written by its recipe's {type(recipe.model).__name__}: {difference}. "
            "Load the run with the recipe that trained it."
        )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
