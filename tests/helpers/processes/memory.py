"""A long training run in a process of its own, and the memory it holds: `python memory.py FOLDER STEPS SAVES`.

Prints a JSON list: megabytes of this process that are in memory after each tenth of the steps.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `helpers`

import jax
import optax

from helpers.stand_ins import Table, dataset, recipe
from jaxgen.engine.devices.cpu import prepare_cpu
from jaxgen.engine.fit import fit
from jaxgen.runs.report import Report


def resident():
    """Megabytes of this process that are in memory."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Weighed(Report):
    """The report of the command line, which looks at the memory ten times."""

    def started(self, step, steps):
        super().started(step, steps)
        self.tenth, self.found = steps // 10, []

    def progress(self, step, metrics):
        super().progress(step, metrics)
        if step % self.tenth == 0:
            self.found.append(round(resident(), 1))


if __name__ == "__main__":
    folder, steps, saves = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    jax.config.update("jax_num_cpu_devices", 1)
    prepare_cpu(16)
    data = dataset()
    knobs = {"save_every": steps // saves, "evaluate_every": steps // saves, "samples": 4, "ema": 0.9}
    made = recipe(Table(), data, steps=steps, optimizer=optax.adam(1e-2), **knobs)
    with Weighed(folder, batch=made.batch, levels=made.model.levels) as report:
        fit(made, data, folder, reporter=report)
    sys.stdout.write(json.dumps(report.found) + "\n")
