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
import math
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
from jaxgen.core.files import numbered, write_json
from jaxgen.core.model import Variables
from jaxgen.engine.checkpoint.damage import raised_anyway, storage_reason
from jaxgen.engine.checkpoint.digest import digests
from jaxgen.engine.checkpoint.saved import Damaged, Saved
from jaxgen.engine.devices.mesh import make_mesh, replicated

FIGURES = "figures.json"
"""The file of the figures of all steps."""

_SLACK = 1 << 20


class Checkpoints:
    """The checkpoints in one folder. A context manager: leaving it waits for the save under way.

    `keep` is how many of the latest stay; the one with the best figure stays too. Figures are told by `record` and lie
    in one file for all steps: `best` names the one that decides, lower being better unless `higher`. With `write=False`
    nothing is created, removed or cleaned up, so that a run may be read while it is training.

    Raises `UsageError` where the folder cannot be made or its figures cannot be read, or, when reading, where it is not
    there.
    """

    def __init__(
        self, folder: str | Path, keep: int = 2, best: str | None = None, *, higher: bool = False, write: bool = True
    ):
        self.folder, self._name, self._sign, self._write = Path(folder).absolute(), best, -1.0 if higher else 1.0, write
        self._orbax: Any = None
        self._under_way: Any = None
        if not write:
            if not self.folder.is_dir():
                raise UsageError(
                    f"no checkpoints at {self.folder}: the run has saved none yet, or this is no run folder."
                )
            self._figures = self._read_figures()
            return
        policies = ocp.training.preservation_policies
        kept = [policies.LatestN(keep), _Best(self)]
        with self._explained("make the folder of checkpoints"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.folder))
            self._figures = self._read_figures()
            logging.getLogger("absl").addFilter(raised_anyway)
            self._thread = ThreadPoolExecutor(1, "checkpoint")
            self._orbax = ocp.training.Checkpointer(
                str(self.folder),
                preservation_policy=policies.AnyPreservationPolicy(kept),
                cleanup_tmp_directories=True,
            )

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        """Write down what was reached at a step, before or after it is saved; what is not finite is no figure."""
        self._figures[step] = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
        if jax.process_index() == 0:
            with self._explained(f"record the figures of step {step}"):
                write_json(self.folder / FIGURES, {str(s): row for s, row in sorted(self._figures.items())})

    @property
    def recorded(self) -> tuple[int, ...]:
        """The steps of which figures were recorded, if only that there are none."""
        return tuple(self._figures)

    def save(self, step: int, state: Any) -> None:
        """Save a pytree of global arrays under `step`; returns once its values are safe from later changes.

        The digests of the leaves lie beside it. Raises `UsageError` if the disk is full or cannot be written, also for
        the save before this one.
        """
        with self._explained(f"save step {step}"):
            self._settle()
            wanted = sum(x.nbytes for x in jax.tree.leaves(state))
            free = shutil.disk_usage(self.folder).free
            if free < wanted + _SLACK:
                raise OSError(errno.ENOSPC, f"{wanted / 2**20:.1f} MiB needed, {free / 2**20:.1f} MiB free")
            texts = {"digest": {"leaves": digests(state)}}
            parts = {"state": state, "meta": {k: np.frombuffer(_text(v), np.uint8).copy() for k, v in texts.items()}}
            host = _host()
            _unfinished.add(self)
            if host is None:
                self._under_way = self._start(step, parts)
            else:
                # Orbax thinks for longer than it copies: a copy is made here, and all the rest in a thread.
                # (The first `device_put` hands on what lies there already, which the next step overwrites.)
                on_host = jax.device_put(state, host)
                parts["state"] = jax.block_until_ready(jax.device_put(on_host, host, may_alias=False))
                self._under_way = self._thread.submit(lambda: self._start(step, parts).result())

    def _start(self, step: int, parts: Mapping[str, Any]) -> Any:
        """Let Orbax save; what it gives back has a `result` that waits for the end."""
        # Orbax's own policy skips a save while another is under way.
        return self._orbax.save_checkpointables_async(step, dict(parts), force=True)

    def wait(self) -> None:
        """Until the save under way is whole. Raises `UsageError` if it could not be written."""
        try:
            with self._explained("finish the save"):
                self._settle()
                self._orbax.wait()
        finally:
            _unfinished.discard(self)

    def restore(self, target: Any, step: int | str | None = None) -> Any:
        """The state saved at `step` (None: the latest; "best": the one with the best figure).

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

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the whole checkpoints, ascending."""
        if self._orbax is None:
            return numbered(self.folder)
        return tuple(sorted(int(c.step) for c in self._orbax.checkpoints))

    @property
    def latest(self) -> int | None:
        """The last step saved, None if there is none."""
        return max(self.steps, default=None)

    @property
    def best(self) -> int | None:
        """The step with the best figure (the earliest of equals), None where no checkpoint has one."""
        return self._best_of(self.steps)

    @property
    def scores(self) -> dict[int, float]:
        """The figure that decides what is best, by step."""
        return {step: figures[self._name] for step, figures in self._figures.items() if self._name in figures}

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

    def _best_of(self, steps: Sequence[int]) -> int | None:
        scores = {step: self._sign * score for step, score in self.scores.items() if step in steps}
        return min(scores, key=lambda step: (scores[step], step), default=None)

    def _read_figures(self) -> dict[int, dict[str, float]]:
        path = self.folder / FIGURES
        if not path.is_file():
            return {}
        try:
            saved = json.loads(path.read_bytes())
            return {int(step): {str(n): float(v) for n, v in figures.items()} for step, figures in saved.items()}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{path} is damaged: it holds no figures by step. Remove it to go on without knowing which checkpoint "
                "is best."
            ) from error

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
            whole = numbered(self.folder)
            kept = f"checkpoints {', '.join(map(str, whole))} are whole" if whole else "nothing was saved"
            raise UsageError(
                f"cannot {doing} at {self.folder}: {said}. Make room there or choose another folder; {kept}."
            ) from error


@dataclasses.dataclass(frozen=True)
class _Best:
    """Keeps the checkpoint that `Checkpoints.best` names."""

    of: Checkpoints

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        best = self.of._best_of([int(c.step) for c in checkpoints])
        return [c.step == best for c in checkpoints]


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
