"""`jaxgen runs`: the runs below a folder."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.output import table
from jaxgen.core.errors import UsageError
from jaxgen.runs.history import RunSummary, Score, find, read_summary


@dataclasses.dataclass(kw_only=True)
class Runs:
    """The runs below a folder: model, data, last checkpoint, best validation and test figures, and their state.

    complete, training (by a living process), stopped (saved where it ended), interrupted (the steps after its last
    checkpoint are lost), no checkpoint, or unreadable and why. `jaxgen train` with the same knobs resumes those that
    stopped or were interrupted.
    """

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = "runs"
    """Where to look, at any depth."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run `jaxgen runs`; returns its exit code."""
    options = flags.parse(Runs, args, "jaxgen runs")
    folder = Path(options.folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: `jaxgen train RECIPE` makes runs/, or name another.")
    rows = [_row(path) for path in find(folder)]
    if options.json:
        sys.stdout.write(json.dumps(rows) + "\n")
    elif not rows:
        sys.stderr.write(f"there are no runs below {folder}; `jaxgen train RECIPE` makes one.\n")
    else:
        names = ("run", "model", "data", "step", "best valid", "test", "state", "written")
        table([_cells(row) for row in rows], names, right=("step",))
    return 0


def figures(run: RunSummary) -> dict[str, Any]:
    """How far a run is and what it reached, as JSON can hold it."""
    best, test = (score and dataclasses.asdict(score) for score in (run.best, run.test))
    return {
        "step": run.step,
        "steps": run.steps,
        "logged": run.logged,
        "best": best,
        "test": test,
        "seconds": run.seconds,
        "state": run.state,
    }


def plain(name: Any) -> str:
    """A text from a file that may hold anything, without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else "?" for c in str(name))


def _row(folder: Path) -> dict[str, Any]:
    """A run as `--json` gives it."""
    try:
        run = read_summary(folder)
    except UsageError as error:
        return {"run": str(folder), "state": "unreadable", "reason": getattr(error, "reason", str(error))}
    about = {name: run.about.get(name) for name in ("model", "data")}
    return {"run": str(folder), **about, **figures(run), "written": _moment(run.written, "%Y-%m-%dT%H:%M:%S%z")}


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A run as the table shows it."""
    if row["state"] == "unreadable":
        return [plain(row["run"]), "", "", "", "", "", plain(f"unreadable: {row['reason']}"), ""]
    model, data = (plain(row[name] if row[name] is not None else "?") for name in ("model", "data"))
    written = row["written"][:16].replace("T", " ")
    return [plain(row["run"]), model, data, *_reached(row), row["state"], written]


def _reached(row: Mapping[str, Any]) -> list[str]:
    """Steps, best validation and test figure."""
    done = "–" if row["step"] is None else f"{row['step']:,}"
    best, test = (None if row[name] is None else Score(**row[name]) for name in ("best", "test"))
    return [
        done if row["steps"] is None else f"{done} of {row['steps']:,}",
        "–" if best is None else f"{best} at {best.step:,}",
        "–" if test is None else str(test),
    ]


def _moment(seconds: float, form: str) -> str:
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a file may claim to be of any time
        return "?"
