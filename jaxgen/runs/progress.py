"""The progress display of a training: a bar on a terminal, a line now and then elsewhere.

A stream that nobody reads any more ends the display, not the training.
"""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgen.core.streams import Unbroken

PLAIN_EVERY = 10.0
"""Seconds between two lines of progress where standard error is no terminal."""

BAR_EVERY = 0.25
"""Seconds between two moves of the bar where it is one."""


def text(figures: Mapping[str, float]) -> str:
    """Figures in one line, names as people say them."""
    names = {"bits_per_dim": "bits/dim", "steps_per_s": "steps/s", "images_per_s": "images/s"}
    return "  ".join(f"{names.get(name, name)} {_short(value)}" for name, value in figures.items())


def _short(value: Any) -> str:
    value = float(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class Speed:
    """Steps per second over about the last half minute, without compilation, evaluation, sampling and saving.

    Quick steps share a lap of a tenth of a second, so that few laps are remembered.
    """

    def __init__(self) -> None:
        self._laps: collections.deque[tuple[float, int]] = collections.deque()
        self._seconds, self._steps = 0.0, 0
        self._began = self._before = time.perf_counter()
        self._paused = True

    def mark(self, steps: int) -> None:
        """So many more steps are done."""
        now = time.perf_counter()
        lap, self._before = (now - self._before, steps), now
        if not self._paused:
            self._add(lap, 1)
            if self._laps and self._laps[-1][0] < 0.1:
                last = self._laps.pop()
                lap = last[0] + lap[0], last[1] + lap[1]
            self._laps.append(lap)
        self._paused = False
        while len(self._laps) > 1 and self._seconds > 30:
            self._add(self._laps.popleft(), -1)

    def pause(self) -> None:
        """The time until the next mark is not spent on steps alone."""
        self._paused = True

    def _add(self, lap: tuple[float, int], sign: int) -> None:
        self._seconds += sign * lap[0]
        self._steps += sign * lap[1]

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    @property
    def rate(self) -> float | None:
        return self._steps / self._seconds if self._laps and self._seconds > 0 else None


class Paced:
    """Lines for files and pipes, those of progress no more often than every `PLAIN_EVERY` seconds: the first at once,
    or, where not `at_once`, after as long."""

    def __init__(self, stream: Any, at_once: bool = True):
        self._stream, self._last = Unbroken(stream), -math.inf if at_once else time.perf_counter()

    def line(self, message: str) -> None:
        """A line at any time."""
        self._stream.write(message + "\n")
        self._stream.flush()

    def is_time(self) -> bool:
        """Whether a line of progress may come."""
        return time.perf_counter() - self._last >= PLAIN_EVERY

    def pace(self, message: str) -> None:
        """A line of progress."""
        self._last = time.perf_counter()
        self.line(message)


class Lines(Paced):
    """Progress for files and pipes."""

    def __init__(self, stream: Any):
        super().__init__(stream)
        self._steps = 0

    def started(self, step: int, steps: int) -> None:
        self._steps = steps
        self.line(f"resuming at step {step:,} of {steps:,}" if step else f"training for {steps:,} steps")

    def due(self, step: int) -> bool:
        """Whether it is time for a line."""
        return self.is_time() or step >= self._steps

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        rate = figures.get("steps_per_s")
        left = f"  {_clock((self._steps - step) / rate)} left" if rate and step < self._steps else ""
        self.pace(f"step {step:,}/{self._steps:,}  {text(figures)}{left}")

    def close(self) -> None:
        pass


class Bar:
    """Progress for a terminal: a bar with the time left, and below it speed, loss and bits/dim."""

    def __init__(self, stream: Any):
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.text import Text

        bar = self

        class Display(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                yield Text(bar.figures, overflow="ellipsis", no_wrap=True)

        self.figures = "compiling ..."
        self._console = Console(file=Unbroken(stream), highlight=False)  # type: ignore[arg-type]
        columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
        self._progress = Display(*columns, console=self._console, expand=True)
        self._task: Any = None
        self._steps, self._last = 0, -math.inf

    def started(self, step: int, steps: int) -> None:
        if step:
            self.line(f"resuming at step {step:,} of {steps:,}")
        self._steps = steps
        self._task = self._progress.add_task("", total=steps, completed=step, left="")
        self._progress.start()

    def due(self, step: int) -> bool:
        """Whether it is time to move the bar."""
        return time.perf_counter() - self._last >= BAR_EVERY or step >= self._steps

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        self._last = time.perf_counter()
        rate = figures.get("steps_per_s")
        self.figures = text(figures)
        self._progress.update(self._task, completed=step, left=_clock((self._steps - step) / rate) if rate else "")

    def line(self, message: str) -> None:
        self._console.print(message, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
