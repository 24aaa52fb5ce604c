"""Nats on the whole test set of static binarised MNIST after some minutes of training: prints a table.

    python experiments/benchmarks/time_to_quality.py --data PATH
    python experiments/benchmarks/time_to_quality.py --data PATH --minutes 60 --recipes diagonal_mnist_hour

A recipe is first run for some seconds to learn its steps per second on this machine, which is not counted. Then its
number of steps is set to what fits into the minutes, so that its schedule ends with them, and it is trained afresh:
compilation and the placing of data count, scoring does not. Training stops when the minutes are over, whatever step
it has reached. Of several recipes, the one with the best validation figure (averaged parameters, all 10,000 images)
is the result; the test set is read for that one alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CALIBRATION, MARGIN = 20.0, 0.985
"""Seconds of steps from which the rate is taken, and the share of the minutes that the steps should fill."""


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="static binarised MNIST, as `jaxgen train --data` takes it")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training (default 8)")
    parser.add_argument("--recipes", nargs="+", default=["diagonal_mnist_short"], help="stems in experiments/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", help="a folder in which each recipe leaves its run, for sampling and the codec")
    options = parser.parse_args()
    from jaxgen.mesh import prepare_cpu

    prepare_cpu(16)
    say("| recipe | steps | seconds | parameters | valid, nats | load before and after |\n|---|---|---|---|---|---|")
    found = [trained(name, options) for name in options.recipes]
    best = min(found, key=lambda run: run["valid"])
    nats = scored(best, "test")
    say(
        f"\n{best['name']}: {nats:.2f} nats on {len(best['dataset'].test):,} test images after "
        f"{best['seconds'] / 60:.1f} minutes of training on {len(os.sched_getaffinity(0))} cores ({processor()})"
    )


def trained(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One recipe, trained for its minutes and scored on validation data."""
    from jaxgen.recipe import build, load_file
    from jaxgen.run import open_folder

    file = load_file(ROOT / "experiments" / f"{name}.py")
    settings = {"evaluate_every": 10**9, "samples": 0, "data": options.data, "seed": options.seed}
    made = build(file, {**settings, "steps": 10**9})
    dataset = made.data.load()
    _, marks, start = timed(made, dataset, lambda marks: bool(marks) and time.perf_counter() - marks[0] > CALIBRATION)
    rate, before = (len(marks) - 1) / (marks[-1] - marks[0]), marks[0] - start
    steps = int((60 * options.minutes - before) * rate * MARGIN)
    made = build(file, {**settings, "steps": steps})
    deadline, load = 60 * options.minutes, os.getloadavg()[0]
    began = time.perf_counter()
    folder = None if options.runs is None else Path(options.runs) / name
    if folder is not None:
        open_folder(folder, file, file.settings({**settings, "steps": steps}), {})
    outcome, marks, start = timed(made, dataset, lambda marks: time.perf_counter() - began > deadline, folder)
    run = {"name": name, "made": made, "dataset": dataset, "outcome": outcome, "seconds": marks[-1] - start}
    run["valid"] = scored(run, "valid")
    import jax

    count = sum(leaf.size for leaf in jax.tree.leaves(outcome.state.variables["params"]))
    ended = f"{outcome.step:,}" + ("" if outcome.step == steps else f" of {steps:,}")
    loads = f"{load:.1f}, {os.getloadavg()[0]:.1f}"
    say(f"| {name} | {ended} | {run['seconds']:.0f} | {count:,} | {run['valid']:.2f} | {loads} |")
    return run


def timed(
    made: Any, dataset: Any, over: Callable[[list[float]], bool], folder: Path | None = None
) -> tuple[Any, list[float], float]:
    """The outcome of `fit`, when each of its steps was reported, and when it began. It never sees the test set."""
    from jaxgen.train import Reporter, fit

    marks: list[float] = []

    class Clock(Reporter):
        def progress(self, step: int, metrics: dict[str, float]) -> None:
            marks.append(time.perf_counter())

    unseen = dataclasses.replace(dataset, test=None)
    start = time.perf_counter()
    return fit(made, unseen, folder, reporter=Clock(), stop=lambda: over(marks)), marks, start


def scored(run: dict[str, Any], split: str) -> float:
    """Nats of a whole split, with averaged parameters."""
    from jaxgen.evaluate import evaluate
    from jaxgen.step import averaged

    found = evaluate(run["made"].model, averaged(run["outcome"].state), getattr(run["dataset"], split))
    return float(found["nats"])


def processor() -> str:
    """Its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
