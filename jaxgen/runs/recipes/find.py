"""Recipes by name: where they are looked for, and a list of those at hand. Nothing is executed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError, nearest
from jaxgen.runs.recipes.file import RecipeFile, load_file


def find(name: str | Path) -> RecipeFile:
    """The recipe of a path, or of a stem among those of `./experiments` and those that the wheel carries.

    Raises `UsageError` where there is none, with the nearest and all known ones, or where two share the stem.
    """
    given = Path(name)
    if given.suffix == ".py":
        return load_file(given)
    places = _places()
    paths = [path for path in places if path.stem == str(name)]
    if not paths:
        known = sorted({path.stem for path in places})
        listed = ", ".join(known) or "none in ./experiments"
        raise UsageError(f"there is no recipe {str(name)!r}.{nearest(str(name), known)} Known recipes: {listed}.")
    if len(paths) > 1:
        raise UsageError(f"{len(paths)} recipes are called {name}: give the path of one: {', '.join(map(str, paths))}.")
    return load_file(paths[0])


def listing() -> list[dict[str, Any]]:
    """`name`, `path`, `presets` and `headline()` of each recipe of `./experiments` and of the wheel, sorted by name.

    A file that cannot be read as a recipe is listed with what is wrong as its model.
    """
    rows = []
    for path in sorted(_places(), key=lambda path: path.stem):
        try:
            file = load_file(path)
            rows.append({"name": path.stem, "path": str(path), "presets": list(file.presets), **file.headline()})
        except UsageError as error:
            rows.append({"name": path.stem, "path": str(path), "model": f"unreadable: {error}"})
    return rows


def _places() -> list[Path]:
    """Files that define `recipe`: those of the working directory hide the wheel's of the same name."""
    by_name: dict[str, list[Path]] = {}
    package = Path(__file__).resolve().parents[2]
    carried = package / "_recipes"  # in a wheel; in a checkout they lie beside the package
    carried = carried if carried.is_dir() else package.parent / "experiments"
    for folder in dict.fromkeys((Path("experiments").resolve(), carried)):
        local: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*.py")):
            if re.search(r"^def recipe\(", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
                local.setdefault(path.stem, []).append(path)
        by_name = local | by_name
    return [path for paths in by_name.values() for path in paths]
