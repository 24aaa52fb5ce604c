"""What run folders say of themselves: settings, figures by step, how far each is and whether it is still training.

Read without importing jax and without executing anything, so that a hundred runs are listed in an instant, those
that are training or came from elsewhere included. What cannot be read is named, never guessed.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgen.core.files import numbered
from jaxgen.runs.folder import Unreadable, check_file, read_object, read_record
from jaxgen.runs.lock import is_claimed
from jaxgen.runs.log import number, read_log

UNITS = {"bits_per_dim": "bits/dim", "nats": "nats"}
"""Metrics of likelihood, as people say them; the others go by their names."""


@dataclasses.dataclass(frozen=True)
class Score:
    """The figure that decides at a step, such as "nats" per image."""

    metric: str
    value: float
    step: int

    def __str__(self) -> str:
        return f"{self.value:.5g} {UNITS.get(self.metric, self.metric)}"


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run as its files tell it. `about` is `run.json`, `records` are those of `metrics.jsonl`, `result` is
    `result.json` once the run is complete, `training` that a living process holds the folder, `written` when a file
    changed last (seconds since 1970)."""

    folder: Path
    about: dict[str, Any]
    records: list[dict[str, Any]]
    checkpoints: tuple[int, ...]
    result: dict[str, Any] | None
    training: bool
    written: float

    @property
    def state(self) -> str:
        """ "complete", "training", "stopped" (it ended with its last step saved), "interrupted" (steps after the last
        checkpoint are lost and will be repeated) or "no checkpoint". The two before the last can be resumed."""
        if self.result is not None:
            return "complete"
        if self.training:
            return "training"
        if self.step is None:
            return "no checkpoint"
        return "stopped" if self.logged <= self.step else "interrupted"

    @property
    def step(self) -> int | None:
        """The step of the last checkpoint."""
        return max(self.checkpoints, default=None)

    @property
    def steps(self) -> int | None:
        """How many steps the run shall make, where its record says so."""
        steps = self.about.get("steps", self.knobs.get("steps"))
        return steps if type(steps) is int else None

    @property
    def logged(self) -> int:
        """The last step that was logged."""
        return max((record["step"] for record in self.records), default=0)

    @property
    def seconds(self) -> float | None:
        """Seconds of training so far, those of all processes that had a part in it."""
        return max((s for r in self.records if (s := number(r.get("seconds"))) is not None), default=None)

    @property
    def knobs(self) -> dict[str, Any]:
        """The recipe's knobs."""
        return self.about["knobs"]

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was made of: recipe, model, data, knobs, devices, versions."""
        about, versions = self.about, self.about.get("versions")
        settings = {"recipe": Path(str(about["recipe"])).stem, "model": about.get("model"), "data": about.get("data")}
        settings |= self.knobs
        settings |= {"devices": about.get("devices"), "processes": None}
        if about.get("processes") != 1:
            settings["processes"] = about.get("processes")
        settings |= versions if isinstance(versions, dict) else {}
        return {name: value for name, value in settings.items() if value is not None}

    @property
    def dims(self) -> int | None:
        """Sub-pixels of an image."""
        shape = self.about.get("shape")
        if isinstance(shape, list) and shape and all(isinstance(n, int) and n > 0 for n in shape):
            return math.prod(shape)
        return None

    @property
    def deciding(self) -> tuple[str, bool, str]:
        """The figure that decides what is best, whether higher is better, and of what: "valid" or "samples"."""
        best = self.about.get("best")
        if isinstance(best, dict) and isinstance(best.get("name"), str):
            return best["name"], best.get("higher") is True, str(best.get("split", "valid"))
        return "bits_per_dim", False, "valid"

    @property
    def metric(self) -> str:
        """The deciding figure as people tell it: nats for bits/dim of binary images."""
        name = self.deciding[0]
        return "nats" if name == "bits_per_dim" and self.about.get("levels") == 2 else name

    @property
    def best(self) -> Score | None:
        """The best figure of those that decide, the earliest of equals; None for a model without one."""
        _, higher, split = self.deciding
        points = self.curve(split, self.metric)
        if not points:
            return None
        value, step = min((-value if higher else value, step) for step, value in points)
        return Score(self.metric, -value if higher else value, int(step))

    @property
    def test(self) -> Score | None:
        """The same figure of a complete run's test split, where it has one."""
        points = self.curve("test", self.metric) if self.result is not None else []
        return Score(self.metric, points[-1][1], int(points[-1][0])) if points else None

    def curve(self, split: str, metric: str, by: str = "step") -> list[tuple[float, float]]:
        """The finite values of a metric on "train", "valid" or "test", each with its "step" (or "seconds")."""
        points = []
        for record in self.records:
            if record.get("split") == split:
                x, y = number(record.get(by)), self._value(record, metric)
                if x is not None and y is not None:
                    points.append((x, y))
        return points

    @property
    def curves(self) -> list[str]:
        """The metrics that there are curves of: likelihoods, the deciding figure, and losses."""
        names = dict.fromkeys(name for r in self.records if r.get("split") in ("train", "valid") for name in r)
        losses = [name for name in names if name == "loss" or name.endswith("/loss")]
        wanted = dict.fromkeys((*UNITS, self.metric, *losses))
        return [m for m in wanted if any(self.curve(split, m) for split in ("train", "valid", "samples"))]

    def _value(self, record: dict[str, Any], metric: str) -> float | None:
        value = number(record.get(metric))
        nats = number(record.get("nats"))
        if value is None and metric == "bits_per_dim" and nats is not None and self.dims:
            return nats / (self.dims * math.log(2))  # a model's own metrics may be nats alone
        return value


def find(folder: Path) -> Iterator[Path]:
    """The runs at or below a folder, by name. Nothing hidden, and behind links only what is itself a run."""
    for at, inner, files in os.walk(folder):
        if "run.json" in files:
            inner.clear()
            yield Path(at)
            continue
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for path in (Path(at, name) for name in inner):
            if path.is_symlink() and os.path.isfile(path / "run.json"):
                yield path


def read_summary(folder: Path) -> RunSummary:
    """What a run's folder says. Raises `UsageError` where it is none, `Unreadable` where a file of it is broken."""
    about = read_record(folder)
    result = read_object(folder, "result.json") if os.path.lexists(folder / "result.json") else None
    log = folder / "metrics.jsonl"
    kept: list[dict[str, Any]] = []
    if os.path.lexists(log):
        try:
            check_file(folder, "metrics.jsonl")
            kept = read_log(log)
            nothing = not kept and b"\n" in log.read_bytes()
        except OSError as error:
            raise Unreadable(folder, f"metrics.jsonl: {error.strerror}") from error
        if nothing:
            raise Unreadable(folder, "metrics.jsonl holds no records")
    return RunSummary(folder, about, kept, saved_steps(folder), result, is_claimed(folder), _written(folder))


def saved_steps(folder: Path) -> tuple[int, ...]:
    """The steps of a run's whole checkpoints."""
    return numbered(folder / "checkpoints")


def _written(folder: Path) -> float:
    """When one of the run's files changed last."""
    times = []
    for name in ("run.json", "metrics.jsonl", "result.json", "checkpoints"):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)
