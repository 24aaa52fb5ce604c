"""From a recipe's file and its knobs to a `Recipe`: the only place where a recipe's code is executed."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError
from jaxgen.runs.recipes import sources
from jaxgen.runs.recipes.file import RecipeFile
from jaxgen.runs.recipes.knobs import OF_MODEL

COUNTS = ("steps", "batch")
"""Knobs that the engine would refuse below 1, were it asked before the recipe makes schedules of them."""


@dataclasses.dataclass(frozen=True)
class Execution:
    """What a recipe asks for while it is executed: the `home` of its run, and the folders of the runs whose models it
    builds on, by the names that it gives them."""

    home: Path | None = None
    asked: dict[str, Path] = dataclasses.field(default_factory=dict)


execution: ContextVar[Execution | None] = ContextVar("execution", default=None)
"""That of the recipe that is being executed, where one is."""


def build(file: RecipeFile, overrides: Mapping[str, Any] | None = None, asked: dict[str, Path] | None = None) -> Any:
    """Execute the file and call its `recipe` with its knobs: the `jaxgen.Recipe` that it returns. `asked` is filled
    with the folders of the runs whose models it builds on (`jaxgen.model_of`), by their names there.

    Raises `UsageError` on unknown or mistyped knobs, on fewer than one step or image, and where the file itself fails,
    with its line and the error.
    """
    settings = file.settings(overrides or {})
    for name in COUNTS:
        value: Any = settings.get(name)
        if type(value) in (int, float) and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}.")
    from jaxgen.core.model import has_field, with_field
    from jaxgen.engine.recipe import Recipe

    token = execution.set(Execution(file.home, {} if asked is None else asked))
    try:
        with sources.importing(file.path, file.roots):
            module = types.ModuleType(f"jaxgen_recipe_{file.name}")
            module.__file__ = str(file.path)
            sys.modules[module.__name__] = module
            exec(compile(file.path.read_bytes(), str(file.path), "exec"), module.__dict__)
            recipe = module.__dict__["recipe"](**{name: settings[name] for name in file.knobs})
    except UsageError:
        raise
    except Exception as error:
        line = _line_in(error, file)
        raise UsageError(f"recipe {file.path}{line} failed: {type(error).__name__}: {error}") from error
    finally:
        execution.reset(token)
    if not isinstance(recipe, Recipe):
        raise UsageError(f"recipe {file.path} must return a jaxgen.Recipe, got {type(recipe).__name__}.")
    common = {name: settings[name] for name in file.common if name in settings}
    for name in OF_MODEL & common.keys():
        model: Any = recipe.model
        if not has_field(model, name):
            raise UsageError(f"{type(model).__name__} has no {name} to set: leave --{name} away.")
        recipe = dataclasses.replace(recipe, model=with_field(model, name, common.pop(name)))
    return dataclasses.replace(recipe, **common)


def _line_in(error: BaseException, file: RecipeFile) -> str:
    """`, line n`: the last line of the recipe's own file that the error passed through."""
    line, trace = "", error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(file.path):
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
