"""Several processes as one run, through JAX's own distributed runtime.

Each process sees the same recipe and data and takes part in every program; the first one alone writes logs, pictures
and the run's folder. A process that dies takes the others with it, within the time-out of the heartbeat: the same
command started again in all of them resumes. Their last words are the runtime's: that a task died, that a peer closed
its connection, or, where a sum over devices was under way, that sizes do not match ("collective mismatch"): on a CPU
such a sum goes on with its next array when one fails, while a device beside it still sends the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgen.core.errors import UsageError


def join(coordinator: str | None, count: int | None, number: int | None, *, heartbeat: int) -> None:
    """Meet the other processes, before anything else asks for a device; one that gives no sign of life for `heartbeat`
    seconds counts as dead.

    Where all is None the cluster is recognised (SLURM, TPU pods, Kubernetes, Open MPI); otherwise process `number` of
    `count` meets the others at `coordinator`, "host:port" of process 0. Raises `UsageError` where there is no such
    cluster, an argument is missing, or the others do not come.
    """
    given = (coordinator, count, number)
    if any(x is None for x in given) and any(x is not None for x in given):
        raise UsageError("--coordinator, --num-processes and --process-id belong together: give all three.")
    if count is not None and number is not None and not 0 <= number < count:
        raise UsageError(f"--process-id must be 0 to {count - 1} for {count} processes, got {number}.")
    if coordinator is not None and not (coordinator.rpartition(":")[0] and coordinator.rpartition(":")[2].isdigit()):
        raise UsageError(f"--coordinator wants HOST:PORT of process 0, got '{coordinator}'.")
    if heartbeat < 1:
        raise UsageError(f"--heartbeat must be at least 1 second, got {heartbeat}.")
    try:
        jax.distributed.initialize(coordinator, count, number, heartbeat_timeout_seconds=heartbeat)
    except (RuntimeError, ValueError) as error:
        if coordinator is None:
            raise UsageError(
                "no cluster was recognised here (SLURM, a TPU pod slice, Kubernetes, Open MPI): start each process "
                f"with --coordinator HOST:PORT --num-processes N --process-id I. ({_first_line(error)})"
            ) from error
        raise UsageError(
            f"process {number} of {count} could not join at {coordinator}: {_first_line(error)}"
        ) from error


def first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def together(work: Callable[[], Any], *, everywhere: bool = True) -> Any:
    """What `work` gives, done in every process, or (`everywhere=False`) in the first one alone, None in the others.

    All wait for all; where it raises in any of them, all raise: the others a `UsageError` with what was said there.
    """
    if jax.process_count() == 1:
        return work()
    result, fault = None, None
    try:
        result = work() if everywhere or first() else None
    except Exception as error:
        fault = error
    said = _gathered("" if fault is None else str(fault) or repr(fault))
    if fault is not None:
        raise fault
    for number, text in enumerate(said):
        if text:
            raise UsageError(f"process {number}: {text}")
    return result


def _gathered(text: str) -> list[str]:
    """What each process says, in all of them."""
    from jax.experimental import multihost_utils

    row = np.zeros(2048, np.uint8)
    raw = text.encode()[: row.size]
    row[: len(raw)] = np.frombuffer(raw, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(row)).reshape(jax.process_count(), -1)
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in rows]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
