"""Flags from dataclasses and recipes' signatures. Only this file imports tyro, whose boxes become sentences."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from jaxgen import recipe
from jaxgen.errors import UsageError, nearest
from jaxgen.knobs import type_name

T = TypeVar("T")
Positional = tyro.conf.Positional
Json = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Print the result as JSON.")]
Output = Annotated[str, tyro.conf.arg(aliases=["-o"])]


def parse(kind: type[T], args: Sequence[str], prog: str, description: str | None = None) -> T:
    """The flags as an instance of a dataclass. Raises `UsageError` for what does not parse; `--help` exits."""
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            found, unknown = tyro.cli(
                kind, prog=prog, args=list(args), description=description, return_unknown_args=True
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_sentence(boxed.getvalue(), kind, args, prog)) from None
    for word in unknown:
        if word.startswith("-") and not _numeric(word):
            name = word.split("=")[0]
            known = [f"--{f.name.replace('_', '-')}" for f in _fields(kind) if not _positional(f)]
            raise UsageError(f"`{prog}` has no flag {name}.{nearest(name, known)} Its flags: {', '.join(known)}.")
    if unknown:
        raise UsageError(f"`{prog}` does not know what to do with {unknown[0]!r}; `{prog} --help` shows its flags.")
    return found


def with_recipe(kind: type[T], args: Sequence[str], prog: str) -> tuple[recipe.RecipeFile, T, dict[str, Any]]:
    """A recipe, this command's own flags and the knobs that were set, from `RECIPE [--knob value …] [--flag …]`.

    `kind` has a positional field `recipe`. The recipe must come first: its signature says what the rest means.
    """
    if not args or args[0] in ("-h", "--help"):
        parse(kind, args or [], prog)
    if args[0].startswith("-"):
        raise UsageError(f"the recipe comes first: `{prog} RECIPE {' '.join(args)}`; `jaxgen list` shows the recipes.")
    file = recipe.find(args[0])
    knobs = dataclasses.make_dataclass("Knobs", [_field(knob) for knob in file.knobs.values()], frozen=True)
    hidden = Annotated[knobs, tyro.conf.arg(name="")]
    combined = dataclasses.make_dataclass(
        kind.__name__, [("knobs", hidden, dataclasses.field(default_factory=knobs))], bases=(kind,), kw_only=True
    )
    found = parse(combined, args, f"{prog}", file.doc)
    settings = {name: getattr(found.knobs, name) for name in file.knobs}  # type: ignore[attr-defined]
    return file, found, settings


def _field(knob: Any) -> tuple[str, Any, Any]:
    kind = Annotated[knob.type, tyro.conf.arg(help=knob.help)] if knob.help else knob.type
    return knob.name, kind, dataclasses.field(default=knob.default)


def _fields(kind: Any) -> list[Any]:
    found = []
    for field in dataclasses.fields(kind):
        inner = field.default_factory if field.name == "knobs" else None
        found += _fields(inner) if inner is not None and dataclasses.is_dataclass(inner) else [field]
    return found


def _positional(field: Any) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _numeric(word: str) -> bool:
    return re.fullmatch(r"-[\d.].*", word) is not None


def _sentence(box: str, kind: Any, args: Sequence[str], prog: str) -> str:
    """tyro's box as one sentence: what is between the frame and the first rule."""
    lines = [line.strip().strip("│").strip() for line in box.splitlines()]
    body = []
    for line in lines:
        if line.startswith("╭"):
            continue
        if line.startswith(("─", "╰")):
            break
        body.append(line)
    said = " ".join(body).strip().rstrip(".")
    if said.startswith("Missing from"):
        wanted = [f.name.upper() for f in _fields(kind) if _positional(f)]
        return f"`{prog}` wants {' '.join(wanted)} first; `{prog} --help` shows its flags."
    flag = re.match(r"Error parsing (--[\w-]+)", said)
    field = next((f for f in _fields(kind) if flag and f"--{f.name.replace('_', '-')}" == flag[1]), None)
    if flag and field is not None and flag[1] in args:
        given = args[list(args).index(flag[1]) + 1 :]
        value = given[0] if given else ""
        annotation = (
            getattr(field.type, "__origin__", field.type) if hasattr(field.type, "__metadata__") else field.type
        )
        return f"{flag[1]} wants {annotation if isinstance(annotation, str) else type_name(annotation)}, got {value!r}."
    return f"{said}; `{prog} --help` shows its flags."
