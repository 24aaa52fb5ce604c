"""The incremental step of a model, compiled once and driven from the host: what both sides of the codec run."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxgen import conditions
from jaxgen.core import Variables
from jaxgen.images import to_float
from jaxgen.orders import to_raster

PROBED_ROWS = 2
"""Rows of the question by which a program is known."""

OPTIONS: dict[str, dict[str, Any]] = {
    # Sums in a fixed order, and no algorithm chosen by how long it took on the day.
    "gpu": {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0},
}
"""Compiler options by platform without which two compilations of a program may compute different floats."""

Pixel = Callable[[int, int, Callable[[np.ndarray], Any]], tuple[np.ndarray, Any, Any]]
"""`(row, column, step) -> (values uint8[batch,c], state, kept)`: what a side does at a pixel, see `Steps.walk`."""


class Steps:
    """A model's incremental step for `batch` images at once, with conditions or without, on a device: what both run."""

    def __init__(self, model: Any, variables: Variables, batch: int, conditional: bool = False):
        self.model, self.batch, self.conditional, self.device = model, batch, conditional, jax.local_devices()[0]
        self.variables = jax.device_put(variables, self.device)
        self.height, self.width = to_raster(np.empty((1, *model.shape[:2])), model.order).shape[1:]
        self.start, self.open, self.pixel, self.close = _programs(model, batch, self.device.platform)

    def lines(self, image: np.ndarray) -> np.ndarray:
        """Images as pixels in the model's order, uint8[rows,columns,batch,c], filled up with zeros."""
        full = np.zeros((self.batch, *image.shape[1:]), np.uint8)
        full[: len(image)] = image
        return np.ascontiguousarray(to_raster(full, self.model.order).transpose(1, 2, 0, 3))

    def walk(
        self, condition: Any, pixel: Pixel, told: Callable[[int], None] | None = None, rows: int | None = None
    ) -> np.ndarray:
        """The pixels uint8[rows,columns,batch,c] of a batch, in the model's order; `told` counts the rows.

        At each, `step(values uint8[batch,c])` gives probabilities [batch,c,levels], of which those of a channel do not
        depend on its own value and later ones, and the state and the kept that belong to the values.
        """
        both = self.variables, jax.device_put(condition, self.device)
        rows = self.height if rows is None else rows
        lines = np.empty((rows, self.width, self.batch, self.model.shape[2]), np.uint8)
        cache = self.start(*both)
        for r in range(rows):
            given, state = self.open(*both, cache, np.int32(r))
            kept = []
            for j in range(self.width):
                step = functools.partial(self.pixel, *both, given, state, np.int32(j))
                lines[r, j], state, own = pixel(r, j, step)
                kept.append(own)
            cache = self.close(*both, cache, tuple(kept), lines[r], np.int32(r))
            if told is not None:
                told(r + 1)
        return lines

    def probe(self) -> str:
        """SHA-256 of the probabilities in the first rows of a batch of arbitrary values, the same on both sides."""
        found, rows = hashlib.sha256(), min(PROBED_ROWS, self.height)
        shape = (rows, self.width, self.batch, self.model.shape[2])
        mixed = np.arange(math.prod(shape), dtype=np.uint64) * np.uint64(2654435761) >> np.uint64(13)
        values = (mixed % np.uint64(self.model.levels)).astype(np.uint8).reshape(shape)

        def pixel(r: int, j: int, step: Any) -> Any:
            pmf, state, kept = step(values[r, j])
            found.update(np.asarray(pmf).tobytes())
            return values[r, j], state, kept

        self.walk(self._asked() if self.conditional else None, pixel, rows=rows)
        return found.hexdigest()

    def _asked(self) -> Any:
        """The condition of the question: labels in turn, or arbitrary vectors or maps."""
        tail = conditions.tail(self.model.condition, self.model.shape)
        if not tail:
            return self.model.example_condition(self.batch)
        return np.linspace(-1, 1, self.batch * math.prod(tail), dtype=np.float32).reshape(self.batch, *tail)


@functools.lru_cache(maxsize=64)
def _programs(model: Any, batch: int, platform: str) -> tuple[Callable[..., Any], ...]:
    """To begin a batch, open a row, pass a pixel, close the row: `program(variables, condition, …)`, compiled. Models
    are hashable, so both sides get the very same."""

    def compiled(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(variables: Any, condition: Any, *given: Any) -> Any:
            return method(model.walk(variables, batch, condition), *given)

        return jax.jit(run, compiler_options=OPTIONS.get(platform))

    def start(walker: Any) -> Any:
        return walker.cache()

    def open_row(walker: Any, cache: Any, r: Array) -> Any:
        return walker.row(cache, r)

    def pixel(walker: Any, given: Any, state: Any, j: Array, known: Array) -> Any:
        pmf: list[Array] = []

        def draw(k: int, outputs: Array, value: Array) -> Array:
            pmf.append(jnp.exp(model.likelihood.log_pmf_at(outputs, to_float(value, model.levels), k)))
            return known[:, k]

        _, state, kept = walker.pixel(walker.column(given, j), state, draw)
        return jnp.stack(pmf, 1), state, kept

    def close_row(walker: Any, cache: Any, kept: Any, values: Array, r: Array) -> Any:
        return walker.finish(cache, jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept), values, r)

    return tuple(compiled(method) for method in (start, open_row, pixel, close_row))
