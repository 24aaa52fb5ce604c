"""One checkpoint's folder, read and compared with what it says of itself.

    state/     the leaves of a state
    meta/      a text as bytes: "digest", {"leaves": {name: digest}}

Names, shapes and dtypes are compared with what the caller expects before a state is read, because Orbax casts silently,
and digests after it, because Orbax gives back flipped bits without a word.
"""

from __future__ import annotations

import errno
import gc
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.engine.checkpoint.damage import chain, quiet, reason, storage_reason
from jaxgen.engine.checkpoint.digest import digests, leaves_by_name

T = TypeVar("T")


class Damaged(Exception):
    """A checkpoint that is not what was saved; the message says why."""


class Saved:
    """A whole checkpoint in its folder. Every method raises `Damaged` where it meets damage."""

    def __init__(self, folder: Path):
        self.folder = folder

    def restore(self, target: Any) -> Any:
        """The state, laid out like `target`. Raises `UsageError` where a leaf is of another name, shape or dtype."""
        saved, record = self._described()
        _check(saved, target, str(self.folder))
        wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target)
        state = self._load("state", wanted)
        _compare(record, state)
        return state

    def variables(self, sharding: jax.sharding.Sharding, averaged: bool) -> Variables:
        """The variables of a training run's state, and nothing else of it."""
        saved, record = self._described()
        if not isinstance(saved, Mapping) or "variables" not in saved:
            raise UsageError(f"checkpoint {self.folder} holds no variables of a training run.")
        wanted = {
            name: jax.tree.map(
                lambda x, load=name in ("variables", "ema"): (
                    jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) if load else ocp.PLACEHOLDER
                ),
                tree,
            )
            for name, tree in saved.items()
        }
        state = self._load("state", wanted)
        state = {name: state[name] for name in ("variables", "ema") if name in state}
        _compare(record, state)
        ema = state.get("ema") if averaged else None
        return state["variables"] if ema is None else {**state["variables"], **ema}

    def texts(self) -> dict[str, Any]:
        """The values of the texts in meta."""
        texts = self._load("meta", None)
        return self._read(lambda: {k: json.loads(bytes(np.asarray(v, np.uint8))) for k, v in texts.items()})

    def _described(self) -> tuple[Any, dict[str, Any]]:
        """Shapes and dtypes of the state, and the record of its digests."""
        record = self.texts()["digest"]
        saved = self._read(lambda: ocp.checkpointables_metadata(self.folder).metadata.get("state"))
        leaves = leaves_by_name(saved)
        if not leaves:
            raise Damaged("the description of its state cannot be read")
        for name in record["leaves"]:
            if name not in leaves:
                raise Damaged(f"leaf '{name}' is gone")
        return saved, record

    def _load(self, part: str, wanted: Any) -> Any:
        return self._read(lambda: ocp.load_checkpointables(self.folder, {part: wanted})[part])

    def _read(self, read: Callable[[], T]) -> T:
        """What `read` gives. What it raises is damage, unless the memory or a permission was lacking."""
        with quiet():
            try:
                return read()
            except Exception as error:
                if any(isinstance(e, MemoryError) or "RESOURCE_EXHAUSTED" in str(e) for e in chain(error)):
                    raise
                denied = storage_reason(error, (errno.EACCES, errno.EPERM))
                why = reason(error, str(self.folder))
            gc.collect()  # reads that failed beside this one speak when they are collected: now, while it is quiet
        if denied is not None:
            raise UsageError(f"cannot read {self.folder}: {denied}.")
        raise Damaged(why)


def _compare(record: Mapping[str, Any], state: Any) -> None:
    """Raises `Damaged` with the first leaf that is not what was saved."""
    for name, digest in digests(state).items():
        if digest != record["leaves"].get(name):
            raise Damaged(f"leaf '{name}' is not what was saved")


def _check(saved: Any, target: Any, where: str) -> None:
    """Raises `UsageError` with the first leaf that is missing, left over, or of another shape or dtype."""

    def as_stored(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return x

    have, want = leaves_by_name(saved), {k: as_stored(x) for k, x in leaves_by_name(target).items()}
    advice = "It was saved by another model, optimiser or recipe: give the one that wrote it, or a new folder."
    for name in want:
        if name not in have:
            raise UsageError(f"checkpoint {where} has no leaf '{name}'. {advice}")
        a, b = have[name], want[name]
        if tuple(a.shape) != tuple(b.shape) or a.dtype != b.dtype:
            raise UsageError(
                f"leaf '{name}' of checkpoint {where} is {a.dtype}{list(a.shape)}, but {b.dtype}{list(b.shape)} "
                f"was wanted. {advice}"
            )
    for name in have:
        if name not in want:
            raise UsageError(f"checkpoint {where} has a leaf '{name}' that is not wanted. {advice}")
