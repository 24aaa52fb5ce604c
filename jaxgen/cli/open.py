"""A run from a command's flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError

SHARED = 840
"""A batch that any number of devices up to eight can share: what a run computes is filled up to a multiple of them."""


Label = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the images' own labels)")]
Truncation = Annotated[float | None, tyro.conf.arg(metavar="BOUND", help_behavior_hint="(default: none)")]
Step = Annotated[str, tyro.conf.arg(metavar="best|last|N")]


@dataclasses.dataclass(kw_only=True)
class OfRun:
    """What every command that is about a run takes."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    step: Step = "best"
    """Checkpoint: best on validation data, last, or a step."""
    json: flags.Json = False


def open_run(options: Any, batch: int = SHARED) -> Any:
    """The run, after its folder and seed were looked at and the CPU prepared for that many images at a time."""
    check_seed(getattr(options, "seed", 0))
    return open_runs([options.run], options.step, batch)[0]


def open_runs(folders: Sequence[str], step: Any, batch: int) -> list[Any]:
    """The runs at that checkpoint, after all folders were looked at and the CPU was prepared."""
    if step not in ("best", "last"):
        if not step.isdigit():
            raise UsageError(f"--step wants best, last or a number, got {step!r}.")
        step = int(step)
    from jaxgen.engine.devices import cpu
    from jaxgen.runs.folder import read_run
    from jaxgen.runs.load import opened

    records = [read_run(folder) for folder in folders]
    cpu.prepare_cpu(batch)
    return [opened(record, step) for record in records]
