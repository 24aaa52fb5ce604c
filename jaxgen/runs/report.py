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

from jaxgen.engine.reporter import Outcome, Reporter
from jaxgen.pictures.grid import grid, write_grid
from jaxgen.runs.log import number, open_log, read_log
from jaxgen.runs.progress import Bar, Lines, Speed, text
from jaxgen.runs.tensorboard import Board

LIKELIHOOD = ("nats", "bits_per_dim")
"""Metrics that have a place in the progress line though a loss may not ask for it."""

LINES = 8
"""Lines of text that are said at an evaluation; their file has all."""

RECORDS = 1000
"""Records of training metrics that a whole run leaves, about; each is the mean of the steps since the one before."""


class Report(Reporter):
    """Reports a run into its folder and onto a stream. A context manager: leaving it closes what it opened.

    `batch` examples make a step; `levels` are those of the model's images, if it has any. `live` draws a progress bar;
    otherwise lines are written, at most one every `PLAIN_EVERY` seconds beside evaluations and grids. The figures of
    either are means over the steps since the last time, of each metric over those in which its objective acted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch: int,
        levels: int = 256,
        stream: Any = None,
        live: bool | None = None,
    ):
        self.folder, self._batch, self._levels = Path(folder), batch, levels
        stream = sys.stderr if stream is None else stream
        live = stream.isatty() if live is None else live
        self._show: Bar | Lines = Bar(stream) if live else Lines(stream)
        self._speed = Speed()
        self._log: IO[str] | None = None
        self._board: Board | None = None
        self._purge: int | None = None
        self._logged, self._interval = Means(), Means()
        self._highlighted: set[str] = set()
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
        self._logged.add(metrics, count)
        self._interval.add(metrics, count)
        if self._show.due(step):
            self._show.progress(step, {**self._headline(self._interval.take()), **self._pace()})
        if step // self._every > self._last // self._every:
            self._flush()

    def evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Log the figures of a whole split."""
        self._flush()
        self._record(step, split, metrics)
        means = {n: v for n, v in metrics.items() if isinstance(v, float) and not n.endswith("_stderr")}
        self._show.line(f"step {step:,}  {split}  {text(means)}")
        self._speed.pause()

    def sampled(self, step: int, image: Any) -> None:
        """Write the grid of samples, as PNG and to TensorBoard."""
        write_grid(image, self._levels, self._grid(step))
        self._speed.pause()
        if self._log is not None:
            self._tensorboard().image("samples", grid(image, self._levels), step)

    def shown(self, step: int, name: str, content: Any) -> None:
        """Write pictures as a grid, or lines of text, beside the samples, and to TensorBoard."""
        path = self._grid(step).with_name(f"{step:08d}-{name}")
        if isinstance(content, list):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".txt").write_text("\n".join(content) + "\n", encoding="utf-8")
            for line in content[:LINES]:
                self._show.line(f"    {line}")
            if self._log is not None:
                self._tensorboard().text(name, "\n\n".join(content), step)
        else:
            write_grid(content, self._levels, path.with_suffix(".png"))
            if self._log is not None:
                self._tensorboard().image(name, grid(content, self._levels), step)
        self._speed.pause()

    def highlighted(self, names: set[str]) -> None:
        """Those that the progress line has beside the losses."""
        self._highlighted = names

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

    def _headline(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Of all metrics those worth a place in one line: losses first, then likelihoods and what the losses ask for,
        in the order in which they come, by their names."""
        last = {name: name.rpartition("/")[2] for name in metrics}
        losses = [name for name in metrics if last[name] == "loss"]
        rest = [name for name in metrics if name in self._highlighted or last[name] in LIKELIHOOD]
        return {name: metrics[name] for name in dict.fromkeys(losses + rest)}

    def _pace(self) -> dict[str, float]:
        rate = self._speed.rate
        return {} if rate is None else {"steps_per_s": round(rate, 3), "images_per_s": round(rate * self._batch, 1)}

    def _flush(self) -> None:
        """Log the means since the last time, under the last step."""
        if means := self._logged.take():
            self._record(self._step, "train", {**means, **self._pace()})
        self._last = self._step

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


class Means:
    """Running means of metrics over steps."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, metrics: Mapping[str, float], count: int) -> None:
        """The means over `count` more steps, of the metrics that there are of them."""
        for name, value in metrics.items():
            total, steps = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value * count, steps + count

    def take(self) -> dict[str, float]:
        """The means so far, and begin anew."""
        means, self._sums = {name: total / steps for name, (total, steps) in self._sums.items()}, {}
        return means


def _number(value: Any) -> float | int | bool | None:
    """JSON knows no infinity and no NaN: null stands for them."""
    if isinstance(value, bool | int):
        return value
    value = float(value)
    return value if math.isfinite(value) else None
