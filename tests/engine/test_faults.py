"""Faults of the world around a run: an exit in the middle, a full disk, a second process, each done and not mocked."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers import recipes as face_recipes
from helpers.cli import ENV, after, said, started
from helpers.damage import flipped
from helpers.runs import assert_equal
from orbax.checkpoint import v1 as ocp

from jaxgen.cli.main import main
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.runs.log import read_log

SOAK = pytest.mark.soak


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)


def state_of(folder, step=None):
    """All that a run's checkpoint holds, the last one's by default."""
    with Checkpoints(Path(folder) / "checkpoints", write=False) as checkpoints:
        step = checkpoints.latest if step is None else step
    home = Path(folder).absolute() / "checkpoints" / str(step)
    where = replicated(make_mesh())
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        ocp.checkpointables_metadata(home).metadata["state"],
    )
    return ocp.load_checkpointables(home, {"state": target})["state"]


def stopped_after(steps, capsys, *args):
    """Train `tiny` in r, interrupted after so many steps; returns what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.cli.commands.train._Interrupts.__call__", after(steps))
        code, out, err = said(capsys, "train", "tiny", "--run", "r", *args)
    assert (code, out) == (130, "")
    return err


def limited(size, *args):
    """A command in a process whose files cannot grow beyond `size` bytes, which stands in for a full disk."""
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    program += f"import sys; from jaxgen.cli.main import main; sys.exit(main({[str(arg) for arg in args]!r}))"
    # Devices as in this process, so that the runs can be compared; and no torn programs in the tests' cache.
    environment = {**ENV, "JAX_NUM_CPU_DEVICES": "8", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)


# --- exit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"),
    [pytest.param("pass", 0, marks=SOAK), pytest.param("sys.exit(3)", 3, marks=SOAK), ("raise KeyError('ours')", 1)],
)
def test_a_script_that_ends_without_closing_loses_no_save(tmp_path, end, code):
    program = f"""
        import sys
        import jax
        from jaxgen.engine.checkpoint import Checkpoints
        from jaxgen.engine.devices.mesh import make_mesh, replicated

        def save():
            big = jax.device_put(jax.random.normal(jax.random.key(0), (1 << 21,)), replicated(make_mesh()))
            Checkpoints({str(tmp_path / "c")!r}).save(1, {{"big": big}})

        save()
        {end}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == code, done.stderr
    assert ("KeyError: 'ours'" in done.stderr) == (code == 1)
    assert "RuntimeError" not in done.stderr
    target = {"big": jax.ShapeDtypeStruct((1 << 21,), "float32", sharding=replicated(make_mesh()))}
    with Checkpoints(tmp_path / "c", write=False) as checkpoints:
        actual = checkpoints.restore(target)["big"]
    np.testing.assert_array_equal(actual, jax.random.normal(jax.random.key(0), (1 << 21,)))
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["1"]


def test_a_save_that_fails_at_the_exit_is_said(tmp_path):
    program = f"""
        import resource
        import jax
        from jaxgen.engine.checkpoint import Checkpoints
        from jaxgen.engine.devices.mesh import make_mesh, replicated

        big = jax.device_put(jax.random.normal(jax.random.key(0), (1 << 20,)), replicated(make_mesh()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        Checkpoints({str(tmp_path / "c")!r}).save(1, {{"big": big}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT)
    assert "jaxgen: cannot finish the save at" in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "c").iterdir()) == []


# --- a full disk ---------------------------------------------------------------------------------------------------


KNOBS = ("--steps", "24", "--every", "12", "--width", "48")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happened to."""
    home = tmp_path_factory.mktemp("whole")
    face_recipes.write(home)
    assert main(["train", str(home / "experiments" / "tiny.py"), "--run", str(home / "r"), *KNOBS]) == 0
    return home / "r"


def logged(folder):
    """Step, split and figures of each record, without times."""
    timed = ("seconds", "steps_per_s", "images_per_s")
    return [{k: v for k, v in r.items() if k not in timed} for r in read_log(Path(folder) / "metrics.jsonl")]


def largest(folder):
    return max(p.stat().st_size for p in [Path(folder), *Path(folder).rglob("*")] if p.is_file())


@pytest.mark.parametrize(
    ("half", "limit", "writer"),
    [
        (True, lambda: largest("r/checkpoints") * 2 // 3, "checkpoint"),
        pytest.param(True, lambda: largest("r/metrics.jsonl") + 500, "report.py", marks=SOAK),
        pytest.param(False, lambda: 2500, "board.py", marks=SOAK),
    ],
    ids=["checkpoints", "metrics.jsonl", "tensorboard"],
)
def test_a_full_disk_ends_the_run_and_with_room_it_goes_on_to_the_same_end(whole, capsys, half, limit, writer):
    if half:
        stopped_after(12, capsys, *KNOBS)
    before = state_of("r") if half else None
    done = limited(limit(), "train", "tiny", "--run", "r", *KNOBS, "--debug")
    assert done.returncode in (1, 2), done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("jaxgen: ")
    assert "File too large" in last or "a file has grown to its limit" in last
    assert writer in done.stderr
    assert "Exception in thread" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if half:
        assert_equal(state_of("r", 12), before)
    assert said(capsys, "train", "tiny", "--run", "r", *KNOBS)[0] == 0
    assert_equal(state_of("r"), state_of(whole))
    assert logged("r") == logged(whole)


# --- two processes -------------------------------------------------------------------------------------------------


def test_a_second_run_in_a_folder_is_refused_until_the_first_one_dies(capsys):
    args = ("train", "tiny", "--run", "r", "--steps", "20000", "--every", "40")
    first = started(*args)
    deadline = time.monotonic() + 120
    while not any(p.name.isdigit() for p in Path("r/checkpoints").glob("*")):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.02)
    code, out, err = said(capsys, *args)
    assert (code, out) == (2, "")
    assert "another process is training in r" in err.splitlines()[-1]
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert "resuming at step" in stopped_after(2, capsys, *args[4:])


# --- damage --------------------------------------------------------------------------------------------------------


def test_commands_offer_the_checkpoint_before_a_damaged_one(capsys):
    args = ("train", "tiny", "--run", "r", "--width", "16")
    stopped_after(3, capsys, *args[4:])
    actual = Path("r/checkpoints").absolute()
    assert sorted(p.name for p in actual.iterdir() if p.is_dir()) == ["2", "3"]
    shutil.copytree("r", "whole")
    for file in (actual / "3" / "state" / "d").iterdir():
        flipped(file)
    code, out, err = said(capsys, *args)
    assert (code, out) == (2, "")
    assert f"checkpoint {actual / '3'} is damaged: " in err.splitlines()[-1]
    assert err.endswith(f"Remove {actual / '3'} to go on from step 2.\n")
    code, out, err = said(capsys, "sample", "r", "--num", "2", "--step", "last")
    assert (code, out) == (2, "")
    assert err.endswith("There is that of step 2: --step 2.\n")
    assert "Traceback" not in err
    assert said(capsys, "sample", "r", "--num", "2", "--step", "2")[0] == 0
    shutil.rmtree(actual / "3")
    assert "resuming at step 2" in said(capsys, *args)[2]
    assert said(capsys, "train", "tiny", "--run", "whole", "--width", "16")[0] == 0
    assert_equal(state_of("r"), state_of("whole"))
    one, other = (json.loads(Path(name, "result.json").read_text()) for name in ("r", "whole"))
    assert one["metrics"] == other["metrics"]
