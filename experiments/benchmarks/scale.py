"""What many devices, saves and streamed data cost: prints three tables.

    python experiments/benchmarks/scale.py            (about five minutes on two cores)
    python experiments/benchmarks/scale.py --only save

*Devices*: PixelCNN 15×64, 8 images per device, on 1, 2, 4 and 8 virtual devices; on a machine with fewer cores than
devices more of them cannot be faster, so what the table shows is the overhead: time per image against that on 2.
*Saves*: how long `Checkpoints.save` holds up training, against 100 steps of the same run; and by how much the save and
the dozen steps behind it, during which it is written, take longer than other steps in all.
*Streamed*: steps per second of a small model whose data stay on the host, against the same data on the devices.
Processes and variants measure in turn, medians count; only a quiet machine gives figures worth keeping.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
DEVICES, SHARE = (1, 2, 4, 8), 8
ENDLESS = sys.maxsize


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5, help="samples, the median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a sample, about (default 4)")
    parser.add_argument("--only", choices=("devices", "save", "streamed"), help="one table")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(int(options.worker))
    from turns import machine, say

    say(machine())
    for name, table in (("devices", devices), ("save", saves), ("streamed", streamed)):
        if options.only in (None, name):
            say("\n" + "\n".join(table(options)))


def devices(options: argparse.Namespace) -> list[str]:
    """Time per image by the number of devices."""
    from turns import SETTLE, Worker

    workers = {n: Worker(str(n), __file__, JAX_NUM_CPU_DEVICES=str(n)) for n in DEVICES}
    steps = {n: max(2, round(options.seconds / w.ask(steps=2)["wall"])) for n, w in workers.items()}
    rates: dict[int, list[float]] = {n: [] for n in DEVICES}
    for _ in range(options.samples):
        for n, worker in workers.items():
            time.sleep(SETTLE)
            rates[n].append(1e3 * worker.ask(steps=steps[n])["wall"] / (n * SHARE))
    for worker in workers.values():
        worker.close()
    per_image = {n: statistics.median(times) for n, times in rates.items()}
    asked = {8: "≤ 1.15"}
    return [
        f"| virtual devices, {SHARE} images each | ms per image | against 2 devices | asked |",
        "|---|---|---|---|",
        *(f"| {n} | {t:.2f} | {t / per_image[2]:.3f} | {asked.get(n, '')} |" for n, t in per_image.items()),
    ]


def work(count: int) -> None:
    """A process with so many devices: trains as many steps as it is asked for, and answers seconds per step."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(count * SHARE)
    from turns import Engine

    from jaxgen.models.pixel.pixelrnn import PixelCNN

    answers, sys.stdout = sys.stdout, sys.stderr
    engine = Engine(*run(PixelCNN(shape=(28, 28, 1), levels=2, layers=15, features=64), count * SHARE))
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        answers.write(json.dumps({"wall": engine.measure(steps)[0] / steps}) + "\n")
        answers.flush()
    engine.end()


def run(model: Any, batch: int, images: int = 512, **knobs: Any) -> tuple[Any, Any]:
    """A recipe and noise to train it on."""
    import numpy as np
    import optax

    from jaxgen.data.dataset import Dataset, Source, Split
    from jaxgen.engine.recipe import Recipe

    split = Split(np.random.default_rng(0).integers(0, model.levels, (images, *model.shape), np.uint8))
    data = Dataset("noise", model.levels, split, Split(split.image[:16]), None, "noise")
    knobs = {"steps": ENDLESS, "evaluate_every": ENDLESS, "save_every": ENDLESS, "samples": 0} | knobs
    recipe = Recipe(data=Source("noise", lambda: data), model=model, optimizer=optax.adam(1e-4), batch=batch, **knobs)
    return recipe, data


def saves(options: argparse.Namespace) -> list[str]:
    """How long a save blocks."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(16)
    from jaxgen.engine import checkpoint
    from jaxgen.engine.fit import fit
    from jaxgen.engine.reporter import Reporter
    from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM

    blocked: list[float] = []
    marks: list[float] = []
    places: list[int] = []

    class Timed(checkpoint.Checkpoints):
        def save(self, *args: Any, **kwargs: Any) -> None:
            places.append(len(marks))
            start = time.perf_counter()
            super().save(*args, **kwargs)
            blocked.append(time.perf_counter() - start)

    sys.modules["jaxgen.engine.fit"].Checkpoints = Timed  # type: ignore[attr-defined]
    rows = ["| model | 100 steps, s | a save blocks for, ms | share | asked | with the steps behind it, ms | share |"]
    rows.append("|---|---|---|---|---|---|---|")
    for name, layers, features, shape, levels in (
        ("the demo's, 3×32 on 8×8", 3, 32, (8, 8, 1), 17),
        ("Diagonal BiLSTM 4×16 on 28×28", 4, 16, (28, 28, 1), 2),
    ):
        for times in (blocked, marks, places):
            times.clear()
        reporter = Reporter()
        reporter.progress = lambda step, metrics: marks.append(time.perf_counter())  # type: ignore[method-assign]
        model = DiagonalBiLSTM(shape=shape, levels=levels, layers=layers, features=features)
        recipe, data = run(model, 16, steps=100 * (options.samples + 1), save_every=100, ema=0.999)
        with tempfile.TemporaryDirectory() as folder:
            fit(recipe, data, folder, reporter=reporter)
        steps = [b - a for a, b in itertools.pairwise(marks)]
        usual, held = statistics.median(steps), statistics.median(blocked[1:])
        behind = [sum(steps[at - 1 : at + 12]) - 13 * usual for at in places[1:] if at + 12 <= len(steps)]
        in_all, interval = statistics.median(behind), 100 * usual
        rows.append(
            f"| {name} | {interval:.2f} | {1e3 * held:.1f} | {100 * held / interval:.2f} % | ≤ 2 % | "
            f"{1e3 * in_all:.1f} | {100 * in_all / interval:.2f} % |"
        )
    return rows


def streamed(options: argparse.Namespace) -> list[str]:
    """Speed of data that stay on the host."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(16)
    from turns import SETTLE, Engine

    from jaxgen.models.pixel.pixelrnn import PixelCNN

    recipe, data = run(PixelCNN(shape=(28, 28, 1), levels=2, layers=1, features=8), 16, images=20_000)
    engines = {"resident": Engine(recipe, data), "streamed": Engine(recipe, data, budget=0)}
    # The difference is smaller than what a machine wanders by within seconds: many short turns, each beside its like.
    steps = max(10, round(options.seconds / 4 / (engines["resident"].measure(20)[0] / 20)))
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(4 * options.samples):
        for name in list(engines)[:: 1 if turn % 2 else -1]:
            time.sleep(SETTLE)
            seconds[name].append(engines[name].measure(steps)[0] / steps)
    for engine in engines.values():
        engine.end()
    times = {name: 1e3 * statistics.median(each) for name, each in seconds.items()}
    share = 100 * statistics.median(r / s for r, s in zip(seconds["resident"], seconds["streamed"], strict=True))
    return [
        "| a small model, batch 16 | ms per step | speed | asked |",
        "|---|---|---|---|",
        f"| data on the devices | {times['resident']:.2f} | 100 % | about 5 ms |",
        f"| data streamed from the host | {times['streamed']:.2f} | {share:.1f} % | ≥ 95 % |",
    ]


if __name__ == "__main__":
    main()
