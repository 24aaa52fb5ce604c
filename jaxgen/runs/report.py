"""What a run tells while it runs: a progress bar, `metrics.jsonl`, TensorBoard, and sample grids as PNG.

`metrics.jsonl` holds one JSON object per line: the step, the split ("train", "valid", "test"), seconds of training
(those of earlier processes up to the step that the run went on from included), and the metrics. A resumed run first
drops what lies beyond the step that it resumes from, and a line that a kill tore, so that every step is there once.
TensorBoard is told likewise to purge what lies beyond.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from jaxgen.core.images import bits_per_dim
from jaxgen.engine.reporter import Outcome, Reporter
from jaxgen.pictures.grid import grid, write_grid
from jaxgen.runs.log import number, open_log, read_log
from jaxgen.runs.progress import Bar, Lines, Speed, text
from jaxgen.runs.tensorboard import Board

RECORDS = 1000
"""Records of training metrics that a whole run leaves, about; each is the mean of the steps since the one before."""


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
        self._show: Bar | Lines = Bar(stream) if live else Lines(stream)
        self._speed = Speed()
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
