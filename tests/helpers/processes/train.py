"""A training run in a process of its own: `python train.py FOLDER MODEL DEVICES STEPS [STOP_AFTER [NUMBER:PORT]]`.

Numbers 0 and 1 of a pair of processes find each other at the port and share the run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `helpers`

import jax

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", int(sys.argv[3]))
    jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[3] / ".cache" / "jax"))
    if len(sys.argv) > 6:
        number, port = sys.argv[6].split(":")
        jax.distributed.initialize(f"localhost:{port}", 2, int(number))

import optax

from helpers.stand_ins import Noisy, Table, dataset, jitter, recipe
from jaxgen.engine.fit import fit

BIG = (64, 64, 1)


def settings(model, steps):
    """The recipe and the data of a run: "noisy" has draws and statistics, "big" takes a while to save, "often" saves at
    every third step and scores at every tenth."""
    knobs = {"steps": steps, "ema": 0.9, "optimizer": optax.adam(1e-2), "samples": 0, "evaluate_every": 100}
    if model == "noisy":
        data = dataset(transform=jitter)
        return recipe(Noisy(), data, save_every=100, clip=1.0, **knobs), data
    if model == "often":
        data = dataset(transform=jitter)
        return recipe(Noisy(), data, clip=1.0, **knobs | {"save_every": 3, "evaluate_every": 10}), data
    data = dataset(n=16, shape=BIG, levels=64)
    return recipe(Table(shape=BIG, levels=64), data, save_every=1, batch=8, **knobs), data


if __name__ == "__main__":
    folder, model, steps = sys.argv[1], sys.argv[2], int(sys.argv[4])
    left = int(sys.argv[5]) if len(sys.argv) > 5 else -1

    def stop():
        global left
        left -= 1
        return left == 0

    knobs, data = settings(model, steps)
    outcome = fit(knobs, data, folder, stop=stop)
    sys.stdout.write(f"{'stopped' if outcome.stopped else 'done'} {outcome.step}\n")
