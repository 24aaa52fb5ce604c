"""Recipes: files that describe one training run, read without being executed.

A recipe file holds a module docstring, a function `recipe`, and up to three literals:

    \"\"\"Diagonal BiLSTM on static binarised MNIST. 1601.06759, table 5: 79.20 nats. Ours: not run yet.\"\"\"
    def recipe(layers: int = 7, lr: float = 1e-3) -> Recipe: ...
    SMOKE = dict(layers=1)
    PRESETS = {"hour": dict(layers=4, lr=7e-3)}
    EXPECTED = {"test/nats": (78.0, 80.0), "hour": {"test/nats": (78.0, 79.5)}}

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError, nearest
from jaxgen.runs.recipes import sources
from jaxgen.runs.recipes.knobs import ENGINE, Knob, literal, read_knobs

TABLES = ("SMOKE", "PRESETS", "EXPECTED")
"""The literals of a recipe file: knobs for a run of seconds, knobs of named variants, and the range of each figure to
reach, that of a preset under its name."""


@dataclasses.dataclass(frozen=True)
class RecipeFile:
    """A recipe as its file states it. `roots` are the folders in which the modules that it imports count as local;
    `variant` names the preset, and "smoke", whose knobs are its defaults; `home` is the folder of the run that it is
    executed for, where that is there."""

    path: Path
    doc: str
    knobs: Mapping[str, Knob]
    smoke: Mapping[str, Any]
    presets: Mapping[str, Mapping[str, Any]]
    expected: Mapping[str, Any]
    roots: tuple[Path, ...]
    engine: Mapping[str, Knob] = dataclasses.field(default_factory=lambda: ENGINE)
    variant: str = ""
    home: Path | None = None

    @property
    def name(self) -> str:
        """The stem, by which the command line knows the recipe."""
        return self.path.stem

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings of a run without any flag."""
        return self.settings({})

    @property
    def label(self) -> str:
        """The name, and behind it the variant, if it is one."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def with_preset(self, name: str) -> RecipeFile:
        """The recipe with a preset's knobs as defaults, and with what is expected of it.

        Raises `UsageError` for a name that is no preset of this recipe.
        """
        if name not in self.presets:
            known = f"Its presets: {', '.join(self.presets)}." if self.presets else "It has none."
            raise UsageError(f"{self.name} has no preset {name!r}.{nearest(name, self.presets)} {known}")
        return self._variant(name, self.presets[name], self.expected.get(name, {}))

    def with_smoke(self) -> RecipeFile:
        """The recipe with the knobs of a run of seconds as defaults."""
        return self._variant("-".join(filter(None, (self.variant, "smoke"))), self.smoke, {})

    def _variant(self, name: str, knobs: Mapping[str, Any], expected: Mapping[str, Any]) -> RecipeFile:
        values = self.settings(knobs)
        own, engine = (
            {n: dataclasses.replace(knob, default=values.get(n, knob.default)) for n, knob in of.items()}
            for of in (self.knobs, self.engine)
        )
        return dataclasses.replace(self, knobs=own, engine=engine, expected=expected, variant=name)

    @property
    def common(self) -> dict[str, Knob]:
        """The knobs that every recipe has, but for those that its signature has too."""
        return {name: knob for name, knob in self.engine.items() if name not in self.knobs}

    def settings(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """All knobs, the given ones replaced and checked; of the common ones those that are not None.

        Raises `UsageError` on an unknown name or a wrong type.
        """
        known = {**self.knobs, **self.common}
        settings = {n: k.default for n, k in known.items() if n in self.knobs or k.default is not None}
        for name, value in overrides.items():
            if name not in known:
                raise UsageError(
                    f"{self.name} has no knob {name!r}.{nearest(name, known)} Its knobs: {', '.join(known)}."
                )
            value = known[name].convert(value)
            if name in self.knobs or value is not None:
                settings[name] = value
        return settings

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
    tree, source = sources.parse(path)
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
        presets=names.get("PRESETS", {}),
        expected=names.get("EXPECTED", {}),
        roots=(path.parent, Path.cwd()) if roots is None else roots,
    )
    file.settings(file.smoke)
    for knobs in file.presets.values():
        file.settings(knobs)
    return file
