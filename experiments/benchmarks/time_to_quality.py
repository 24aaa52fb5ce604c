"""Nats on the whole test set of static binarised MNIST after some minutes of training: prints a table.

    python experiments/benchmarks/time_to_quality.py --data PATH
    python experiments/benchmarks/time_to_quality.py --data PATH --minutes 60 --curve 2000
    python experiments/benchmarks/time_to_quality.py --data PATH --recipes diagonal_mnist/short rowlstm_mnist/hour

A recipe is first run for some seconds to learn its steps per second on this machine, which is not counted. Then its
number of steps is set to what fits into the minutes, so that its schedule ends with them (`--fill` leaves room for a
machine whose rate changes: a schedule that is cut short costs more than a few steps), and it is trained afresh:
compilation and the placing of data count, scoring does not (nor that of `--curve`, validation data every so many
steps). Training stops when the minutes are over, whatever step it has reached. Of several recipes, the one with the
best validation figure (averaged parameters, all 10,000 images) is the result; the test set is read for that one
alone.
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
CALIBRATION = 20.0
"""Seconds of steps from which the rate is taken."""


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="static binarised MNIST, as `jaxgen train --data` takes it")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training (default 8)")
    parser.add_argument("--recipes", nargs="+", default=["diagonal_mnist/hour"], help="NAME or NAME/PRESET")
    parser.add_argument("--fill", type=float, default=0.985, help="share of the minutes that the steps should fill")
    parser.add_argument("--curve", type=int, default=10**9, help="score validation data every so many steps too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", help="a folder in which each recipe leaves its run, for sampling and the codec")
    options = parser.parse_args()
    if options.curve < 1:
        parser.error(f"--curve is a number of steps, at least 1, got {options.curve}")
    if not 0 < options.fill <= 1:
        parser.error(f"--fill is a share of the minutes, above 0 and at most 1, got {options.fill}")
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(16)
    say("| recipe | steps | seconds | parameters | valid, nats | load before and after |\n|---|---|---|---|---|---|")
    runs = [trained(name, options) for name in options.recipes]
    best = min(runs, key=lambda run: run["valid"])
    nats = scored(best, "test")
    say(
        f"\n{best['name']}: {nats:.2f} nats on {len(best['dataset'].test):,} test images after "
        f"{best['seconds'] / 60:.1f} minutes of training on {len(os.sched_getaffinity(0))} cores ({processor()})"
    )


def trained(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One recipe, trained for its minutes and scored on validation data."""
    from jaxgen.runs.folder import open_folder
    from jaxgen.runs.recipes.build import build
    from jaxgen.runs.recipes.find import find

    stem, _, preset = name.partition("/")
    file = find(stem).with_preset(preset) if preset else find(stem)
    settings = {"evaluate_every": 10**9, "samples": 0, "data": options.data, "seed": options.seed}
    recipe = build(file, {**settings, "steps": 10**9})
    dataset = recipe.data.load()
    _, clock = timed(recipe, dataset, lambda clock: bool(clock.marks) and clock.now() - clock.marks[0] > CALIBRATION)
    rate = (len(clock.marks) - 1) / (clock.marks[-1] - clock.marks[0])
    steps = int((60 * options.minutes - clock.marks[0]) * rate * options.fill)
    settings |= {"steps": steps, "evaluate_every": options.curve}
    recipe = build(file, settings)
    load = os.getloadavg()[0]
    folder = None if options.runs is None else Path(options.runs) / name
    if folder is not None:
        open_folder(folder, file, file.settings(settings), {})
    outcome, clock = timed(recipe, dataset, lambda clock: clock.now() > 60 * options.minutes, folder)
    for step, seconds, nats in clock.curve:
        if step % options.curve == 0:
            say(f"| {name}, on the way | {step:,} | {seconds:.0f} | | {nats:.2f} | |")
    run = {"name": name, "made": recipe, "dataset": dataset, "outcome": outcome, "seconds": clock.marks[-1]}
    run["valid"] = scored(run, "valid")
    import jax

    count = sum(leaf.size for leaf in jax.tree.leaves(outcome.state.variables["params"]))
    ended = f"{outcome.step:,}" + ("" if outcome.step == steps else f" of {steps:,}")
    loads = f"{load:.1f}, {os.getloadavg()[0]:.1f}"
    say(f"| {name} | {ended} | {run['seconds']:.0f} | {count:,} | {run['valid']:.2f} | {loads} |")
    return run


def timed(recipe: Any, dataset: Any, over: Callable[[Any], bool], folder: Path | None = None) -> tuple[Any, Any]:
    """The outcome of `fit`, which never sees the test set, and its clock.

    A clock has the seconds of training (`now`, scoring left out), those at which each step was reported (`marks`), and
    steps, seconds and nats of each time that validation data were scored (`curve`).
    """
    from jaxgen.engine.fit import fit
    from jaxgen.engine.reporter import Reporter

    class Clock(Reporter):
        def __init__(self) -> None:
            self.began, self.marks, self.curve = time.perf_counter(), [], []  # type: ignore[var-annotated]

        def now(self) -> float:
            return time.perf_counter() - self.began

        def progress(self, step: int, metrics: dict[str, float]) -> None:
            self.marks.append(self.now())

        def evaluated(self, step: int, split: str, metrics: dict[str, Any]) -> None:
            self.began += self.now() - self.marks[-1]  # steps are reported before their state is scored
            self.curve.append((step, self.marks[-1], metrics["nats"]))

    clock = Clock()
    unseen = dataclasses.replace(dataset, test=None)
    return fit(recipe, unseen, folder, reporter=clock, stop=lambda: over(clock)), clock


def scored(run: dict[str, Any], split: str) -> float:
    """Nats of a whole split, with averaged parameters."""
    from jaxgen.engine.evaluate import evaluate
    from jaxgen.engine.state import averaged

    scores = evaluate(run["made"].model, averaged(run["outcome"].state), getattr(run["dataset"], split))
    return float(scores["nats"])


def processor() -> str:
    """Its name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
