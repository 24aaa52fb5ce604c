"""The incremental steps of a model, compiled once and driven from the host: what both sides of the codec run."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Walk
from jaxgen.core.images import to_float
from jaxgen.core.model import Variables
from jaxgen.core.orders import from_raster, to_raster

PROBED_ROWS = 2
"""Rows of each walk in the question by which a program is known."""

OPTIONS: dict[str, dict[str, Any]] = {
    # Sums in a fixed order, and no algorithm chosen by how long it took on the day.
    "gpu": {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0},
}
"""Compiler options by platform without which two compilations of a program may compute different floats."""

Step = Callable[[np.ndarray], Any]
"""`step(values uint8[batch,c])` at a pixel gives probabilities [batch,c,levels], of which those of a channel do not
depend on its own value and later ones, and the state and the kept that belong to the values."""

Pixel = Callable[[np.ndarray, Step], tuple[np.ndarray, Any, Any]]
"""`(values uint8[batch,c], step) -> (values, state, kept)`: what a side does at a pixel that counts. It is given what
stands there, and gives what shall, with the state and the kept that belong to it."""


class Steps:
    """A model's incremental steps for `batch` images at once, with conditions or without, on a device."""

    def __init__(self, model: Any, variables: Variables, batch: int, conditional: bool = False):
        self.model, self.batch, self.conditional, self.device = model, batch, conditional, jax.local_devices()[0]
        self.variables = jax.device_put(variables, self.device)
        self.programs = _programs(model, batch, self.device.platform)
        self.rows = sum(len(self._lines(self.filled(()), program.walk)) for program in self.programs)

    def filled(self, image: Any) -> UInt8[np.ndarray, "batch h w c"]:
        """At most `batch` images, filled up with zeros."""
        full = np.zeros((self.batch, *self.model.shape), np.uint8)
        if len(image):
            full[: len(image)] = image
        return full

    @staticmethod
    def _lines(image: np.ndarray, walk: Walk) -> np.ndarray:
        """What a walk goes over of images [b,h,w,…], as it goes: [rows,columns,b,…]."""
        part = to_raster(image[:, :: walk.stride, :: walk.stride], walk.order)
        return np.ascontiguousarray(part.swapaxes(0, 1).swapaxes(1, 2))

    def walk(
        self,
        image: UInt8[np.ndarray, "batch h w c"],
        condition: Any,
        pixel: Pixel,
        progress: Callable[[int], None] | None = None,
        rows: int | None = None,
    ) -> UInt8[np.ndarray, "batch h w c"]:
        """The images with what `pixel` gives at each pixel, in the order in which the model goes over them.

        `progress` counts the rows of all walks; with `rows`, each walk ends after so many.
        """
        image, done, passed = image.copy(), np.zeros((1, *image.shape[1:3]), bool), 0
        for program in self.programs:
            walk, both = program.walk, (self.variables, jax.device_put(condition, self.device))
            if program.condition is not None:
                both = self.variables, program.condition(self.variables, image)
            lines, known = self._lines(image, walk), self._lines(done, walk)[..., 0]
            cache = program.start(*both)
            for r in range(len(lines) if rows is None else min(rows, len(lines))):
                given, state = program.open(*both, cache, np.int32(r))
                kept = []
                for j in range(lines.shape[1]):
                    step = functools.partial(program.pixel, *both, given, state, np.int32(j))
                    if known[r, j]:
                        _, state, own = step(lines[r, j])
                    else:
                        lines[r, j], state, own = pixel(lines[r, j], step)
                    kept.append(own)
                cache = program.close(*both, cache, tuple(kept), lines[r], np.int32(r))
                passed += 1
                if progress is not None:
                    progress(passed)
            image[:, :: walk.stride, :: walk.stride] = from_raster(lines.transpose(2, 0, 1, 3), walk.order)
            done[:, :: walk.stride, :: walk.stride] = True
        return image

    def probe(self) -> str:
        """SHA-256 of the probabilities in the first rows of a batch of arbitrary values, the same on both sides."""
        checksum, shape = hashlib.sha256(), (self.batch, *self.model.shape)
        mixed = np.arange(math.prod(shape), dtype=np.uint64) * np.uint64(2654435761) >> np.uint64(13)
        image = (mixed % np.uint64(self.model.levels)).astype(np.uint8).reshape(shape)

        def pixel(values: np.ndarray, step: Step) -> Any:
            pmf, state, kept = step(values)
            checksum.update(np.asarray(pmf).tobytes())
            return values, state, kept

        self.walk(image, self._asked() if self.conditional else None, pixel, rows=PROBED_ROWS)
        return checksum.hexdigest()

    def _asked(self) -> Any:
        """The condition of the question: labels in turn, or arbitrary vectors or maps."""
        tail = conditions.tail(self.model.condition, self.model.shape)
        if not tail:
            return self.model.example_condition(self.batch)
        return np.linspace(-1, 1, self.batch * math.prod(tail), dtype=np.float32).reshape(self.batch, *tail)


class _Program(NamedTuple):
    """Of a walk, each compiled: its condition, if it makes one; to begin a batch, open a row, pass a pixel, close the
    row: `program(variables, condition, …)`."""

    walk: Walk
    condition: Callable[..., Any] | None
    start: Callable[..., Any]
    open: Callable[..., Any]
    pixel: Callable[..., Any]
    close: Callable[..., Any]


@functools.lru_cache(maxsize=64)
def _programs(model: Any, batch: int, platform: str) -> tuple[_Program, ...]:
    """A program for each of a model's walks. Models are hashable, so both sides get the very same."""
    return tuple(_program(walk, model.levels, batch, OPTIONS.get(platform)) for walk in model.walks())


def _program(walk: Walk, levels: int, batch: int, options: dict[str, Any] | None) -> _Program:
    def compiled(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(variables: Any, condition: Any, *given: Any) -> Any:
            return method(walk.walker(variables, batch, condition), *given)

        return jax.jit(run, compiler_options=options)

    def start(walker: Any) -> Any:
        return walker.cache()

    def open_row(walker: Any, cache: Any, r: Array) -> Any:
        return walker.row(cache, r)

    def pixel(walker: Any, given: Any, state: Any, j: Array, known: Array) -> Any:
        pmf: list[Array] = []

        def draw(k: int, outputs: Array, value: Array) -> Array:
            pmf.append(jnp.exp(walk.head.log_pmf_at(outputs, to_float(value, levels), k)))
            return known[:, k]

        _, state, kept = walker.pixel(walker.column(given, j), state, draw)
        return jnp.stack(pmf, 1), state, kept

    def close_row(walker: Any, cache: Any, kept: Any, values: Array, r: Array) -> Any:
        return walker.finish(cache, jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept), values, r)

    condition = None if walk.condition is None else jax.jit(walk.condition, compiler_options=options)
    return _Program(walk, condition, *(compiled(method) for method in (start, open_row, pixel, close_row)))
