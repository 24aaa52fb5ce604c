"""A run that is stopped, killed or moved goes on as if nothing had happened."""

import signal
import socket
import time

import jax
import numpy as np
import pytest
from helpers.killed import finish, last, start
from helpers.processes.train import settings
from helpers.runs import assert_close, assert_equal
from helpers.stand_ins import Table, dataset, recipe

from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.engine.fit import fit
from jaxgen.engine.state import averaged

EIGHT = make_mesh()


@pytest.fixture(scope="module")
def at_once():
    knobs, data = settings("noisy", 12)
    return fit(knobs, data).state


def test_two_processes_equal_one_run_bit_for_bit(tmp_path, at_once):
    assert finish(start(tmp_path, "noisy", 8, 12, 6)) == ["stopped", "6"]
    assert last(tmp_path, at_once)[1] == 6
    assert finish(start(tmp_path, "noisy", 8, 12)) == ["done", "12"]
    state, step = last(tmp_path, at_once)
    assert step == 12
    assert_equal(state, at_once)


def test_a_run_goes_on_with_fewer_devices(tmp_path, at_once):
    knobs, data = settings("noisy", 12)
    asked = iter([False] * 6 + [True])
    stopped = fit(knobs, data, tmp_path, stop=lambda: next(asked))
    assert (stopped.stopped, stopped.step) == (True, 7)
    moved = fit(knobs, data, tmp_path, mesh=make_mesh(jax.devices()[:2]))
    assert_close(moved.state, at_once, 1e-5)  # Adam divides by roots of small numbers
    assert len(jax.tree.leaves(moved.state.variables)[0].sharding.device_set) == 2


def test_a_process_killed_while_saving_leaves_a_run_that_resumes(tmp_path):
    process = start(tmp_path, "big", 2, 1000)
    folder, deadline = tmp_path / "checkpoints", time.time() + 90
    try:
        while time.time() < deadline:
            whole = [p for p in folder.glob("*") if p.name.isdigit()]
            if whole and list(folder.glob("*-tmp")):
                break
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    rubbish = list(folder.glob("*-tmp"))
    knobs, data = settings("big", 1000)
    with Checkpoints(folder, write=False) as checkpoints:
        reached = checkpoints.latest
    assert reached is not None
    assert 0 < reached < 1000
    target = reached + 2
    two = make_mesh(jax.devices()[:2])
    knobs, data = settings("big", target)
    resumed = fit(knobs, data, tmp_path, mesh=two)
    assert resumed.step == target
    assert not [p for p in rubbish if p.exists()]
    assert_equal(resumed.state, fit(knobs, data, mesh=two).state)


def test_two_processes_share_a_run_and_stop_together(tmp_path, at_once):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pair = [start(tmp_path, "noisy", 4, 12, after, f"{number}:{port}") for number, after in ((0, -1), (1, 5))]
    assert [finish(process)[-2:] for process in pair] == [
        ["stopped", "6"]
    ] * 2  # the wish travels with the metrics, a step late
    knobs, data = settings("noisy", 12)
    resumed = fit(knobs, data, tmp_path)
    assert resumed.step == 12
    assert_close(resumed.state, at_once, 1e-5)


def test_the_variables_of_a_run_can_be_read_alone(tmp_path, at_once):
    knobs, data = settings("noisy", 12)
    fit(knobs, data, tmp_path)
    one = replicated(make_mesh(jax.devices()[:1]))
    with Checkpoints(tmp_path / "checkpoints", write=False) as checkpoints:
        assert_equal(checkpoints.variables(), averaged(at_once))
        assert_equal(checkpoints.variables("best", averaged=False, sharding=one), at_once.variables)


def test_a_finished_run_says_the_same_again(tmp_path):
    data = dataset()
    knobs = recipe(Table(), data, steps=9, evaluate_every=4)
    first, again = (fit(knobs, data, tmp_path) for _ in range(2))
    assert (again.step, again.best_step) == (first.step, first.best_step)
    assert_equal(again.state, first.state)
    assert again.metrics["test/nats"] == first.metrics["test/nats"]
    assert np.isfinite(first.metrics["test/nats"])
