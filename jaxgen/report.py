"""What a run tells while it runs: a progress bar, `metrics.jsonl`, TensorBoard, and sample grids as PNG.

`metrics.jsonl` holds one JSON object per line: the step, the split ("train", "valid", "test"), seconds of training
(those of earlier processes up to the step that the run went on from included), and the metrics. A resumed run first
drops what lies beyond the step that it resumes from, and a line that a kill tore, so that every step is there once.
TensorBoard is told likewise to purge what lies beyond.
"""

from __future__ import annotations

import collections
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from jaxgen.board import Board
from jaxgen.history import lines, number, read_log
from jaxgen.images import bits_per_dim, grid, save_png
from jaxgen.train import Outcome, Reporter

PLAIN_EVERY = 10.0
"""Seconds between two lines of progress where standard error is no terminal."""

RECORDS = 1000
"""Records of training metrics that a whole run leaves, about; each is the mean of the steps since the one before."""

PICTURE_WIDTH = 480
"""Pixels that a grid is at least wide; images smaller than that are enlarged by a whole factor."""


class Report(Reporter):
    """Reports a run into its folder and onto a stream. A context manager: leaving it closes what it opened.

    `batch` images make a step; `shape` and `levels` are those of the model's images. `live` draws a progress bar;
    otherwise lines are written, at most one every `PLAIN_EVERY` seconds beside evaluations and grids.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch: int,
        shape: tuple[int, int, int],
        levels: int,
        stream: Any = None,
        live: bool | None = None,
    ):
        self.folder, self._batch, self._shape, self._levels = Path(folder), batch, shape, levels
        stream = sys.stderr if stream is None else stream
        live = stream.isatty() if live is None else live
        self._show: _Bar | _Lines = _Bar(stream) if live else _Lines(stream)
        self._speed = _Speed()
        self._log: IO[str] | None = None
        self._board: Board | None = None
        self._purge: int | None = None
        self._sums: dict[str, tuple[float, int]] = {}
        self._every, self._step, self._last = 1, 0, 0
        self._earlier = 0.0

    def started(self, step: int, steps: int) -> None:
        """Open the logs, cut at the step that the run goes on from."""
        self._log = open_log(self.folder / "metrics.jsonl", step)
        told = (number(record.get("seconds")) for record in read_log(self.folder / "metrics.jsonl"))
        self._earlier = max((seconds for seconds in told if seconds is not None), default=0.0)
        self._purge = step + 1 if step else None
        self._every = max(1, steps // RECORDS)
        self._step = self._last = step
        self._show.started(step, steps)

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar, and log the means of the training metrics when `RECORDS` of them say that it is time."""
        count, self._step = step - self._step, step
        self._speed.mark(count)
        for name, value in metrics.items():
            total, steps = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value * count, steps + count
        self._show.progress(step, {**_headline(metrics, self._shape), **self._pace()})
        if step // self._every > self._last // self._every:
            self._flush()

    def evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Log the figures of a whole split."""
        self._flush()
        self._record(step, split, metrics)
        self._show.line(f"step {step:,}  {split}  {text(_headline(metrics, self._shape))}")
        self._speed.pause()

    def sampled(self, step: int, image: Any) -> None:
        """Write the grid of samples, as PNG and to TensorBoard."""
        write_grid(image, self._levels, self._grid(step))
        self._speed.pause()
        if self._log is not None:
            self._tensorboard().image("samples", grid(image, self._levels), step)

    def grid_of(self, step: int) -> Path | None:
        """The grid of samples drawn at a step, by this process or an earlier one, if there is one."""
        path = self._grid(step)
        return path if path.is_file() else None

    def _grid(self, step: int) -> Path:
        return self.folder / "samples" / f"{step:08d}.png"

    def line(self, message: str) -> None:
        """Say a line, above the bar where there is one. The time that led to it is not spent on steps."""
        self._show.line(message)
        self._speed.pause()

    def saved(self, step: int) -> None:
        """Log what there is: a run that goes on from this checkpoint keeps it."""
        self._flush()
        self._speed.pause()

    def finished(self, outcome: Outcome) -> None:
        """Take the bar down."""
        self._flush()
        self._show.close()

    def close(self) -> None:
        """Flush and close the logs. May be called twice."""
        self._show.close()
        log, board = self._log, self._board
        self._log = self._board = None
        if board is not None:
            board.close()
        if log is not None:
            log.close()

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.close()

    def _pace(self) -> dict[str, float]:
        rate = self._speed.rate
        return {} if rate is None else {"steps_per_s": round(rate, 3), "images_per_s": round(rate * self._batch, 1)}

    def _flush(self) -> None:
        """Log the means since the last time, under the last step."""
        if self._sums:
            means = {name: total / steps for name, (total, steps) in self._sums.items()}
            self._record(self._step, "train", {**means, **self._pace()})
        self._sums, self._last = {}, self._step

    def _record(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        if self._log is not None:
            seconds = round(self._earlier + self._speed.elapsed, 3)
            figures = {name: _number(value) for name, value in metrics.items()}
            self._log.write(json.dumps({"step": step, "split": split, "seconds": seconds, **figures}) + "\n")
            self._log.flush()
            for name, value in metrics.items():
                self._tensorboard().scalar(f"{split}/{name}", value, step)

    def _tensorboard(self) -> Board:
        """Opened by what is first written: tensorboardX takes all of PyTorch along where that is installed."""
        if self._board is None:
            self._board = Board(self.folder / "tensorboard", self._purge)
        return self._board


def open_log(path: Path, step: int) -> IO[str]:
    """`metrics.jsonl` open for appending, without records beyond `step` and without torn lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        kept = [line for line, record in lines(path) if record["step"] <= step]
        part = path.with_name(path.name + ".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(path)
    return path.open("a", encoding="utf-8")


def write_grid(image: Any, levels: int, path: Path, columns: int | None = None, enlarge: int | None = None) -> Path:
    """Images `uint8[b,h,w,c]` as one PNG, enlarged by a whole factor to at least `PICTURE_WIDTH` unless told."""
    page = grid(image, levels, columns)
    return save_png(page, path, enlarge or max(1, math.ceil(PICTURE_WIDTH / page.shape[1])))


def write_json(path: Path, content: Any) -> None:
    """A whole JSON file or none."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def text(figures: Mapping[str, float]) -> str:
    """Figures in one line, names as people say them."""
    names = {"bits_per_dim": "bits/dim", "steps_per_s": "steps/s", "images_per_s": "images/s"}
    return "  ".join(f"{names.get(name, name)} {_short(value)}" for name, value in figures.items())


def _headline(metrics: Mapping[str, float], shape: tuple[int, int, int]) -> dict[str, float]:
    """Of all metrics those worth a place in one line: losses, nats and bits/dim, which follows from nats."""
    shown = {n: v for n, v in metrics.items() if n == "loss" or n.endswith("/loss")}
    if "nats" in metrics:
        bits = metrics["bits_per_dim"] if "bits_per_dim" in metrics else bits_per_dim(metrics["nats"], shape)
        shown |= {"nats": metrics["nats"], "bits_per_dim": bits}
    return shown


def _number(value: Any) -> float | int | bool | None:
    """JSON knows no infinity and no NaN: null stands for them."""
    if isinstance(value, bool | int):
        return value
    value = float(value)
    return value if math.isfinite(value) else None


def _short(value: Any) -> str:
    value = float(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class _Speed:
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


class _Lines:
    """Progress for files and pipes."""

    def __init__(self, stream: Any):
        self._stream, self._steps, self._last = stream, 0, -math.inf

    def started(self, step: int, steps: int) -> None:
        self._steps = steps
        self.line(f"resuming at step {step:,} of {steps:,}" if step else f"training for {steps:,} steps")

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        now = time.perf_counter()
        if now - self._last < PLAIN_EVERY and step < self._steps:
            return
        self._last = now
        rate = figures.get("steps_per_s")
        left = f"  {_clock((self._steps - step) / rate)} left" if rate and step < self._steps else ""
        self.line(f"step {step:,}/{self._steps:,}  {text(figures)}{left}")

    def line(self, message: str) -> None:
        self._stream.write(message + "\n")
        self._stream.flush()

    def close(self) -> None:
        pass


class _Bar:
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
        self._console = Console(file=stream, highlight=False)
        columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
        self._progress = Display(*columns, console=self._console, expand=True)
        self._task: Any = None
        self._steps = 0

    def started(self, step: int, steps: int) -> None:
        if step:
            self.line(f"resuming at step {step:,} of {steps:,}")
        self._steps = steps
        self._task = self._progress.add_task("", total=steps, completed=step, left="")
        self._progress.start()

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
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
