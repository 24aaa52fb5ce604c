"""Knobs: the parameters of a recipe, read off its signature without executing it.

A knob is an int, float, bool, str, Literal or tuple of these, or one of them or None; its default is a literal, or
arithmetic on literals and on the module's earlier literal names; a comment behind it on its line is its help.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import math
import operator
import tokenize
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jaxgen.core.errors import UsageError

RESERVED = (
    "recipe", "run", "fresh", "json", "debug", "help", "profile",
    "distributed", "coordinator", "num_processes", "process_id", "heartbeat",
    "table_depth", "output", "start", "preset", "smoke",
)  # fmt: skip
"""Names that the commands use themselves, which no knob can have."""

_SCALARS = {"int": int, "float": float, "bool": bool, "str": str, "None": None}
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
}


@dataclasses.dataclass(frozen=True)
class Knob:
    """One parameter of a recipe: its name, type, default and the comment behind it."""

    name: str
    type: Any
    default: Any
    help: str = ""

    def convert(self, value: Any) -> Any:
        """The value as this knob's type (an int for a float, a list for a tuple). Raises `UsageError` otherwise, and
        for floats that are not finite."""
        converted = _convert(value, self.type)
        if converted is _UNFIT:
            raise UsageError(f"knob {self.name!r} wants {type_name(self.type)}, got {value!r}.")
        return converted


ENGINE = {
    knob.name: knob
    for knob in (
        Knob("seed", int | None, None, "seed of parameters, draws and order of the data"),
        Knob("clip", float | None, None, "largest global norm of a gradient"),
        Knob("ema", float | None, None, "decay of the averaged parameters that are evaluated"),
        Knob("dtype", Literal["float32", "bfloat16"] | None, None, "arithmetic of the nets"),
        Knob(
            "parallel",
            Literal["jit", "fsdp", "pmap"] | None,
            None,
            "one program over the mesh, parameters whole or shared out, or one program per device",
        ),
        Knob("accumulate", int | None, None, "pieces in which a batch is taken"),
        Knob("remat", bool | None, None, "compute activations again in the backward pass: less memory"),
        Knob("on_nan", Literal["stop", "skip"] | None, None, "what a loss, gradient or update that is not finite does"),
        Knob("chunk", int | None, None, "steps per dispatch"),
        Knob("replacement", bool | None, None, "draw examples independently, not in shuffled epochs"),
        Knob("patience", int | None, None, "evaluations without a better one before the run ends"),
        Knob("evaluate_every", int | None, None, "steps between evaluations"),
        Knob("save_every", int | None, None, "steps between checkpoints"),
        Knob("samples", int | None, None, "images drawn at each evaluation"),
        Knob("keep", int | None, None, "how many of the latest checkpoints stay"),
    )
}
"""Knobs that every recipe has beside those of its signature; None leaves what the recipe says."""

OF_MODEL = {"dtype", "remat"}
"""Those of them that are the model's own."""


def read_knobs(path: Path, function: ast.FunctionDef, names: dict[str, Any], source: str) -> dict[str, Knob]:
    """The knobs of a recipe's function, by name; `names` are the module's literal names, `source` its text.

    Raises `UsageError` with the file's line for a parameter without type or default, or of a type that no flag has.
    """
    a = function.args
    if a.vararg or a.kwarg:
        raise UsageError(f"{path}: `recipe` cannot take *args or **kwargs: its signature is the list of its knobs.")
    arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    missing = len(a.posonlyargs) + len(a.args) - len(a.defaults)
    defaults = [None] * missing + list(a.defaults) + list(a.kw_defaults)
    comments = _comments(source)
    lines = [argument.lineno for argument in arguments]
    knobs = {}
    for argument, default in zip(arguments, defaults):
        where, name = f"{path}, line {argument.lineno}: knob {argument.arg!r}", argument.arg
        if name in RESERVED:
            raise UsageError(f"{where} has a name that the command line uses; choose another.")
        if argument.annotation is None or default is None:
            raise UsageError(f"{where} needs a type and a default, `{name}: int = 3`.")
        try:
            kind, value = _type(argument.annotation), literal(default, names)
        except ValueError as error:
            raise UsageError(f"{where}: {error}.") from error
        help = comments.get(default.end_lineno or 0, "") if lines.count(argument.lineno) == 1 else ""
        knob = Knob(name, kind, value, help)
        knobs[name] = dataclasses.replace(knob, default=knob.convert(value))
    return knobs


def type_name(kind: Any) -> str:
    """A knob's type as its author wrote it: `int`, `tuple[int, ...]`, `float | None`, `one of 'a', 'b'`."""
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(kind)))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        inner = ("..." if a is Ellipsis else type_name(a) for a in typing.get_args(kind))
        return f"tuple[{', '.join(inner)}]"
    return "None" if kind in (None, type(None)) else kind.__name__


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def literal(node: ast.AST, names: Mapping[str, Any]) -> Any:
    """The value of a literal expression: constants, containers, `dict(…)`, arithmetic, earlier literal names."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Tuple(elts=items):
            return tuple(literal(item, names) for item in items)
        case ast.List(elts=items):
            return [literal(item, names) for item in items]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {literal(k, names): literal(v, names) for k, v in zip(keys, values) if k is not None}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if all(k.arg for k in keywords):
            return {str(k.arg): literal(k.value, names) for k in keywords}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -literal(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            with contextlib.suppress(TypeError, ArithmeticError):
                return _OPERATORS[type(op)](literal(left, names), literal(right, names))
    raise ValueError(f"`{ast.unparse(node)}` is no literal")


def _type(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return _type(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) if name in _SCALARS:
            return _SCALARS[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[_type(left), _type(right)]  # noqa: UP007 (None | None is no type)
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=choices):
            values = literal(choices, {})
            return Literal[values]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=items)):
            inner = (... if isinstance(i, ast.Constant) and i.value is ... else _type(i) for i in items)
            return types.GenericAlias(tuple, tuple(inner))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=item):
            return types.GenericAlias(tuple, (_type(item),))
    raise ValueError(f"type `{ast.unparse(node)}` is none of int, float, bool, str, Literal, tuple[…], … | None")


_UNFIT = object()


def _convert(value: Any, kind: Any) -> Any:
    """The value as this type, or `_UNFIT`."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return next((v for v in inner if v == value and type(v) is type(value)), _UNFIT)
    if origin in (typing.Union, types.UnionType):
        options = (_convert(value, k) for k in inner)
        fits = [v for v in options if v is not _UNFIT]
        return next((v for v in fits if type(v) is type(value)), fits[0] if fits else _UNFIT)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _UNFIT
        kinds = inner[:1] * len(value) if inner[-1:] == (...,) else inner
        items = tuple(_convert(v, k) for v, k in zip(value, kinds)) if len(kinds) == len(value) else (_UNFIT,)
        return _UNFIT if any(item is _UNFIT for item in items) else items
    if kind in (None, type(None)):
        return None if value is None else _UNFIT
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        return _UNFIT
    return value
