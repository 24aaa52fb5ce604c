"""`jaxgen compare`: curves of runs in one picture, and what differs between them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.commands.runs import _reached, figures, plain
from jaxgen.cli.output import placed, table
from jaxgen.core.errors import UsageError
from jaxgen.runs.history import UNITS, RunSummary, read_summary


@dataclasses.dataclass(kw_only=True)
class Compare:
    """Compare runs: their curves in one picture, and a table of what differs between them and of what they reached."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Folders of the runs."""
    by: Literal["steps", "seconds"] = "steps"
    """What the curves run along: steps, or time spent training."""
    out: Annotated[str, tyro.conf.arg(metavar="FILE.png", aliases=("-o",))] = "compare.png"
    """Where the picture goes."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run `jaxgen compare`; returns its exit code."""
    options = flags.parse(Compare, args, "jaxgen compare")
    if not options.runs:
        raise UsageError("`jaxgen compare` wants RUN [RUN ...], folders of runs; `jaxgen runs` lists them.")
    path = placed(options.out, (".png",), "--out")
    names = [plain(name.rstrip("/") or name) for name in options.runs]
    runs = [read_summary(Path(name)) for name in options.runs]
    metrics = shared(runs)
    different = differences(runs)
    from jaxgen.pictures import curves

    texts = [{name: plain(text(run.settings[name])) for name in different if name in run.settings} for run in runs]
    labels = [
        label if run.best is None else f"{label}   best {run.best} at {run.best.step:,}"
        for label, run in zip(curves.labelled(texts, names), runs)
    ]
    x = "step" if options.by == "steps" else "seconds"
    panels = {
        plain(UNITS.get(metric, metric)): [
            curves.Curve(run.curve("train", metric, x), run.curve("valid", metric, x)) for run in runs
        ]
        for metric in metrics
    }
    curves.save(curves.figure(panels, labels, options.by, _title(runs)), path)
    if options.json:
        rows = [
            {"run": name, "settings": {n: run.settings.get(n) for n in different}, **figures(run)}
            for name, run in zip(options.runs, runs)
        ]
        sys.stdout.write(json.dumps({"output": str(path), "metrics": metrics, "runs": rows}) + "\n")
        return 0
    head = ["run", *different, "step", "best valid", "test", "time", "state"]
    rows_of_text = [
        [name, *(own.get(n, "–") for n in different), *_reached(f), _clock(f["seconds"]), f["state"]]
        for name, own, f in zip(names, texts, map(figures, runs))
    ]
    page = [head, *rows_of_text]
    if len(head) > 6 + len(runs):  # more settings than runs: each has a line
        page = [list(line) for line in zip(*page)]
    table(page[1:], page[0])
    sys.stdout.write(f"{path}\n")
    return 0


def shared(runs: Sequence[RunSummary]) -> list[str]:
    """The metrics to compare runs by: one of likelihood where all have it, nats for binary images of one size and
    bits/dim otherwise, or else the losses that they share. Raises `UsageError` where there is none."""
    for run in runs:
        if not run.curves:
            raise UsageError(f"{run.folder} has logged nothing to draw yet: leave it out, or wait for its first steps.")
    likelihood = "nats" if {(run.metric, run.dims) for run in runs} == {("nats", runs[0].dims)} else "bits_per_dim"
    common = [metric for metric in runs[0].curves if all(metric in run.curves for run in runs)]
    if likelihood in common:
        return [likelihood]
    losses = [metric for metric in common if metric not in UNITS]
    if not losses:
        has = (f"{r.folder} has {', '.join(plain(UNITS.get(m, m)) for m in r.curves)}" for r in runs)
        raise UsageError(f"these runs have no curve in common: {'; '.join(has)}.")
    return losses


def differences(runs: Sequence[RunSummary]) -> list[str]:
    """The settings in which runs differ, one that some of them lack included."""
    every = [run.settings for run in runs]
    names = dict.fromkeys(name for settings in every for name in settings)
    return [
        name for name in names if len({text(settings[name]) if name in settings else None for settings in every}) > 1
    ]


def text(value: Any) -> str:
    """A setting as people write it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02}:{rest:02}"


def _title(runs: Sequence[RunSummary]) -> str:
    """What runs have in common, above their picture."""
    model, data = ({plain(run.about.get(name, "")) for run in runs} for name in ("model", "data"))
    return " on ".join(names.pop() for names in (model, data) if len(names) == 1 and names != {""})
