"""Batches as a pure function of (seed, step), and the two ways in which they reach the devices.

The order of an epoch is computed, never remembered: resuming a run needs only its step. Images that fit the devices
are sent once and gathered there, the host sending nothing but indices (`Resident`); larger data stream in blocks of
batches that a thread prepares ahead (`Streamed`). Both have the same two halves: `get(step, count)` makes on the host
what the program of `count` steps is given, and on the device `batch_of` (one step of many) or `batch_at` (a program of
one step) turns that, and what is `resident`, into a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch, rows
from jaxgen.data.dataset import permutation
from jaxgen.engine.devices.mesh import on_cpu, place, replicated, sharded

WINDOW = 64
"""Steps whose indices are sent together where a dispatch is a single step."""

BLOCK_BYTES = 8 << 20
"""About how much streamed data are sent together there."""


def indices(seed: int, step: int, batch: int, n: int, replacement: bool = False) -> np.ndarray:
    """The examples int32[batch] of a step, out of `n`.

    Shuffled epochs by default: every example once, what is left over by the last whole batch of an epoch is skipped.
    With replacement every draw is independent. Raises `UsageError` if an epoch holds no batch.
    """
    return _Order(seed, batch, n, replacement).block(step, 1)[0]


class _Order:
    """`indices` that remembers the current epoch's order, which costs milliseconds to make."""

    def __init__(self, seed: int, batch: int, n: int, replacement: bool, lanes: int | None = None):
        if not replacement and batch > n:
            raise UsageError(
                f"batch {batch} is larger than the {n} training examples: use batch {n} or less, or replacement=True."
            )
        self.seed, self.batch, self.n, self.replacement = seed, batch, n, replacement
        self.per_epoch, self.lanes = n // batch, lanes
        self.epoch, self.order = -1, np.empty(0, np.int64)

    def block(self, step: int, count: int) -> np.ndarray:
        """Steps step … step+count−1 as int32[count,batch], or int32[count,lanes,batch/lanes]."""
        index = np.stack([self._row(step + i) for i in range(count)])
        return index if self.lanes is None else index.reshape(count, self.lanes, -1)

    def _row(self, step: int) -> np.ndarray:
        if self.replacement:
            raw = np.random.Philox(key=[self.seed, step]).random_raw(self.batch)
            return (raw % np.uint64(self.n)).astype(np.int32)  # bias below n / 2^64
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, permutation(self.n, self.seed, epoch)
        return self.order[position * self.batch : (position + 1) * self.batch].astype(np.int32)


class Resident:
    """Data that live on the devices, whole on each; the host sends indices."""

    def __init__(self, data: Mapping[str, Any], order: _Order, mesh: Mesh):
        self.order, self.sharding = order, sharded(mesh, 1)
        self.window: tuple[int, Any] = (-1, None)
        self.resident = place(dict(data), replicated(mesh))

    def get(self, step: int, count: int) -> Any:
        if count > 1:
            return place(self.order.block(step, count), self.sharding)
        # Single steps share the indices of a window, so that most of them send nothing at all.
        start = step - step % WINDOW
        if start != self.window[0]:
            self.window = (start, place(self.order.block(start, WINDOW), self.sharding))
        return self.window[1]

    def batch_of(self, resident: Any, item: Any) -> Batch:
        return {name: array[item] for name, array in resident.items()}

    def batch_at(self, resident: Any, items: Any, step: Any) -> Batch:
        return self.batch_of(resident, items[step % WINDOW])

    def schedule(self, dispatches: Iterator[tuple[int, int]]) -> None:
        """Told once, before training: the (step, count) that `get` will be asked for, in order."""

    def close(self) -> None:
        pass


class Streamed:
    """Data that stay on the host (an array or a memory map); blocks of batches are sent `ahead` of their use.

    Single steps share a block of a window of steps, as large as `BLOCK_BYTES` allow, so that most of them send nothing.
    """

    def __init__(self, data: Mapping[str, Any], order: _Order, mesh: Mesh, ahead: int = 2):
        self.data, self.order, self.sharding, self.ahead = dict(data), order, sharded(mesh, 1), ahead
        size = order.batch * sum(array.nbytes // len(array) for array in self.data.values())
        self.window = max(1, min(WINDOW, BLOCK_BYTES // max(1, size)))
        self.resident: Any = {}
        self.blocks: Iterator[tuple[int, int]] = iter(())
        self.waiting: dict[tuple[int, int], Future] = {}
        self.current: tuple[Any, Any] = (None, None)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="jaxgen-feed")

    def get(self, step: int, count: int) -> Any:
        wanted = self._block(step, count)
        if wanted != self.current[0]:
            self.current = (None, None)  # let the old block go before the new one is waited for
            ready = self.waiting.pop(wanted, None)
            self.current = wanted, ready.result() if ready else self.worker.submit(self._make, *wanted).result()
            self._fill()
        return self.current[1]

    def batch_of(self, resident: Any, item: Any) -> Batch:
        return item

    def batch_at(self, resident: Any, items: Any, step: Any) -> Batch:
        return jax.tree.map(lambda x: x[step % self.window], items)

    def schedule(self, dispatches: Iterator[tuple[int, int]]) -> None:
        self.blocks = (block for block, _ in itertools.groupby(self._block(*each) for each in dispatches))
        self._fill()

    def close(self) -> None:
        self.worker.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        while len(self.waiting) < self.ahead and (block := next(self.blocks, None)) is not None:
            self.waiting[block] = self.worker.submit(self._make, *block)

    def _block(self, step: int, count: int) -> tuple[int, int]:
        """First step and length of the block that a piece is taken from."""
        return (step - step % self.window, self.window) if count == 1 else (step, count)

    def _make(self, step: int, count: int) -> Any:
        index = self.order.block(step, count)
        return {name: self._rows(array, index) for name, array in self.data.items()}

    def _rows(self, array: Any, index: np.ndarray) -> jax.Array:
        """The rows of an array as a global array; each process reads those of its own devices only."""
        if jax.process_count() == 1:
            return place(array[index], self.sharding)
        shape = (*index.shape, *array.shape[1:])
        own = lambda where: array[index[tuple(where or ())[: index.ndim]]]  # noqa: E731
        return jax.make_array_from_callback(shape, self.sharding, own)


def make_feed(
    data: Mapping[str, Any],
    mesh: Mesh,
    *,
    seed: int,
    batch: int,
    replacement: bool = False,
    lanes: int | None = None,
    budget: int | None = None,
) -> Resident | Streamed:
    """The feed for arrays `data` (one example per row): resident if they take at most `budget` bytes of each device.

    The default budget is a quarter of a device's memory; on a CPU, whose virtual devices each hold a copy, 2 GiB for
    all copies together. `lanes` lays a batch out as [lanes, batch/lanes], for pmap.
    """
    order = _Order(seed, batch, rows(data), replacement, lanes)
    size = sum(array.nbytes for array in data.values())
    fits = size <= (default_budget(mesh) if budget is None else budget)
    return Resident(data, order, mesh) if fits else Streamed(data, order, mesh)


def default_budget(mesh: Mesh) -> int:
    """Bytes of training data that one device may hold."""
    if on_cpu(mesh):
        return (2 << 30) // mesh.local_mesh.devices.size
    limit = (mesh.local_devices[0].memory_stats() or {}).get("bytes_limit", 8 << 30)
    return int(limit) // 4
