"""What decides a run: data, model, optimizer, and the settings of the engine."""

from __future__ import annotations

import dataclasses
from typing import Literal

import optax

from jaxgen.core.judges import Judge
from jaxgen.core.model import Model
from jaxgen.data.dataset import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Graft:
    """A part of another run's variables put into a fresh model's.

    `take` and `put` are paths into them, as "params/encoder" and "frozen/encoder"; `step` is the other run's
    checkpoint, "best", "last" or a number, its averaged parameters where it has an average. What `put` names must be
    there with the same leaves. Put into "params" it is trained on where an objective says so, put into another
    collection it stays as it is.
    """

    run: str
    take: str
    put: str
    step: str | int = "best"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a run goes.

    data, model, optimizer   what is trained on what, and how parameters move (schedules belong to the optimizer)
    batch, steps, seed       images per step over all devices, number of steps, seed of parameters, draws and order
    clip                     largest global norm of an objective's gradient, None: unbounded
    ema                      decay of the averaged parameters that evaluation and sampling use, 0: none; at step t the
                             decay is min(ema, (1+t)/(10+t)), so that the first parameters are soon forgotten
    replacement              draw examples independently, instead of shuffled epochs
    parallel                 "jit": one program over the mesh, equal to one device; "fsdp": the same program, equal
                             too, with parameters, optimiser state and averages spread over the devices; "pmap": one
                             program per device, with its own draws and batch statistics, gradients averaged
    chunk                    steps per dispatch; None: 100 on accelerators, 1 on a CPU
    accumulate               pieces in which a batch is taken, one after another: less memory, same gradient (but
                             for other draws where an objective is not separable). For losses that are means over
                             independent examples; None: 1, but on a CPU pieces of the size that an objective asks for
    on_nan                   a loss, gradient or update that is not finite stops the run ("stop"), or its step moves
                             no parameter ("skip"), is counted by the metric "skipped", and the run goes on
    grafts                   parts of other runs that a fresh model begins with (`Graft`)
    best, better             the figure that decides which checkpoint is best, and which way, "lower" or "higher";
                             None: as the model says
    judges                   figures of sets of samples, told at each evaluation (`core.judges.Judge`)
    evaluate_every, save_every, keep   steps between evaluations, between checkpoints, how many of the latest stay
    patience                 evaluations without a better figure before the run ends, None: never
    samples, eval_batch      images drawn at each evaluation, images per batch there (None: as in training)
    """

    data: Source
    model: Model
    optimizer: optax.GradientTransformation
    batch: int
    steps: int
    seed: int = 0
    clip: float | None = None
    ema: float = 0.0
    replacement: bool = False
    parallel: Literal["jit", "fsdp", "pmap"] = "jit"
    chunk: int | None = None
    accumulate: int | None = None
    on_nan: Literal["stop", "skip"] = "stop"
    evaluate_every: int = 1000
    save_every: int = 1000
    keep: int = 2
    patience: int | None = None
    grafts: tuple[Graft, ...] = ()
    best: str | None = None
    better: Literal["lower", "higher"] | None = None
    judges: tuple[Judge, ...] = ()
    samples: int = 64
    eval_batch: int | None = None
