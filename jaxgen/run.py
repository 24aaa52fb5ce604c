"""Run folders: what a run leaves behind, and how it is opened again.

    run.json        recipe and knobs, model, data, versions, command
    recipe/         the recipe's file and the local modules that it imports: the only code that is executed again
    checkpoints/    the last few states and the best
    metrics.jsonl   figures by step;  tensorboard/  the same;  samples/  grids by step
    result.json     what was reached, once the run is complete

A folder appears whole, by a rename. Nothing in it is a pickle; but loading a run executes its recipe: load only runs
that you trust.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen.models  # noqa: F401 (so that messages can name every model that has a capability)
from jaxgen import core, local, recipe
from jaxgen.checkpoint import Checkpoints
from jaxgen.data import source
from jaxgen.errors import UsageError
from jaxgen.evaluate import figures, log_probs
from jaxgen.history import FORMAT
from jaxgen.mesh import make_mesh, replicated
from jaxgen.report import write_json
from jaxgen.step import mismatch
from jaxgen.train import BEST
from jaxgen.trained import Trained


@dataclasses.dataclass(frozen=True)
class Record:
    """What `run.json` says: the copied recipe, all its knobs, and about (versions, command, …)."""

    folder: Path
    file: recipe.RecipeFile
    settings: dict[str, Any]
    about: dict[str, Any]


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
            return recipe.build(self.record.file, self.record.settings | {"data": spec}).data.load()
        return source(spec).load()

    def evaluate(self, split: str = "test", dataset: Any = None, batch: int = 100) -> dict[str, Any]:
        """ "nats", "bits_per_dim", "count" and "bound" of a whole split of the run's data, or of another data set."""
        return figures(self.log_probs(split, dataset, batch), self.model.shape, bound=not self.model.exact)

    def log_probs(self, split: str = "test", dataset: Any = None, batch: int = 100) -> np.ndarray:
        """float64[images]: nats of each image of a whole split, as the run's recipe sees them; what `evaluate` means.

        `jaxgen.evaluate.mixture` makes of several runs' those of their mixture.
        """
        dataset = self.scored_data(split, dataset)
        options = {"transform": dataset.transform, "mesh": self.mesh, "batch": batch}
        return log_probs(self.model, self.variables, getattr(dataset, split), **options)

    def scored_data(self, split: str = "test", dataset: Any = None) -> Any:
        """The run's data, or another data set. Raises `UsageError` unless the model can score that split of it."""
        core.require(self.model, core.Density, "be evaluated by likelihood")
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
    record = read(folder)
    made = recipe.build(record.file, record.settings)
    mesh = make_mesh()
    best = BEST if isinstance(made.model, core.Density) else None
    with Checkpoints(record.folder / "checkpoints", made.keep, best, write=False) as checkpoints:
        if step == "best":
            found = checkpoints.latest if checkpoints.best is None else checkpoints.best
        else:
            found = checkpoints.latest if step == "last" else step
        variables = checkpoints.variables(found, averaged=ema, sharding=replicated(mesh))
    _check_variables(made, variables, f"checkpoint {found} of {record.folder}")
    return Run(made.model, variables, mesh, record.folder, record, made, int(found or 0))


def _check_variables(made: Any, variables: core.Variables, name: str) -> None:
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


def is_run(folder: str | Path) -> bool:
    """Whether a run lies in the folder."""
    return (Path(folder) / "run.json").is_file()


def read(folder: str | Path) -> Record:
    """What a run's folder says of it, without executing anything. Raises `UsageError` where it is no run's folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no run {folder}: `jaxgen train RECIPE` makes one.")
    if not is_run(folder):
        raise UsageError(
            f"{folder} is no run folder: it has no run.json; `jaxgen train RECIPE --run FOLDER` makes one."
        )
    try:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        name, settings, form = about.pop("recipe"), dict(about.pop("knobs")), about.pop("format")
        if Path(name).name != name:  # what is executed must lie in this very run
            raise ValueError(f"its recipe is {name!r}, no file's name")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{folder / 'run.json'} cannot be read as a run's record: {error!r}.") from error
    if form != FORMAT:
        raise UsageError(f"{folder} has run format {form}, this jaxgen reads {FORMAT}: use the version that wrote it.")
    path = folder / "recipe" / name
    file = recipe.load_file(path, roots=(path.parent.resolve(),))
    return Record(folder, file, file.settings(settings), about)


def default_folder(file: recipe.RecipeFile, settings: Mapping[str, Any]) -> Path:
    """`runs/NAME`, followed by the knobs that differ from their defaults: the same command finds the same folder."""
    changed = [f"{k}={v}" for k, v in settings.items() if v != file.defaults.get(k)]
    name = re.sub(r"[^\w.,=+-]+", "_", "-".join([file.name, *changed]))
    if len(name) > 100:
        name = name[:90] + "-" + hashlib.sha256("-".join(changed).encode()).hexdigest()[:8]
    return Path("runs") / name


def open_folder(
    folder: Path, file: recipe.RecipeFile, settings: Mapping[str, Any], about: Mapping[str, Any], fresh: bool = False
) -> bool:
    """Make the folder of a run, or find that it holds this very run. Returns whether it was there.

    With `fresh` an earlier run is moved aside, to the same name with a number. Raises `UsageError` where the folder
    holds something else, saying what differs, or where a process trains in it.
    """
    check_folder(folder, file, settings, fresh)
    if is_run(folder) and not fresh:
        _check_data(folder, read(folder).about, about)
        return True
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name, original in local.sources(file.path, file.roots).items():
            copy = part / "recipe" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, copy)
        record = {"format": FORMAT, "recipe": file.path.name, "knobs": dict(settings), **about}
        write_json(part / "run.json", record)
        if is_run(folder):
            number = 1
            while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
                number += 1
            with claimed(folder):
                folder.rename(aside)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return False


def check_folder(folder: Path, file: recipe.RecipeFile, settings: Mapping[str, Any], fresh: bool = False) -> None:
    """Raises `UsageError` unless the folder is free, or holds a run of this recipe with these knobs (or of any, if
    `fresh`)."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder for the run with --run.")
    if not is_run(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something that is no run: give another folder with --run.")
        return
    if fresh:
        return
    found = differences(read(folder), file, settings)
    if found:
        raise UsageError(
            f"{folder} holds another run: {'; '.join(found)}. Give the same recipe and knobs to resume it, another "
            "--run folder, or --fresh to move it aside."
        )


def _check_data(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises `UsageError` where a run was started on other data: its best step and its splits would mean nothing."""
    for name, what in (("examples", "count of images"), ("digest", "checksum")):
        if name in then and name in now and then[name] != now[name]:
            raise UsageError(
                f"{folder} was started on other data: their {what} was {then[name]}, and is {now[name]}. Bring those "
                "back to resume it, or give another --run folder, or --fresh to move it aside."
            )


def differences(record: Record, file: recipe.RecipeFile, settings: Mapping[str, Any]) -> list[str]:
    """How a recipe with its knobs differs from what a run was started with; nothing where it is the same program."""
    if record.file.name != file.name:
        return [f"its recipe is {record.file.name}, not {file.name}"]
    found = []
    for knob in [*record.settings, *(k for k in settings if k not in record.settings)]:
        there, here = record.settings.get(knob, "absent"), settings.get(knob, "absent")
        if there != here:
            found.append(f"{knob} is {there} there, {here} here")
    then, now = (local.sources(f.path, f.roots) for f in (record.file, file))
    for name in sorted(then.keys() | now.keys()):
        if name not in then or name not in now or not local.same_code(then[name], now[name]):
            found.append(f"{name} has changed")
    return found


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the folder. Raises `UsageError` where one does already."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (folder / ".lock").open("w") as lock:
        for wait in (0.05, 0.1, None):  # `jaxgen runs` looks at the lock, for an instant each time
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if wait is None:
                    raise UsageError(
                        f"another process is training in {folder}: wait for it, or give another --run."
                    ) from None
                time.sleep(wait)
        yield


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
