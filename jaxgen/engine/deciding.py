"""Which figure decides what is best in a run: a model's own on validation data, or a judge's of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxgen.core.capabilities import Scored
from jaxgen.core.errors import UsageError, nearest
from jaxgen.engine.recipe import Recipe


class Deciding(NamedTuple):
    """The figure's name, whether higher is better, and where it is told: "valid", or "samples" for a judge's."""

    name: str
    higher: bool
    split: str


def deciding(recipe: Recipe) -> Deciding | None:
    """The figure that the recipe names, else the model's own, else the first of the judges; None where nothing is
    judged.

    Raises `UsageError` for two judges with a figure of one name, and for a name that no judge has where the model has
    no figures at all.
    """
    judged: dict[str, str] = {}
    for judge in recipe.judges:
        for figure, way in judge.figures.items():
            if figure in judged:
                raise UsageError(f"two judges give a figure called {figure}: leave one away.")
            judged[figure] = way
    model: Any = recipe.model
    name: str | None = recipe.best
    if name is None:
        name = model.figure if isinstance(model, Scored) else next(iter(judged), None)
    if name is None:
        return None
    if name in judged:
        return Deciding(name, (recipe.better or judged[name]) == "higher", "samples")
    if not isinstance(model, Scored):
        known = f"Its judges give: {', '.join(judged)}." if judged else "It has no judges either."
        raise UsageError(
            f"best={name!r}: {type(model).__name__} has no figures of its own.{nearest(name, judged)} {known}"
        )
    way = recipe.better or (model.better if name == model.figure else "lower")
    return Deciding(name, way == "higher", "valid")
