"""Several real processes as one run: the same numbers, any layout, and a clean end when one of them fails."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import PROCESSES, ROOT

from jaxgen.cli.main import main
from jaxgen.runs.folder import open_folder
from jaxgen.runs.lock import claimed
from jaxgen.runs.recipes.find import find

PAIR = PROCESSES / "pair.py"
HEARTBEAT = 10
SHORT = ("--steps", 40, "--evaluate-every", 20)


def free_port():
    with socket.socket() as actual:
        actual.bind(("localhost", 0))
        return actual.getsockname()[1]


def environment(devices):
    return {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}


def start(*words, devices=2):
    command = [sys.executable, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment(devices), **pipes)


def finish(*started, timeout=300):
    actual = [process.communicate(timeout=timeout) for process in started]
    return [process.returncode for process in started], actual


def figures(actual):
    return {name: value for name, value in actual.items() if name != "images"}


def layout(folder, count, devices, steps, models, asked=0):
    """Runs of `models` in `folder` by `count` processes of `devices` devices each, asked to stop at their so manieth
    dispatch (0: never); what the first one wrote."""
    out, port = folder / f"{count}x{devices}-{steps}", free_port()
    words = [PAIR, folder, out, port, count, steps, asked, ",".join(models)]
    codes, said = finish(*(start(*words, number, devices=devices) for number in range(count)))
    assert codes == [0] * count, said[-1][1] + said[0][1]
    return {name: dict(np.load(f"{out}-{name}.npz")) for name in models}


def assert_close(a, b, tolerance=1e-6):
    assert a.keys() == b.keys()
    for name in a:
        bound = tolerance * max(1.0, float(np.abs(a[name].astype(np.float64)).max()))
        assert np.abs(a[name].astype(np.float64) - b[name].astype(np.float64)).max() <= bound, name


MODELS = ("pixel", "vae", "gan", "spread")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return layout(tmp_path_factory.mktemp("alone"), 1, 1, 10, MODELS)


def test_two_processes_of_two_devices_equal_one_of_one(tmp_path, alone):
    """Ten SGD steps of a pixel model, a VAE and a GAN, gradients clipped, parameters averaged; and the figures of the
    evaluation, in which the last batch is part full, and the images that are drawn at the end."""
    both = layout(tmp_path, 2, 2, 10, MODELS)
    for name in MODELS:
        assert_close(figures(alone[name]), figures(both[name]))
        ours, theirs = (actual[name]["images"].astype(int) for actual in (alone, both))
        # A GAN's pixels are rounded, so that one may fall to the next level.
        assert np.abs(ours - theirs).max() <= (1 if name == "gan" else 0)
        assert name == "gan" or len(np.unique(ours)) > 1  # after ten steps a GAN still draws gray


@pytest.mark.soak
def test_a_run_moves_between_layouts(tmp_path, alone):
    """Saved by 2×2 at step 5, taken on by 1×1 to 7, by 1×8 to 10: where the run on one device arrives."""
    moved = ("gan", "spread")
    for count, devices, asked, reached in ((2, 2, 4, 5), (1, 1, 2, 7), (1, 8, 0, 10)):
        actual = layout(tmp_path, count, devices, 10, moved, asked)
        assert {int(actual[name][".step"]) for name in moved} == {reached}
    for name in moved:
        state = [{k: v for k, v in actual[name].items() if k.startswith(".")} for actual in (alone, actual)]
        assert_close(*state)


NET = ("--layers", 1, "--features", 8, "--batch", 16, "--samples", 4)


def command(folder, number, port, *knobs):
    place = ["--coordinator", f"localhost:{port}", "--num-processes", 2, "--process-id", number]
    return start("-m", "jaxgen", "train", "digits", "--run", folder, *NET, *place, "--heartbeat", HEARTBEAT, *knobs)


def pair(folder, *knobs):
    port = free_port()
    return [command(folder, number, port, *knobs) for number in (0, 1)]


def reached(folder, step, deadline=120):
    """Wait until a run has a checkpoint of that step or a later one."""
    until = time.time() + deadline
    while time.time() < until:
        if any(int(p.name) >= step for p in (folder / "checkpoints").glob("*") if p.name.isdigit()):
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder} has not reached step {step}")


def test_the_command_line_joins_them_and_one_of_them_speaks(tmp_path, capsys):
    base = ["train", "digits", "--run", tmp_path / "base", *NET, "--steps", 1]
    assert main([str(word) for word in base]) == 0
    both = pair(tmp_path / "both", "--json", "--start", tmp_path / "base", "--lr", 0, *SHORT)
    codes, said = finish(*both)
    assert codes == [0, 0], said
    result = json.loads(said[0][0])
    assert said[1][0] == ""
    assert "in 2 processes" in said[0][1]
    record = json.loads((tmp_path / "both" / "run.json").read_text())
    assert (record["processes"], record["start"]["step"]) == (2, 1)
    # At rate 0 the parameters stay where they began; the averaged ones may differ from them by a rounding.
    began = json.loads((tmp_path / "base" / "result.json").read_text())["metrics"]["test/nats"]
    assert result["metrics"]["test/nats"] == pytest.approx(began, rel=1e-6)
    records = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()]
    valid = {r["step"]: r["nats"] for r in records if r["split"] == "valid"}
    assert list(valid) == [20, 40]
    assert [r["step"] for r in records if r["split"] == "test"] == [min(valid, key=valid.get)]
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "both"), "--json"]) == 0
    actual = json.loads(capsys.readouterr().out)
    assert actual["nats"] == pytest.approx(result["metrics"]["test/nats"], rel=1e-6)


def last(folder):
    return max((int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit()), default=0)


def test_a_signal_to_one_stops_all_and_a_death_ends_all_and_the_run_goes_on(tmp_path):
    folder, knobs = tmp_path / "run", ["--save-every", 10, "--steps", 10**6]
    for ending in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        before = last(folder)
        both = pair(folder, *knobs)
        reached(folder, before + 10)
        both[1].send_signal(ending)
        began = time.time()
        codes, said = finish(*both)
        first = said[0][1]
        if ending == signal.SIGKILL:
            assert codes[1] == -signal.SIGKILL
            assert codes[0] not in (0, None)
            assert time.time() - began < 4 * HEARTBEAT
            # The third where a sum of several arrays was under way (see `processes`): of the gradients, 576 bytes came
            # for the 4 of the scalar behind them. So ends a plain program that sums 1,152 floats and a scalar.
            assert any(words in first for words in ("task died", "closed by peer", "collective mismatch")), first
        else:
            assert codes == [143, 128 + ending], said
            assert "the same command resumes" in first
        assert ("resuming at step" in first) == (before > 0)
        assert last(folder) >= before + 10


def test_one_process_refuses_for_all(tmp_path):
    """The folder's lock belongs to another run: all say so, and none waits."""
    folder, file = tmp_path / "run", find("digits")
    knobs = {"layers": 1, "features": 8, "batch": 16, "samples": 4, "steps": 40, "evaluate_every": 20}
    open_folder(folder, file, file.settings(knobs), {})
    with claimed(folder):
        codes, said = finish(*pair(folder, *SHORT))
    assert codes == [2, 2], said
    assert "another process is training in" in said[0][1]
    assert "process 0: another process is training in" in said[1][1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coordinator", "localhost:1"], "--coordinator, --num-processes and --process-id belong together"),
        (["--coordinator", "here", "--num-processes", "2", "--process-id", "0"], "wants HOST:PORT"),
        (
            ["--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"],
            "must be 0 to 1 for 2 processes, got 2",
        ),
        (["--distributed"], "no cluster was recognised here"),
    ],
)
def test_a_call_that_cannot_join_says_why(tmp_path, words, message):
    (code,), ((_, err),) = finish(start("-m", "jaxgen", "train", "digits", "--run", tmp_path / "run", *words))
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
