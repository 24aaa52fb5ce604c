"""Flags from dataclasses and recipes' signatures. Only this file imports tyro, whose boxes become sentences."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from jaxgen.core.errors import UsageError, nearest
from jaxgen.runs import recipes
from jaxgen.runs.recipes.knobs import type_name

T = TypeVar("T")
Json = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Print the result as JSON.")]


def text(metavar: str, otherwise: str, *aliases: str) -> Any:
    """The type of a flag whose empty default means something that only the command can say."""
    return Annotated[str, tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {otherwise})", aliases=aliases)]


def parse(kind: type[T], args: Sequence[str], prog: str, description: str | None = None) -> T:
    """The flags as an instance of a dataclass. Raises `UsageError` for what does not parse; `--help` exits."""
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            options, unknown = tyro.cli(
                kind, prog=prog, args=list(args), description=description, return_unknown_args=True
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_sentence(boxed.getvalue(), kind, args, prog)) from None
    for word in unknown:
        if word.startswith("-") and not _numeric(word):
            name = word.split("=")[0]
            known = [_flag(f) for f in _fields(kind) if not _positional(f)]
            raise UsageError(f"`{prog}` has no flag {name}.{nearest(name, known)} Its flags: {', '.join(known)}.")
    if unknown:
        raise UsageError(f"`{prog}` does not know what to do with {unknown[0]!r}; `{prog} --help` shows its flags.")
    return options


def with_recipe(kind: type[T], args: Sequence[str], prog: str) -> tuple[recipes.RecipeFile, T, dict[str, Any]]:
    """A recipe, this command's own flags and all knobs, from `RECIPE [--preset NAME] [--knob value …] [--flag …]`.

    The recipe must come first: its signature says what the rest means. A preset changes the knobs' defaults.
    """
    if args and args[0] in ("-h", "--help"):
        parse(kind, args, f"{prog} RECIPE [--knob value ...]")
    if not args or args[0].startswith("-"):
        rest = " ".join(["RECIPE", *args])
        raise UsageError(f"the recipe comes first: `{prog} {rest}`; `jaxgen list` shows the recipes.")
    file, args = _variant(recipes.find(args[0]), args)
    own = [_field(knob) for knob in file.knobs.values()]
    common = [_field(knob, help_behavior_hint="(default: the recipe's)") for knob in file.common.values()]
    knobs = dataclasses.make_dataclass("Knobs", own + common)
    both = dataclasses.make_dataclass("Both", [_nested("knobs", knobs), _nested("options", kind)])
    parsed: Any = parse(both, args[1:], f"{prog} {args[0]}", _description(file))
    return file, parsed.options, file.settings(dataclasses.asdict(parsed.knobs))


def _description(file: recipes.RecipeFile) -> str:
    """What `--help` says of a recipe: its docstring, and the two flags that change the defaults below it."""
    named = f"--preset {'|'.join(file.presets)}: with the settings of a variant. " if file.presets else ""
    return f"{file.doc or file.name}\n\n{named}--smoke: a run of seconds, to see whether all works."


def _variant(file: recipes.RecipeFile, args: Sequence[str]) -> tuple[recipes.RecipeFile, list[str]]:
    """The recipe that `--preset NAME` and `--smoke` make of it, and the words that are left: both change defaults."""
    first, *words = args
    rest, preset, smoke = [first], "", False
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        if name == "--preset":
            preset = value or (words.pop(0) if words else "")
            if not preset:
                raise UsageError(f"--preset wants a name. Presets of {file.name}: {', '.join(file.presets) or 'none'}.")
        elif word == "--smoke":
            smoke = True
        else:
            rest.append(word)
    file = file.with_preset(preset) if preset else file
    return file.with_smoke() if smoke else file, rest


def _nested(name: str, kind: Any) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(name="")], dataclasses.field(default_factory=kind)


def _field(knob: Any, **settings: Any) -> tuple[str, Any, Any]:
    settings = settings | ({"help": knob.help} if knob.help else {})
    kind = Annotated[knob.type, tyro.conf.arg(**settings)] if settings else knob.type
    return knob.name, kind, dataclasses.field(default=knob.default)


def _fields(kind: Any) -> list[Any]:
    fields: list[Any] = []
    for field in dataclasses.fields(kind):
        nested = dataclasses.is_dataclass(field.default_factory)
        fields += _fields(field.default_factory) if nested else [field]
    return fields


def _positional(field: Any) -> bool:
    return "Positional" in str(field.type)


def _flag(field: Any) -> str:
    return "--" + field.name.rstrip("_").replace("_", "-")


def _numeric(word: str) -> bool:
    return re.fullmatch(r"-[\d.].*", word) is not None


def _sentence(box: str, kind: Any, args: Sequence[str], prog: str) -> str:
    """tyro's box as one sentence: what comes before the first rule, titles aside."""
    parts: list[list[str]] = [[]]
    for line in (line.strip().strip("│").strip() for line in box.splitlines()):
        if line.startswith("╭"):  # the title is in the frame; where there is none (no UTF-8), in a part of its own
            parts = [[], []]
        elif line and not line.strip("─-╰╯"):
            parts.append([])
        else:
            parts[-1].append(line)
    said = " ".join(parts[1] if len(parts) > 1 else parts[0]).strip().rstrip(".")
    if said.startswith("Missing from"):
        missing = [f for f in _fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
        wanted = [f.name.upper() if _positional(f) else f"{_flag(f)} …" for f in missing]
        return f"`{prog}` wants {' '.join(wanted)}; `{prog} --help` shows its flags."
    flag = re.match(r"Error parsing (--[\w-]+)", said)
    field = next((f for f in _fields(kind) if flag and _flag(f) == flag[1]), None)
    if flag and field is not None and flag[1] in args:
        given = itertools.takewhile(lambda word: not word.startswith("--"), args[list(args).index(flag[1]) + 1 :])
        value = " ".join(given)
        annotation = (
            getattr(field.type, "__origin__", field.type) if hasattr(field.type, "__metadata__") else field.type
        )
        return f"{flag[1]} wants {annotation if isinstance(annotation, str) else type_name(annotation)}, got {value!r}."
    return f"{said}; `{prog} --help` shows its flags."
