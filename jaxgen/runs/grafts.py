"""Parts of other runs in a fresh model: read once, when a run begins, and written down in its record.

A run's own checkpoints hold them from the first save on, and its folder the recipes of models that its own builds on:
the other run's folder is not needed again.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Model
from jaxgen.data.vocabulary import Vocabulary
from jaxgen.engine.checkpoint.digest import digests
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import part_of
from jaxgen.runs import recipes
from jaxgen.runs.folder import RunRecord, grafted_run, is_run, read_run
from jaxgen.runs.load import load


def read(recipe: Recipe) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The parts that a recipe's grafts take, by where they are put, and what the run's record says of them.

    Raises `UsageError` where a run, a checkpoint or a part is not there.
    """
    parts: dict[str, Any] = {}
    records = []
    for graft in recipe.grafts:
        if graft.put in parts:
            raise UsageError(f"two grafts are put at '{graft.put}': leave one away.")
        run = load(graft.run, graft.step)
        part = part_of(run.variables, graft.take, str(graft.run))
        parts[graft.put] = part
        about = {"run": str(graft.run), "take": graft.take, "put": graft.put, "step": run.step}
        records.append({**about, "digest": f"{_digest_of(digests(part)):08x}"})
    return parts, records


def _digest_of(leaves: dict[str, int]) -> int:
    """One number of the digests of a part's leaves."""
    return zlib.crc32(repr(sorted(leaves.items())).encode())


def model_of(folder: str | Path) -> Model:
    """The model of a run, by its record alone: no checkpoint is read and no backend started.

    What a recipe needs to build on another run's model; it executes that run's recipe. A run that is trained by such a
    recipe keeps a copy of that record and recipe, which is taken whenever its own recipe is executed again: it can be
    resumed and loaded where the other run is not.

    Raises `UsageError` where the folder is no run.
    """
    record = _record_of(folder)
    model: Model = recipes.build(record.file, record.settings).model
    return model


def vocabulary_of(folder: str | Path) -> Vocabulary:
    """The words that a run knows, by its record alone, as `model_of` takes it: what a recipe needs that builds on its
    sentence encoder. Raises `UsageError` where the folder is no run of a model of words."""
    record = _record_of(folder)
    words = record.about.get("vocabulary")
    if not isinstance(words, str):
        raise UsageError(f"{folder} knows no words: give a run that was trained on sentences.")
    return Vocabulary.read(words)


def _record_of(folder: str | Path) -> RunRecord:
    """The record of a run that a recipe builds on, or the copy that the recipe's own run keeps of it."""
    name, by = str(Path(folder)), recipes.execution.get() or recipes.Execution()
    copy = None if by.home is None else grafted_run(by.home, name)
    record = read_run(copy if copy is not None and is_run(copy) else name)
    by.asked[name] = record.folder
    return record
