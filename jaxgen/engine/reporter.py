"""What a run tells of itself while it goes on, and what it ends with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxgen.engine.state import TrainState


class Diverged(ArithmeticError):
    """A loss, gradient or update that is not finite.

    `step` counts from 0; checkpoints before it are whole and finite.
    """

    def __init__(self, step: int, objective: str, skipped: int = 0):
        before = f", the {skipped}th such step in a row" if skipped else ""
        super().__init__(
            f"objective '{objective}' gave a loss, gradient or update that is not finite at step {step}{before}. "
            "Lower the learning rate, clip the gradient, or look at the data."
        )
        self.step, self.objective = step, objective


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `fit` reached. `metrics` are keyed "valid/nats", "test/bits_per_dim" and so on; `stopped` says that the
    caller's stop flag ended the run, which can be resumed."""

    state: TrainState
    step: int
    best_step: int | None
    metrics: dict[str, float]
    stopped: bool


class Reporter:
    """Told what happens during `fit`. Does nothing; override what you need. Called between dispatches: be quick."""

    def started(self, step: int, steps: int) -> None:
        """The run begins (or is resumed) at `step` and shall reach `steps`."""

    def progress(self, step: int, metrics: dict[str, float]) -> None:
        """After each dispatch, one late: `step` steps are done; means over the steps of the dispatch."""

    def highlighted(self, names: set[str]) -> None:
        """Metrics that the model's losses want in the progress line, told before the first `progress`."""

    def evaluated(self, step: int, split: str, metrics: dict[str, Any]) -> None:
        """The "valid" or "test" split was scored, or "samples" were judged."""

    def sampled(self, step: int, image: np.ndarray) -> None:
        """uint8[num,h,w,c] drawn from the model, with the same key each time."""

    def shown(self, step: int, name: str, content: np.ndarray | list[str]) -> None:
        """What the model shows of itself: pictures uint8[b,h,w,c], or lines of text."""

    def saved(self, step: int) -> None:
        """A checkpoint of this step is on its way to the disk."""

    def finished(self, outcome: Outcome) -> None:
        """The run is over, or was stopped."""


def never() -> bool:
    """The stop flag of a run that is not to be stopped."""
    return False
