"""What a step of a recipe costs: time through the engine, arithmetic, share of a matrix-product peak, memory.

The time is that of `jaxgen.engine.fit.fit`, with everything that a run does between two steps. The arithmetic is
counted in the step's program before the compiler sees it: 2·m·n·k for every matrix product and its like for every
convolution, a loop's body as often as the loop runs, over all devices. XLA's own figure, from the compiled program, is
given beside it: it counts every operation, but the body of a loop *once*, and one device's share; so it is no base for
a rate where a model is recurrent or scans over its layers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxgen.core.model import Batch
from jaxgen.data.dataset import Dataset, Transform, split_arrays
from jaxgen.engine.devices.mesh import make_mesh, on_cpu, replicated, sharded
from jaxgen.engine.fit import fit
from jaxgen.engine.gradient import Layout
from jaxgen.engine.jaxprs import count_flops
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.reporter import Reporter
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step

WARM_UP = 3
"""Dispatches before the timed ones."""


def measure(recipe: Recipe, *, mesh: Mesh | None = None, repeats: int = 20) -> dict[str, Any]:
    """Loads the recipe's data, compiles its step, and times `repeats` dispatches; nothing is written.

    compile_s              of the step's program, without the persistent cache
    ms_per_step            median over dispatches, through the engine; ms_per_step_best is the least
    images_per_s           batch over the median
    gflop_per_step         arithmetic of matrix products and convolutions, loops counted as often as they run
    xla_gflop_per_step     XLA's count for one device, loop bodies counted once; None where it gives none
    gflop_per_s, peak_gflop_per_s, share_of_peak   arithmetic over the median; the best of several large products in
                           the model's dtype on the same devices in the same run; their ratio
    memory_mb, memory_of   peak, and of what: "device" where the backend tells, else "process"

    Raises `UsageError` as `fit` does.
    """
    mesh = make_mesh() if mesh is None else mesh
    dataset = recipe.data.load()
    seconds = _times(recipe, dataset, mesh, repeats)  # first, since it checks the recipe against the data
    with _uncached():
        cost = step_cost(recipe, _batch(recipe, dataset), dataset.transform, mesh)
    flops, xla_flops = cost["flops"], cost["xla_flops"]
    dtype = getattr(recipe.model, "dtype", "float32")
    peak = matmul_peak(mesh, dtype)
    median = statistics.median(seconds)
    memory, of = _memory(mesh)
    return {
        "model": type(recipe.model).__name__,
        "data": dataset.name,
        "device": mesh.devices.flat[0].device_kind,
        "devices": int(mesh.devices.size),
        "dtype": dtype,
        "batch": recipe.batch,
        "compile_s": round(cost["compile_s"], 3),
        "ms_per_step": round(1e3 * median, 3),
        "ms_per_step_best": round(1e3 * min(seconds), 3),
        "images_per_s": round(recipe.batch / median, 1),
        "gflop_per_step": round(flops / 1e9, 4),
        "xla_gflop_per_step": None if xla_flops is None else round(xla_flops / 1e9, 4),
        "gflop_per_s": round(flops / median / 1e9, 2),
        "peak_gflop_per_s": round(peak / 1e9, 2),
        "share_of_peak": round(flops / median / peak, 4),
        "memory_mb": round(memory / 2**20, 1),
        "memory_of": of,
    }


def describe(figures: Mapping[str, Any]) -> str:
    """The figures of `measure` as lines of text."""
    xla = figures["xla_gflop_per_step"]
    counted = "" if xla is None else f"; XLA counts {xla:.4g} for one device, the body of a loop once"
    rows = {
        "step": f"{figures['model']} on {figures['data']}, batch {figures['batch']}, {figures['dtype']}",
        "device": f"{figures['devices']} × {figures['device']}",
        "compile": f"{figures['compile_s']:.2f} s",
        "time": f"{figures['ms_per_step']:.2f} ms/step (best {figures['ms_per_step_best']:.2f}), "
        f"{figures['images_per_s']:,.0f} images/s, through the engine",
        "FLOPs": f"{figures['gflop_per_step']:.4g} G per step in products and convolutions{counted}",
        "rate": f"{figures['gflop_per_s']:,.4g} GFLOP/s, {figures['share_of_peak']:.1%} of the "
        f"{figures['peak_gflop_per_s']:,.0f} of a large matrix product now",
        "memory": f"{figures['memory_mb']:,.0f} MB at the peak of the {figures['memory_of']}",
    }
    return "".join(f"{name:<10}{text}\n" for name, text in rows.items())


def step_flops(recipe: Recipe, batch: Batch, transform: Transform | None = None) -> float:
    """`count_flops` of one training step of the recipe on such a batch, over all devices. Compiles nothing."""
    step, state = _step(recipe, batch, transform, loops=True)
    return count_flops(jax.make_jaxpr(step)(state, batch))


def step_cost(recipe: Recipe, batch: Batch, transform: Transform | None, mesh: Mesh) -> dict[str, Any]:
    """What a training step in which all objectives act costs on a mesh; `batch` are the shapes of what is fed to it.

    flops                            arithmetic of matrix products and convolutions over all devices, as `step_flops`
    compile_s                        seconds until its program is there, from the persistent cache where that has it
    xla_flops, xla_bytes_accessed    XLA's counts for one device, loop bodies counted once
    temporary_bytes, argument_bytes  of the program on one device: beside state and batch, and of these

    What the backend does not tell is None.
    """
    step, state = _step(recipe, batch, transform, loops=not on_cpu(mesh))
    everywhere = replicated(mesh)
    program = jax.jit(step, in_shardings=(everywhere, sharded(mesh)), out_shardings=everywhere, donate_argnums=0)
    start = time.perf_counter()
    compiled = program.lower(state, batch).compile()
    seconds = time.perf_counter() - start
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return {
        "flops": step_flops(recipe, batch, transform),
        "compile_s": seconds,
        "xla_flops": cost.get("flops"),
        "xla_bytes_accessed": cost.get("bytes accessed"),
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
        "argument_bytes": getattr(memory, "argument_size_in_bytes", None),
    }


def _step(recipe: Recipe, batch: Batch, transform: Transform | None, loops: bool) -> tuple[Any, Any]:
    """The step in which all objectives act, and the shapes of its state."""
    state = jax.eval_shape(lambda batch: init_state(recipe, batch, transform), batch)
    acting = tuple(True for _ in recipe.model.objectives())
    return make_step(recipe, transform, Layout(unrolled=not loops), acting=acting), state


def _batch(recipe: Recipe, dataset: Dataset) -> Batch:
    """The shapes of a training batch as it is fed."""
    return {
        name: jax.ShapeDtypeStruct((recipe.batch, *array.shape[1:]), array.dtype)
        for name, array in split_arrays(dataset.train).items()
    }


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Programs are compiled anew, whatever the persistent cache has."""
    cached = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)


def matmul_peak(mesh: Mesh | None = None, dtype: str = "float32", repeats: int = 8) -> float:
    """FLOP/s of the best of several large square products, one on each device of the mesh at once."""
    mesh = make_mesh() if mesh is None else mesh
    n = 1024 if on_cpu(mesh) else 8192
    count = mesh.devices.size
    rows = jnp.ones((count * n, n), jnp.dtype(dtype))
    a, b = jax.device_put(rows, sharded(mesh)), jax.device_put(rows[:n], replicated(mesh))
    product = jax.jit(lambda a, b: a @ b, out_shardings=sharded(mesh))
    best = math.inf
    jax.block_until_ready(product(a, b))
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(product(a, b))
        best = min(best, time.perf_counter() - start)
    return 2.0 * count * n**3 / best


class _Clock(Reporter):
    """Notes when each dispatch was reported, and asks for an end after enough of them."""

    def __init__(self, dispatches: int):
        self.dispatches = dispatches
        self.marks: list[tuple[int, float]] = []

    def progress(self, step: int, metrics: dict[str, float]) -> None:
        self.marks.append((step, time.perf_counter()))

    def enough(self) -> bool:
        return len(self.marks) >= self.dispatches


def _times(recipe: Recipe, dataset: Dataset, mesh: Mesh, repeats: int) -> list[float]:
    """Seconds per step of each timed dispatch of a run without evaluations or checkpoints."""
    clock, endless = _Clock(WARM_UP + repeats), sys.maxsize
    endless_recipe = dataclasses.replace(recipe, steps=endless, evaluate_every=endless, save_every=endless)
    fit(endless_recipe, dataset, mesh=mesh, reporter=clock, stop=clock.enough)
    marks = clock.marks[WARM_UP - 1 : WARM_UP + repeats]
    return [(t1 - t0) / (s1 - s0) for (s0, t0), (s1, t1) in itertools.pairwise(marks)]


def _memory(mesh: Mesh) -> tuple[int, str]:
    stats = [device.memory_stats() or {} for device in mesh.local_devices]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    if peaks:
        return max(peaks), "device"
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "process"
