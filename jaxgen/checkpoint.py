"""Checkpoints of a run: Orbax, asynchronous, the last few and the best, each whole or absent.

A checkpoint is a folder named by its step. It is written beside its final name and becomes visible when complete, so
that a process killed while saving leaves the earlier ones and some rubbish, which the next writer removes.
Before anything is restored, names, shapes and dtypes are compared with what the caller expects: Orbax casts silently.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxgen.core import UsageError, Variables
from jaxgen.mesh import make_mesh, replicated

_SLACK = 1 << 20
_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO)


class Checkpoints:
    """The checkpoints in one folder. A context manager: leaving it waits for the save under way.

    `keep` is how many of the latest stay; the one with the lowest `metrics[best]` stays too. With `write=False`
    nothing is created, removed or cleaned up, so that a run may be read while it is training.

    Raises `UsageError` where the folder cannot be made, or, when reading, is not there.
    """

    def __init__(self, folder: str | Path, keep: int = 2, best: str | None = None, *, write: bool = True):
        self.folder, self._best, self._write = Path(folder).absolute(), best, write
        if not write and not self.folder.is_dir():
            raise UsageError(f"no checkpoints at {self.folder}: the run has saved none yet, or this is no run folder.")
        policies = ocp.training.preservation_policies
        kept: list[Any] = [policies.LatestN(keep)]
        if best is not None:
            kept.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics[best],
                    reverse=True,  # lower is better
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        with self._explained("make the folder of checkpoints"):
            if write:
                self.folder.mkdir(parents=True, exist_ok=True)
                if not os.access(self.folder, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.folder))
            logging.getLogger("absl").addFilter(_raised_anyway)
            self._orbax = ocp.training.Checkpointer(
                str(self.folder),
                preservation_policy=policies.AnyPreservationPolicy(kept),
                cleanup_tmp_directories=write,
            )

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None = None, meta: Any = None) -> None:
        """Save a pytree of global arrays under `step`; returns once its values are safe from later changes.

        `metrics` lie beside it (finite floats), and so does `meta` (anything JSON can hold).
        Raises `UsageError` if the disk is full or cannot be written, also for the save before this one.
        """
        with self._explained(f"save step {step}"):
            wanted = sum(x.nbytes for x in jax.tree.leaves(state))
            free = shutil.disk_usage(self.folder).free
            if free < wanted + _SLACK:
                raise OSError(errno.ENOSPC, f"{wanted / 2**20:.1f} MiB needed, {free / 2**20:.1f} MiB free")
            self._orbax.save_checkpointables_async(
                step,
                {"state": state, "meta": {"json": np.frombuffer(json.dumps(meta).encode(), np.uint8).copy()}},
                metrics={k: float(v) for k, v in metrics.items()} if metrics else None,
                force=True,  # Orbax's own policy skips a save while another is under way
            )

    def wait(self) -> None:
        """Until the save under way is whole. Raises `UsageError` if it could not be written."""
        with self._explained("finish the save"):
            self._orbax.wait()

    def restore(self, target: Any, step: int | str | None = None) -> Any:
        """The state saved at `step` (None: the latest; "best": the one with the best metric).

        `target` is a pytree of arrays or `jax.ShapeDtypeStruct` with shardings: the names, shapes and dtypes wanted,
        and where each leaf shall lie, on any number of devices.
        Raises `UsageError` if there is no such checkpoint or a leaf differs, naming it.
        """
        found = self._find(step)
        with self._explained(f"read step {found}"):
            metadata = self._orbax.checkpointables_metadata(found).metadata
            _check(metadata["state"], target, str(self.folder / str(found)))
            wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target)
            return self._orbax.load_checkpointables(found, {"state": wanted})["state"]

    def variables(
        self, step: int | str | None = None, *, averaged: bool = True, sharding: jax.sharding.Sharding | None = None
    ) -> Variables:
        """The model's variables saved by training at `step` (as in `restore`), and nothing else.

        `averaged` puts the averaged parameters in place of the last ones, where the run kept them. Shapes and dtypes
        are those of the checkpoint; `sharding` says where the leaves lie (default: whole on every device).
        """
        found = self._find(step)
        sharding = replicated(make_mesh()) if sharding is None else sharding
        with self._explained(f"read step {found}"):
            saved = self._orbax.checkpointables_metadata(found).metadata["state"]
            if not isinstance(saved, Mapping) or "variables" not in saved:
                raise UsageError(f"checkpoint {found} at {self.folder} holds no variables of a training run.")
            wanted = {
                name: jax.tree.map(
                    lambda x, load=name in ("variables", "ema"): (
                        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) if load else ocp.PLACEHOLDER
                    ),
                    tree,
                )
                for name, tree in saved.items()
            }
            state = self._orbax.load_checkpointables(found, {"state": wanted})["state"]
        ema = state.get("ema") if averaged else None
        return state["variables"] if ema is None else {**state["variables"], "params": ema}

    def meta(self, step: int | str | None = None) -> Any:
        """What was saved as `meta` beside that step."""
        found = self._find(step)
        with self._explained(f"read step {found}"):
            raw = self._orbax.load_checkpointables(found, {"meta": None})["meta"]["json"]
        return json.loads(bytes(np.asarray(raw, np.uint8)))

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the whole checkpoints, ascending."""
        return tuple(sorted(int(c.step) for c in self._orbax.checkpoints))

    @property
    def latest(self) -> int | None:
        """The last step saved, None if there is none."""
        return max(self.steps, default=None)

    @property
    def best(self) -> int | None:
        """The step with the lowest metric (the earliest of equals), None where no checkpoint has one."""
        scored = self.scores
        return min(scored, key=lambda step: (scored[step], step), default=None)

    @property
    def scores(self) -> dict[int, float]:
        """The metric that decides what is best, by step."""
        found = {int(c.step): c.metrics for c in self._orbax.checkpoints if c.metrics}
        return {step: float(m[self._best]) for step, m in found.items() if self._best in m}

    def close(self) -> None:
        """Wait for the save under way and release the folder. Without this an unfinished save is lost."""
        try:
            with self._explained("finish the save"):
                self._orbax.close()
        finally:
            logging.getLogger("absl").removeFilter(_raised_anyway)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.close()
            return
        # The error that is on its way says more than what a broken save would add to it.
        with contextlib.suppress(Exception):
            self.close()

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

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            reason = _storage_reason(error)
            if reason is None:
                raise
            if self._write:
                for part in self.folder.glob("*.orbax-checkpoint-tmp"):
                    shutil.rmtree(part, ignore_errors=True)
            whole = (
                sorted(int(p.name) for p in self.folder.glob("*") if p.name.isdigit()) if self.folder.is_dir() else []
            )
            kept = f"checkpoints {', '.join(map(str, whole))} are whole" if whole else "nothing was saved"
            raise UsageError(
                f"cannot {doing} at {self.folder}: {reason}. Make room there or choose another folder; {kept}."
            ) from error


def _raised_anyway(record: logging.LogRecord) -> bool:
    """Keeps off stderr the tracebacks that Orbax logs for a save in the background and raises later as well."""
    return not (record.exc_info and "orbax" in record.pathname)


def _storage_reason(error: BaseException | None) -> str | None:
    """What the disk said, wherever in the chain of errors it is."""
    seen: list[BaseException] = []
    todo = [error]
    while todo:
        e = todo.pop()
        if e is None or e in seen:
            continue
        seen.append(e)
        if isinstance(e, OSError) and e.errno in _STORAGE:
            return str(e.strerror)
        for code in _STORAGE:  # tensorstore reports what the system said as text
            if os.strerror(code) in str(e):
                return os.strerror(code)
        todo += [e.__cause__, e.__context__, *getattr(e, "exceptions", ())]
    return None


def _named(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, attributes, keys and positions alike, as Orbax stores them."""

    def name(entry: Any) -> str:
        for attribute in ("name", "key", "idx"):
            if hasattr(entry, attribute):
                return str(getattr(entry, attribute))
        return str(entry)

    return {"/".join(map(name, path)): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _check(saved: Any, target: Any, where: str) -> None:
    """Raises `UsageError` with the first leaf that is missing, left over, or of another shape or dtype."""

    def as_stored(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return x

    have, want = _named(saved), {k: as_stored(x) for k, x in _named(target).items()}
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
