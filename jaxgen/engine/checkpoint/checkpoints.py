"""Checkpoints of a run: Orbax, asynchronous, the last few and the best, each whole or absent.

A checkpoint is a folder named by its step. It is written beside its final name and becomes visible when complete, so
that a process killed while saving leaves the earlier ones and some rubbish, which the next writer removes. A process
that ends without closing its checkpoints first finishes the save under way.

What is restored is compared with the digests that were saved beside it (`saved`). Whatever is wrong with a checkpoint
becomes one sentence, which offers another.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import errno
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.engine.checkpoint.damage import raised_anyway, storage_reason
from jaxgen.engine.checkpoint.digest import digests
from jaxgen.engine.checkpoint.saved import Damaged, Saved
from jaxgen.engine.devices.mesh import make_mesh, replicated

_SLACK = 1 << 20


class Checkpoints:
    """The checkpoints in one folder. A context manager: leaving it waits for the save under way.

    `keep` is how many of the latest stay; the one with the lowest `metrics[best]` stays too. With `write=False`
    nothing is created, removed or cleaned up, so that a run may be read while it is training.

    Raises `UsageError` where the folder cannot be made or a checkpoint's metrics are damaged, or, when reading, where
    it is not there.
    """

    def __init__(self, folder: str | Path, keep: int = 2, best: str | None = None, *, write: bool = True):
        self.folder, self._best, self._write = Path(folder).absolute(), best, write
        self._orbax: Any = None
        self._under_way: Any = None
        if not write:
            if not self.folder.is_dir():
                raise UsageError(
                    f"no checkpoints at {self.folder}: the run has saved none yet, or this is no run folder."
                )
            return
        policies = ocp.training.preservation_policies
        kept: list[Any] = [policies.LatestN(keep)]
        if best is not None:
            kept.append(_Lowest(best))
        with self._explained("make the folder of checkpoints"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.folder))
            for step in self.steps:  # Orbax reads all metrics, and fails on damaged ones
                with self._offering(step) as saved:
                    found = saved.metrics()
                    if found is not None and best is not None and best not in found:
                        raise Damaged(f"its metrics lack {best}")
            logging.getLogger("absl").addFilter(raised_anyway)
            self._thread = ThreadPoolExecutor(1, "checkpoint")
            self._orbax = ocp.training.Checkpointer(
                str(self.folder),
                preservation_policy=policies.AnyPreservationPolicy(kept),
                cleanup_tmp_directories=True,
            )

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None = None, meta: Any = None) -> None:
        """Save a pytree of global arrays under `step`; returns once its values are safe from later changes.

        `metrics` lie beside it (finite floats), and so do `meta` (anything JSON can hold) and the digests of the
        leaves. Raises `UsageError` if the disk is full or cannot be written, also for the save before this one.
        """
        scores = {k: float(v) for k, v in metrics.items()} if metrics else None
        with self._explained(f"save step {step}"):
            self._settle()
            wanted = sum(x.nbytes for x in jax.tree.leaves(state))
            free = shutil.disk_usage(self.folder).free
            if free < wanted + _SLACK:
                raise OSError(errno.ENOSPC, f"{wanted / 2**20:.1f} MiB needed, {free / 2**20:.1f} MiB free")
            texts = {"json": meta, "digest": {"leaves": digests(state), "metrics": scores}}
            parts = {"state": state, "meta": {k: np.frombuffer(_text(v), np.uint8).copy() for k, v in texts.items()}}
            host = _host()
            _unfinished.add(self)
            if host is None:
                self._under_way = self._start(step, parts, scores)
            else:
                # Orbax thinks for longer than it copies: a copy is made here, and all the rest in a thread.
                # (The first `device_put` hands on what lies there already, which the next step overwrites.)
                there = jax.device_put(state, host)
                parts["state"] = jax.block_until_ready(jax.device_put(there, host, may_alias=False))
                self._under_way = self._thread.submit(lambda: self._start(step, parts, scores).result())

    def _start(self, step: int, parts: Mapping[str, Any], metrics: Mapping[str, float] | None) -> Any:
        """Let Orbax save; what it gives back has a `result` that waits for the end."""
        # Orbax's own policy skips a save while another is under way.
        return self._orbax.save_checkpointables_async(step, dict(parts), metrics=metrics, force=True)

    def wait(self) -> None:
        """Until the save under way is whole. Raises `UsageError` if it could not be written."""
        try:
            with self._explained("finish the save"):
                self._settle()
                self._orbax.wait()
        finally:
            _unfinished.discard(self)

    def restore(self, target: Any, step: int | str | None = None) -> Any:
        """The state saved at `step` (None: the latest; "best": the one with the best metric).

        `target` is a pytree of arrays or `jax.ShapeDtypeStruct` with shardings: the names, shapes and dtypes wanted,
        and where each leaf shall lie, on any number of devices.
        Raises `UsageError` if there is no such checkpoint, if it is damaged, or a leaf differs, naming it.
        """
        with self._offering(self._find(step)) as saved:
            return saved.restore(target)

    def variables(
        self, step: int | str | None = None, *, averaged: bool = True, sharding: jax.sharding.Sharding | None = None
    ) -> Variables:
        """The model's variables saved by training at `step` (as in `restore`), and nothing else.

        `averaged` puts the averaged parameters in place of the last ones, where the run kept them. Shapes and dtypes
        are those of the checkpoint; `sharding` says where the leaves lie (default: whole on every device).
        """
        sharding = replicated(make_mesh()) if sharding is None else sharding
        with self._offering(self._find(step)) as saved:
            return saved.variables(sharding, averaged)

    def meta(self, step: int | str | None = None) -> Any:
        """What was saved as `meta` beside that step."""
        with self._offering(self._find(step)) as saved:
            return saved.texts()["json"]

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the whole checkpoints, ascending."""
        if self._orbax is None:
            return tuple(sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdigit() and p.is_dir()))
        return tuple(sorted(int(c.step) for c in self._orbax.checkpoints))

    @property
    def latest(self) -> int | None:
        """The last step saved, None if there is none."""
        return max(self.steps, default=None)

    @property
    def best(self) -> int | None:
        """The step with the lowest metric (the earliest of equals), None where no checkpoint has one."""
        return _best(self.scores)

    @property
    def scores(self) -> dict[int, float]:
        """The metric that decides what is best, by step."""
        if self._orbax is not None:
            found = {int(c.step): c.metrics for c in self._orbax.checkpoints}
        else:
            found = {}
            for step in self.steps:
                with contextlib.suppress(Damaged):  # such a checkpoint is not the best; the others can be read
                    found[step] = self._saved(step).metrics()
        return {step: float(m[self._best]) for step, m in found.items() if m and self._best in m}

    def close(self) -> None:
        """Wait for the save under way and release the folder."""
        if self._orbax is None:
            return
        try:
            with self._explained("finish the save"), contextlib.closing(self._orbax):
                self._settle()
        finally:
            self._thread.shutdown()
            _unfinished.discard(self)
            logging.getLogger("absl").removeFilter(raised_anyway)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.close()
            return
        # The error that is on its way says more than what a broken save would add to it.
        with contextlib.suppress(Exception):
            self.close()

    def _settle(self) -> None:
        """Until the save under way is whole. Orbax's own waiting is not enough: only who asks for a save's outcome ends
        the thread and the event loop that it was given, which would add up until no file can be opened."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def _find(self, step: int | str | None) -> int:
        steps = self.steps
        if not steps:
            raise UsageError(f"no checkpoints at {self.folder}: the run has saved none yet, or this is no run folder.")
        if step == "best":
            best = self.best
            return steps[-1] if best is None else best
        if step is None:
            return steps[-1]
        if step not in steps:
            raise UsageError(f"no checkpoint of step {step} at {self.folder}: it has {', '.join(map(str, steps))}.")
        return int(step)

    def _saved(self, step: int) -> Saved:
        return Saved(self.folder / str(step))

    @contextlib.contextmanager
    def _offering(self, step: int) -> Iterator[Saved]:
        """The checkpoint of a step; damage to it becomes a `UsageError` that says how to go on without it."""
        try:
            yield self._saved(step)
        except Damaged as error:
            folder, others = self.folder / str(step), [s for s in self.steps if s != step]
            if not others:
                way = f"There is no other; remove {folder} to start over."
            elif self._write:
                way = f"Remove {folder} to go on from step {others[-1]}."
            else:
                before = max((s for s in others if s < step), default=others[-1])
                way = f"There is that of step {before}: --step {before}."
            raise UsageError(f"checkpoint {folder} is damaged: {error}. {way}") from error

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            said = storage_reason(error)
            if said is None:
                raise
            for part in self.folder.glob("*.orbax-checkpoint-tmp"):
                shutil.rmtree(part, ignore_errors=True)
            whole = (
                sorted(int(p.name) for p in self.folder.glob("*") if p.name.isdigit()) if self.folder.is_dir() else []
            )
            kept = f"checkpoints {', '.join(map(str, whole))} are whole" if whole else "nothing was saved"
            raise UsageError(
                f"cannot {doing} at {self.folder}: {said}. Make room there or choose another folder; {kept}."
            ) from error


@dataclasses.dataclass(frozen=True)
class _Lowest:
    """Keeps the checkpoint that `Checkpoints.best` names. (Orbax's own policy keeps the latest of equals.)"""

    metric: str

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        lowest = _best({c.step: c.metrics[self.metric] for c in checkpoints if c.metrics is not None})
        return [c.step == lowest for c in checkpoints]


def _best(scores: Mapping[int, float]) -> int | None:
    """The step with the lowest score, the earliest of equals."""
    return min(scores, key=lambda step: (scores[step], step), default=None)


_unfinished: set[Checkpoints] = set()
"""Those with a save that nobody has waited for yet."""


def _finish() -> None:
    """Wait for what is being saved when the interpreter ends."""
    for checkpoints in [*_unfinished]:
        try:
            checkpoints.wait()
        except UsageError as error:
            sys.stderr.write(f"jaxgen: {error}\n")


# Before `atexit` runs, executors no longer take work, so that Orbax could not finish; this hook is called before that.
getattr(threading, "_register_atexit", atexit.register)(_finish)


def _host() -> jax.Device | None:
    """Where a copy of the state is kept while it is written: the CPU of a run's only process. Of several, each calls
    Orbax in step with the others; and a JAX that was told to do without a CPU has none."""
    try:
        return jax.local_devices(backend="cpu")[0] if jax.process_count() == 1 else None
    except RuntimeError:
        return None


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()
