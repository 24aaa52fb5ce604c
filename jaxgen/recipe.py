"""Recipes: files that describe one training run, read without being executed.

A recipe file holds a module docstring, a function `recipe`, and two literals:

    \"\"\"Diagonal BiLSTM on static binarised MNIST. 1601.06759, table 5: 79.20 nats. Ours: not run yet.\"\"\"
    def recipe(layers: int = 7, lr: float = 1e-3) -> Recipe: ...
    SMOKE = dict(layers=1)
    EXPECTED = {"test/nats": (78.0, 80.0)}

Its signature is the command line's flags: a *knob* is an int, float, bool, str, Literal or tuple of these, or one of
them or None, with a literal default; a comment behind a knob is its help. Engine settings (seed, clip, dtype,
parallel, …) are knobs of every recipe, whether its signature has them or not. The docstring's first paragraph is what
`jaxgen list` shows: `MODEL on DATA.`, then the paper and its figure, then `Ours: …`. All of that is read off the
syntax tree, so that listing recipes and `--help` import nothing. Executing the file is left to `build`.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen import local
from jaxgen.errors import UsageError, nearest
from jaxgen.knobs import ENGINE, OF_MODEL, Knob, literal, read_knobs

TABLES = ("SMOKE", "EXPECTED")
"""The two literals of a recipe file: knobs for a run of seconds, and the range of each figure to reach."""

COUNTS = ("steps", "batch")
"""Knobs that the engine would refuse below 1, were it asked before the recipe makes schedules of them."""


@dataclasses.dataclass(frozen=True)
class RecipeFile:
    """A recipe as its file states it. `roots` are the folders in which the modules that it imports count as local."""

    path: Path
    doc: str
    knobs: Mapping[str, Knob]
    smoke: Mapping[str, Any]
    expected: Mapping[str, Any]
    roots: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The stem, by which the command line knows the recipe."""
        return self.path.stem

    @property
    def defaults(self) -> dict[str, Any]:
        """Every knob's default."""
        return {name: knob.default for name, knob in self.knobs.items()}

    @property
    def common(self) -> dict[str, Knob]:
        """The knobs that every recipe has, but for those that its signature has too."""
        return {name: knob for name, knob in ENGINE.items() if name not in self.knobs}

    def settings(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """All knobs, the given ones replaced and checked; of the common ones those that are not None.

        Raises `UsageError` on an unknown name or a wrong type.
        """
        known, found = {**self.knobs, **self.common}, self.defaults
        for name, value in overrides.items():
            if name not in known:
                raise UsageError(
                    f"{self.name} has no knob {name!r}.{nearest(name, known)} Its knobs: {', '.join(known)}."
                )
            value = known[name].convert(value)
            if name in self.knobs or value is not None:
                found[name] = value
        return found

    def headline(self) -> dict[str, str]:
        """`model`, `data`, `published` and `ours` from the docstring's first paragraph; empty where it is silent."""
        paragraph = " ".join(self.doc.split("\n\n")[0].split())
        paragraph, _, ours = paragraph.partition("Ours:")
        title, _, published = paragraph.strip().partition(". ")
        model, _, data = title.strip().rstrip(".").partition(" on ")
        texts = {"model": model, "data": data, "published": published, "ours": ours}
        return {name: text.strip().rstrip(".") for name, text in texts.items()}


def load_file(path: str | Path, roots: tuple[Path, ...] | None = None) -> RecipeFile:
    """Read a recipe file without executing it.

    Modules beside it and in the working directory are its local ones, unless `roots` says otherwise.
    Raises `UsageError` where the file is missing, is no Python, or is no recipe.
    """
    path = Path(path).resolve()
    tree, source = local.parse(path)
    function = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "recipe"), None)
    if function is None:
        raise UsageError(f"{path} is no recipe: it defines no function `recipe(knob: type = default, …) -> Recipe`.")
    names: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                names[node.targets[0].id] = literal(node.value, names)
            if node.targets[0].id in TABLES and not isinstance(names.get(node.targets[0].id), dict):
                raise UsageError(f"{path}, line {node.lineno}: {node.targets[0].id} must be a dict of literals.")
    file = RecipeFile(
        path=path,
        doc=ast.get_docstring(tree) or "",
        knobs=read_knobs(path, function, names, source),
        smoke=names.get("SMOKE", {}),
        expected=names.get("EXPECTED", {}),
        roots=(path.parent, Path.cwd()) if roots is None else roots,
    )
    file.settings(file.smoke)
    return file


def find(name: str | Path) -> RecipeFile:
    """The recipe of a path, or of a stem among those of `./experiments` and those that the wheel carries.

    Raises `UsageError` where there is none, with the nearest and all known ones, or where two share the stem.
    """
    given = Path(name)
    if given.suffix == ".py":
        return load_file(given)
    places = _places()
    found = [path for path in places if path.stem == str(name)]
    if not found:
        known = sorted({path.stem for path in places})
        listed = ", ".join(known) or "none in ./experiments"
        raise UsageError(f"there is no recipe {str(name)!r}.{nearest(str(name), known)} Known recipes: {listed}.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} recipes are called {name}: give the path of one: {', '.join(map(str, found))}.")
    return load_file(found[0])


def listing() -> list[dict[str, str]]:
    """`name`, `path` and `headline()` of each recipe of `./experiments` and of the wheel, sorted by name.

    A file that cannot be read as a recipe is listed with what is wrong as its model.
    """
    rows = []
    for path in sorted(_places(), key=lambda path: path.stem):
        try:
            rows.append({"name": path.stem, "path": str(path), **load_file(path).headline()})
        except UsageError as error:
            rows.append({"name": path.stem, "path": str(path), "model": f"unreadable: {error}"})
    return rows


def build(file: RecipeFile, overrides: Mapping[str, Any] | None = None) -> Any:
    """Execute the file and call its `recipe` with its knobs: the `jaxgen.Recipe` that it returns.

    Raises `UsageError` on unknown or mistyped knobs, on fewer than one step or image, and where the file itself fails,
    with its line and the error.
    """
    settings = file.settings(overrides or {})
    for name in COUNTS:
        value: Any = settings.get(name)
        if type(value) in (int, float) and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}.")
    from jaxgen.core import has_field, with_field
    from jaxgen.train import Recipe

    try:
        with local.importing(file.path, file.roots):
            module = types.ModuleType(f"jaxgen_recipe_{file.name}")
            module.__file__ = str(file.path)
            sys.modules[module.__name__] = module
            exec(compile(file.path.read_text(), str(file.path), "exec"), module.__dict__)
            recipe = module.__dict__["recipe"](**{name: settings[name] for name in file.knobs})
    except UsageError:
        raise
    except Exception as error:
        line = _line_in(error, file)
        raise UsageError(f"recipe {file.path}{line} failed: {type(error).__name__}: {error}") from error
    if not isinstance(recipe, Recipe):
        raise UsageError(f"recipe {file.path} must return a jaxgen.Recipe, got {type(recipe).__name__}.")
    common = {name: settings[name] for name in file.common if name in settings}
    for name in OF_MODEL & common.keys():
        model: Any = recipe.model
        if not has_field(model, name):
            raise UsageError(f"{type(model).__name__} has no {name} to set: leave --{name} away.")
        recipe = dataclasses.replace(recipe, model=with_field(model, name, common.pop(name)))
    return dataclasses.replace(recipe, **common)


def _places() -> list[Path]:
    """Files that define `recipe`: those of the working directory hide the wheel's of the same name."""
    found: dict[str, list[Path]] = {}
    for folder in dict.fromkeys((Path("experiments").resolve(), Path(__file__).resolve().parents[1] / "experiments")):
        here: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*.py")):
            if re.search(r"^def recipe\(", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
                here.setdefault(path.stem, []).append(path)
        found = here | found
    return [path for paths in found.values() for path in paths]


def _line_in(error: BaseException, file: RecipeFile) -> str:
    """`, line n`: the last line of the recipe's own file that the error passed through."""
    line, trace = "", error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(file.path):
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
