"""Losses of GANs on equal terms: the same nets, data, optimiser and steps for each loss and each hold on the critic.

    python experiments/studies/gan_losses.py --data PATH --judge RUN
    python experiments/studies/gan_losses.py --data PATH --judge RUN --losses hinge wgan --holds spectral --seeds 5

Trains `gan_mnist` for each loss, each hold on the critic (nothing, clipped weights, a gradient penalty, R1, spectral
norm) and each seed, a run folder each, and writes a table, `gan_losses.json` and the picture `gan_losses.png` beside
them: mean and standard error over seeds of FD between 10,000 samples and test images in the features of RUN, a
classifier's run (`classifier_mnist`), beside its floor, that of as many training images. A run that diverges counts as
that.

All settings but loss and hold are the recipe's, whatever their papers' are, and no figure chooses anything: a row says
what a loss is worth without tuning, not what it can reach. One step of the critic goes with one of the generator,
unless `--critic-steps` is given, which then holds for all. Flags that are not listed here are the recipe's knobs. The
same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
LOSSES = ("minimax", "non-saturating", "least-squares", "hinge", "wgan", "gan-qp-l1", "gan-qp-l2", "relativistic")
HOLDS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "clip": ("--clip-weights", "0.01"),
    "two-sided": ("--penalty", "two-sided"),
    "r1": ("--penalty", "r1"),
    "spectral": ("--spectral",),
}
"""Ways to hold the critic, and the knobs that they are."""


def main(args: Sequence[str] | None = None) -> int:
    """Train, tell, draw; the exit code of the first training that was stopped, or 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, help="28×28 grey images, as `jaxgen train --data` takes them")
    parser.add_argument("--judge", required=True, help="the run of a classifier of these images")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES, help="which (default: all)")
    parser.add_argument("--holds", nargs="+", choices=HOLDS, default=tuple(HOLDS), help="which (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--steps", type=int, default=5000, help="of each run (default 5000)")
    parser.add_argument("--num", type=int, default=10_000, help="samples and images compared (default 10000)")
    parser.add_argument("--out", type=Path, default=Path("runs/gan_losses"), help="where everything goes")
    options, knobs = parser.parse_known_args(args)
    if min(options.seeds, options.steps, options.num) < 1:
        parser.error("--seeds, --steps and --num are at least 1")
    from jaxgen.core.errors import UsageError
    from jaxgen.pictures.curves import save

    try:
        rows = study(options, knobs)
    except UsageError as error:
        parser.error(str(error))
    except Stopped as stop:
        return stop.code
    sys.stdout.write(table(rows))
    save(
        picture(rows, f"{options.steps:,} steps, {options.seeds} seeds, mean and standard error"), path(options, "png")
    )
    return 0


class Stopped(Exception):
    """A training was stopped from outside; the same command goes on with it."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


def study(options: argparse.Namespace, knobs: Sequence[str]) -> list[dict[str, Any]]:
    """The figures of each loss and hold. Raises `UsageError` where the folder holds a study of other settings."""
    from experiments.studies.resumed import begin, check
    from jaxgen.core.files import write_json
    from jaxgen.runs.feature_judge import features_run

    net = features_run(options.judge)
    settings = {"data": options.data, "judge": str(Path(options.judge).resolve()), "steps": options.steps}
    settings |= {"num": options.num, "knobs": list(knobs)}
    check(options.out, settings)
    begin(options.out, settings)
    rows = []
    for loss in options.losses:
        for hold in options.holds:
            cells = [cell(options, knobs, net, loss, hold, seed) for seed in range(options.seeds)]
            rows.append(summed(loss, hold, cells))
            write_json(path(options, "json"), {"settings": settings, "rows": rows})
    return rows


def cell(
    options: argparse.Namespace, knobs: Sequence[str], net: Any, loss: str, hold: str, seed: int
) -> dict[str, Any]:
    """One run: its FD and the floor, or the step at which it diverged. What is done is read from its file."""
    from jaxgen.cli.commands import train
    from jaxgen.core.files import write_json
    from jaxgen.engine.reporter import Diverged
    from jaxgen.explore.quality import quality
    from jaxgen.runs.load import load

    folder = options.out / f"{loss}-{hold}-{seed}"
    done = folder / "figures.json"
    if done.exists():
        figures: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return figures
    flags = ["--data", options.data, "--loss", loss, "--steps", str(options.steps), "--seed", str(seed)]
    flags += ["--evaluate-every", str(options.steps), *HOLDS[hold], *knobs]
    began = time.perf_counter()
    try:
        code = train.run([str(ROOT / "experiments/gan/gan_mnist.py"), *flags, "--run", str(folder)])
    except Diverged as error:
        figures = {"diverged": error.step}
    else:
        if code:
            raise Stopped(code)
        run = load(folder)
        judged = quality(run, net, run.dataset, ("fd",), options.num)
        figures = {"fd": judged.figures["fd"], "floor": judged.floor["fd"]}
    figures["seconds"] = round(time.perf_counter() - began, 1)
    write_json(done, figures)
    sys.stderr.write(f"{loss}, {hold}, seed {seed}: {figures}\n")
    return figures


def summed(loss: str, hold: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the seeds that did not diverge, None where there are too few."""
    values = [figures["fd"] for figures in cells if "fd" in figures]
    row: dict[str, Any] = {"loss": loss, "hold": hold, "runs": len(cells), "diverged": len(cells) - len(values)}
    row["fd"] = float(np.mean(values)) if values else None
    row["stderr"] = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    row["floor"] = next((figures["floor"] for figures in cells if "floor" in figures), None)
    return row


def path(options: argparse.Namespace, kind: str) -> Path:
    """The study's own file of that kind."""
    path: Path = options.out / f"gan_losses.{kind}"
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each loss, a column for each hold, in Markdown."""
    losses, holds = (list(dict.fromkeys(row[name] for row in rows)) for name in ("loss", "hold"))
    cells = {(row["loss"], row["hold"]): told(row) for row in rows}
    floor = next((row["floor"] for row in rows if row["floor"] is not None), None)
    corner = "FD" if floor is None else f"FD, floor {floor:.3g}"
    lines = [f"| {corner} | " + " | ".join(holds) + " |", "|---" * (1 + len(holds)) + "|"]
    lines += [f"| {loss} | " + " | ".join(cells.get((loss, hold), "") for hold in holds) + " |" for loss in losses]
    return "\n".join(lines) + "\n"


def told(row: Mapping[str, Any]) -> str:
    """A cell: the mean, its error, and how many runs diverged."""
    mean = "" if row["fd"] is None else f"{row['fd']:.3g}"
    error = "" if row["stderr"] is None else f" ± {row['stderr']:.2g}"
    lost = f"{row['diverged']} of {row['runs']} diverged" if row["diverged"] else ""
    return f"{mean}{error}{', ' if mean and lost else ''}{lost}"


def picture(rows: Sequence[Mapping[str, Any]], title: str) -> Any:
    """FD of each loss on a logarithmic axis, a mark for each hold, and the floor."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    from jaxgen.pictures.curves import COLOURS, MARKS

    losses, holds = (list(dict.fromkeys(row[name] for row in rows)) for name in ("loss", "hold"))
    figure = Figure(figsize=(8.0, 4.8), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    for number, hold in enumerate(holds):
        own = [row for row in rows if row["hold"] == hold and row["fd"] is not None]
        at = [losses.index(row["loss"]) + 0.12 * (number - (len(holds) - 1) / 2) for row in own]
        bars = [row["stderr"] or 0.0 for row in own]
        bars = [[min(bar, 0.99 * row["fd"]) for bar, row in zip(bars, own)], bars]  # on a logarithmic axis 0 is no end
        style = dict(color=COLOURS[number], marker=MARKS[number], linestyle="none", capsize=3, label=hold)
        axis.errorbar(at, [row["fd"] for row in own], bars, **style)
    floor = next((row["floor"] for row in rows if row["floor"] is not None), None)
    if floor is not None:
        axis.axhline(floor, color="#888888", linewidth=1, linestyle="--", label="floor: training images")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_xticks(range(len(losses)), losses, rotation=20)
    axis.set_ylabel("FD in a classifier's features")
    axis.set_title(title, loc="left", fontsize="medium")
    axis.grid(color="#dddddd", linewidth=0.6, axis="y")
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
