"""Compiled programs over many images, a chunk at a time: the result does not depend on the chunk."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgen.core.capabilities import Autoregressive
from jaxgen.core.checks import check_count, check_temperature
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.explore.inputs import checked_mask
from jaxgen.explore.likelihood import influence, surprise

CHUNK = 100
"""Images that are drawn or scored at a time, unless told otherwise."""


Program = Callable[[Variables, Any, dict[str, Any]], Any]


def in_chunks(
    run: Callable[[dict[str, Any]], Any],
    rows: dict[str, Any],
    num: int,
    chunk: int = CHUNK,
    multiple: int = 1,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """`run(rows)` for all `num` rows, `chunk` at a time: every call has the same shapes, so that it compiles once.

    `rows` are numpy arrays (None for those that are not there), to which the numbers "row" are added. Chunks are
    rounded up to a `multiple`, the devices that share them. `progress` is told how many rows are done. Raises
    `UsageError` for fewer than one row, or a chunk of none.
    """
    check_count(num)
    if chunk < 1:
        raise UsageError(f"wanted chunks of at least 1 image, got {chunk}.")
    chunk, results = -(-min(chunk, num) // multiple) * multiple, []
    for start in range(0, num, chunk):
        index = np.minimum(np.arange(start, start + chunk), num - 1)  # the last chunk is filled up with its last row
        results.append(np.asarray(run({"row": index, **jax.tree.map(lambda a, i=index: np.asarray(a)[i], rows)})))
        if progress is not None:
            progress(min(start + chunk, num))
    return np.concatenate(results)[:num]


def sampling(model: Any, temperature: float = 1.0) -> Program:
    """The program that draws images, each with the key of its row."""
    options = _options(model, model.sample, temperature)

    def one(variables: Variables, key: Any, row: dict[str, Any]) -> Any:
        return model.sample(variables, key, 1, row["condition"], **options)

    return _each(one)


def completion(model: Any, given: Any, temperature: float = 1.0) -> Program:
    """The program that completes images, each with the key of its row. The mask bool[h,w] is part of the program:
    a model may choose the order of its pixels by it."""
    options, mask = _options(model, model.complete, temperature), checked_mask(model, given)

    def one(variables: Variables, key: Any, row: dict[str, Any]) -> Any:
        return model.complete(variables, key, row["image"], mask, row["condition"], **options)

    return _each(one)


def scoring(model: Any) -> Program:
    """The program of log-probabilities, in nats; a bound that draws has a key for each chunk."""

    def program(variables: Variables, key: Any, rows: dict[str, Any]) -> Any:
        key = jax.random.fold_in(key, rows["row"][0])
        return model.log_prob(variables, rows["image"], key, rows["condition"])

    return program


def drawing_codes(model: Any) -> Program:
    """The program that draws codes, each with the key of its row: those of `sampling`, where a model decodes them."""
    return _each(lambda variables, key, row: model.prior(key, 1))


def decoding(model: Any) -> Program:
    """The program that makes images of codes."""
    return lambda variables, key, rows: model.decode(variables, rows["z"], rows["condition"])


def encoding(model: Any) -> Program:
    """The program that maps images to vectors."""
    return lambda variables, key, rows: model.encode(variables, rows["image"], rows["condition"])


def describing(model: Any) -> Program:
    """The program of the features of images."""
    return lambda variables, key, rows: model.features(variables, rows["image"])


def classifying(model: Any) -> Program:
    """The program of the log-probabilities of classes; a model that draws has a key for each chunk."""

    def program(variables: Variables, key: Any, rows: dict[str, Any]) -> Any:
        return model.class_log_probs(variables, rows["image"], jax.random.fold_in(key, rows["row"][0]))

    return program


def energies(model: Any) -> Program:
    """The program of the energies of images."""
    return lambda variables, key, rows: model.energy(variables, rows["image"])


def reconstruction(model: Any) -> Program:
    """The program that passes images through their representation and back."""
    return lambda variables, key, rows: model.reconstruct(variables, rows["image"], rows["condition"])


def surprising(model: Any) -> Program:
    """The program of `surprise`."""
    return lambda variables, key, rows: surprise(model, variables, rows["image"], rows["condition"])


def influencing(model: Any, at: tuple[int, int] | None = None) -> Program:
    """The program of `influence`."""
    return lambda variables, key, rows: influence(model, variables, rows["image"], rows["condition"], at)


def _options(model: Any, draw: Callable[..., Any], temperature: float) -> dict[str, float]:
    """The options of a draw: a temperature is passed on only where there is one to speak of."""
    if temperature == 1:
        return {}
    if "temperature" not in inspect.signature(draw).parameters:
        said = f"{type(model).__name__} cannot draw at a temperature: its `{draw.__name__}` takes none"
        if isinstance(model, Autoregressive):
            raise UsageError(f"{said}. Leave temperature at 1, got {temperature:g}.")
        kinds = importlib.import_module("jaxgen.models")  # only to speak of them
        drawn = {name: getattr(getattr(kinds, name), draw.__name__, None) for name in kinds.__all__}
        others = ", ".join(n for n, d in drawn.items() if d and "temperature" in inspect.signature(d).parameters)
        raise UsageError(
            f"{said}, for it has no probabilities or prior that could be sharpened. Leave "
            f"temperature at 1, got {temperature:g}. Models that can: {others}."
        )
    check_temperature(temperature)
    return {"temperature": float(temperature)}


def _each(one: Callable[..., Any]) -> Program:
    """A program from the function of a single row: the row is a batch of one, and its number makes its key."""

    def program(variables: Variables, key: Any, rows: dict[str, Any]) -> Any:
        def single(row: dict[str, Any]) -> Any:
            batch = jax.tree.map(lambda a: a[None], row)
            return one(variables, jax.random.fold_in(key, row["row"]), batch)[0]

        return jax.vmap(single)(rows)

    return program
