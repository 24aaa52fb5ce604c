"""Kills and long runs: short ones here, those of minutes by `make soak`."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import PROCESSES, ROOT
from helpers.killed import last, start
from helpers.processes.train import settings
from helpers.runs import assert_equal

from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.engine.fit import fit

EIGHT = make_mesh()


def reached(folder):
    """The last whole checkpoint's step, 0 where there is none."""
    steps = [int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit()]
    return max(steps, default=0)


def killed(folder, steps, least, wait):
    """Run on until `least` more steps are saved, then for `wait` seconds, and kill. Returns the step that is saved."""
    goal, process = reached(folder) + least, start(folder, "often", 8, steps)
    deadline = time.monotonic() + 300
    while reached(folder) < goal and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    time.sleep(wait)
    assert process.poll() is None, "the run was over before it was killed"
    process.kill()
    process.communicate()
    return reached(folder)


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path, times, capsys):
    """Moments drawn at random: some while a process starts, most while a checkpoint is under way."""
    seed = int.from_bytes(os.urandom(4)) if times > 3 else 0
    draw, steps, actual = random.Random(seed), 60 * times, []
    for _ in range(times):
        early = draw.random() < 0.2
        least, wait = (0, draw.uniform(0, 2)) if early else (draw.randrange(1, 12), draw.uniform(0, 0.1))
        step = killed(tmp_path, steps, least, wait)
        saving = any((tmp_path / "checkpoints").glob("*-tmp"))
        actual.append(f"{least} steps and {wait:.3f} s: step {step}{', while saving' if saving else ''}")
    with capsys.disabled():
        sys.stdout.write("\n".join(["", f"kills of seed {seed}:", *actual, ""]) if times > 3 else "")
    process = start(tmp_path, "often", 8, steps)
    out, err = process.communicate(timeout=600)
    assert out.split() == ["done", str(steps)], err
    knobs, data = settings("often", steps)
    whole = fit(knobs, data, mesh=EIGHT)
    state, step = last(tmp_path, whole.state)
    assert step == steps
    assert_equal(state, whole.state)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the memory from")
@pytest.mark.parametrize(("steps", "saves"), [(2000, 10), pytest.param(100_000, 50, marks=pytest.mark.soak)])
def test_memory_does_not_grow(tmp_path, steps, saves, capsys):
    command = [sys.executable, str(PROCESSES / "memory.py"), str(tmp_path), str(steps), str(saves)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    actual = json.loads(done.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\nMB after each tenth of {steps:,} steps: {actual}\n" if steps > 2000 else "")
    assert len(actual) == 10
    assert actual[-1] - actual[1] < 8, actual  # the first save, and what is made with it, falls in the first two
