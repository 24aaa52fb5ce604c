"""What the benchmarks of the families share: two workers, ours and PyTorch's, that measure in turn, and their table.

Ours goes through the engine as the command line sets it up on this machine. Each side is a process of its own, which
may use every core and sleeps while the other measures; rows give medians over the samples, wall and CPU time, and a
ratio is PyTorch's time over ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from turns import SETTLE, Engine, Loop, Worker, machine, median, say  # noqa: E402

LAYOUTS = ("contiguous", "channels_last")
SIDES = ("jaxgen", "torch")


def flags(doc: str | None, seconds: float = 1.5) -> argparse.ArgumentParser:
    """The flags of all of them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5, help="samples of each side, the median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"length of a sample (default {seconds:g})")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    return parser


def table(rows: Sequence[tuple[str, float, Mapping[str, Any]]], file: str, options: Any, least: int = 3) -> None:
    """Print a table of rows: their name, the ratio that is asked, and what workers are asked to prepare. A sample has
    at least `least` steps."""
    workers = {name: Worker(name, file) for name in SIDES}
    say(
        f"{machine()}\n\n| case | asked | ratio, wall | ratio, CPU | ours, ms | PyTorch, ms | layout |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, asked, wanted in rows:
        samples: dict[str, list[tuple[float, float]]] = {side: [] for side in workers}
        steps, layout = {}, ""
        for side, worker in workers.items():
            layout = worker.ask(do="prepare", **wanted).get("layout", layout)
            time.sleep(SETTLE)
            steps[side] = max(least, round(options.seconds / worker.ask(do="measure", steps=1)["wall"]))
        for _ in range(options.samples):
            for side, worker in workers.items():
                time.sleep(SETTLE)
                sample = worker.ask(do="measure", steps=steps[side])
                samples[side].append((sample["wall"], sample["cpu"]))
        for worker in workers.values():
            worker.ask(do="end")
        (ours, ours_cpu), (torch, torch_cpu) = median(samples["jaxgen"]), median(samples["torch"])
        say(
            f"| {name} | {asked:g} | {torch / ours:.2f} | {torch_cpu / ours_cpu:.2f} | {1e3 * ours:,.1f} "
            f"(CPU {1e3 * ours_cpu:,.1f}) | {1e3 * torch:,.1f} (CPU {1e3 * torch_cpu:,.1f}) | {layout} |"
        )
    for worker in workers.values():
        worker.close()


def work(prepare: Callable[[Mapping[str, Any]], Any]) -> None:
    """A worker's life: answer questions until standard input ends. `prepare` makes of a question what is measured."""
    answers, sys.stdout = sys.stdout, sys.stderr  # so that nothing else gets between the answers
    measured: Any = None
    for line in sys.stdin:
        question, answer = json.loads(line), {}
        if question["do"] == "prepare":
            measured = prepare(question)
            answer = {"layout": getattr(measured, "layout", "")}
        elif question["do"] == "measure":
            wall, cpu = measured.measure(question["steps"])
            answer = {"wall": wall / question["steps"], "cpu": cpu / question["steps"]}
        else:
            measured.end()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def engine(model: Any, split: Mapping[str, Any], batch: int, optimizer: Any) -> Engine:
    """Steps of a model through the engine, on these arrays and without an end."""
    from jaxgen.data.dataset import Dataset, Source, Split
    from jaxgen.engine.recipe import Recipe

    held_out = Split({name: x[:16] for name, x in split.items()})
    data = Dataset("noise", getattr(model, "levels", 0), Split(dict(split)), held_out, None, "noise")
    recipe = Recipe(
        data=Source("noise", lambda: data),
        model=model,
        optimizer=optimizer,
        batch=batch,
        steps=sys.maxsize,
        evaluate_every=sys.maxsize,
        save_every=sys.maxsize,
    )
    return Engine(recipe, data)


def quicker(loop: Callable[[str], Loop], layouts: Sequence[str] = LAYOUTS) -> Loop:
    """The peer's loop in the quicker of these memory layouts."""
    loops = [loop(layout) for layout in layouts]
    return loops[0] if len(loops) == 1 else min(loops, key=lambda one: one.measure(3)[0])
