"""Checkpoints: what comes back is what was saved, on any devices; what does not fit is refused by name."""

import errno
import json
import math
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import ROOT

from jaxgen.core.errors import UsageError
from jaxgen.engine.checkpoint.checkpoints import FIGURES, Checkpoints
from jaxgen.engine.devices.mesh import make_mesh, replicated

EVERYWHERE = replicated(make_mesh())
ONE = replicated(make_mesh(jax.devices()[:1]))


def tree(value=0.0, where=EVERYWHERE):
    params = {"w": jnp.full((3, 4), float(value)), "inner": {"b": jnp.full((2,), value, jnp.bfloat16)}}
    state = {"key": jax.random.split(jax.random.key(7)), "params": params, "opt": (optax.adam(1.0).init(params), None)}
    return jax.device_put(state, where)


def raw(state):
    leaves = jax.tree.leaves(state)
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, np.float64)
        for x in leaves
    ]


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert [x.dtype for x in jax.tree.leaves(a)] == [x.dtype for x in jax.tree.leaves(b)]
    return all(np.array_equal(x, y) for x, y in zip(raw(a), raw(b)))


def test_restored_equals_saved_on_another_number_of_devices(tmp_path):
    saved = tree(1.5)
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(3, saved)
        checkpoints.wait()
        back = checkpoints.restore(tree(where=ONE))
        assert same(back, saved)
        assert back["params"]["w"].sharding == ONE


def test_saves_leave_no_threads_and_no_open_files(tmp_path):
    def held():
        files = Path("/proc/self/fd")
        return threading.active_count(), len(list(files.iterdir())) if files.exists() else 0

    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in range(12):
            checkpoints.save(step, tree(step))
            if step == 3:
                checkpoints.wait()
                before = held()
        checkpoints.wait()
        assert held() == before


@pytest.mark.parametrize(("higher", "before"), [(False, True), (True, False)])
def test_keeps_the_latest_and_the_best(tmp_path, higher, before):
    """Whether a figure is recorded before its step is saved or after."""
    sign = -1.0 if higher else 1.0
    scores = {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: 1.0}
    with Checkpoints(tmp_path / "c", keep=2, best="score", higher=higher) as checkpoints:
        for step, score in scores.items():
            figures = {"score": sign * score, "other": math.nan}
            if before:
                checkpoints.record(step, figures)
            checkpoints.save(step, tree(step))
            if not before:
                checkpoints.record(step, figures)
        checkpoints.save(6, tree(6))
        checkpoints.wait()
        assert checkpoints.steps == (2, 5, 6)
        assert (checkpoints.latest, checkpoints.best) == (6, 2)  # of equals, the earliest
        assert same(checkpoints.restore(tree(), "best"), tree(2))
    with Checkpoints(tmp_path / "c", best="score", higher=higher, write=False) as again:
        assert again.best == checkpoints.best
        assert again.recorded == (1, 2, 3, 4, 5)
    (tmp_path / "c" / FIGURES).write_text("{}x")
    with pytest.raises(UsageError, match=r"figures\.json is damaged.*Remove it to go on"):
        Checkpoints(tmp_path / "c")


def test_every_save_is_made_even_while_another_is_under_way(tmp_path):
    with Checkpoints(tmp_path / "c", keep=9) as checkpoints:
        for step in range(1, 6):
            checkpoints.save(step, tree(step))
    with Checkpoints(tmp_path / "c", write=False) as checkpoints:
        assert checkpoints.steps == (1, 2, 3, 4, 5)


def test_saved_values_are_safe_from_donation(tmp_path):
    more = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0, out_shardings=EVERYWHERE)
    state = more(jax.device_put({"big": jnp.zeros((1 << 21,))}, EVERYWHERE))
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, state)
        for _ in range(20):
            state = jax.block_until_ready(more(state))
        checkpoints.wait()
        assert np.unique(checkpoints.restore(state)["big"]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: {**t, "params": {**t["params"], "w": jnp.zeros((3, 5))}}, "params/w"),
        (lambda t: {**t, "params": {**t["params"], "w": jnp.zeros((3, 4), jnp.float16)}}, "params/w"),
        (lambda t: {**t, "extra": jnp.zeros(())}, "extra"),
        (lambda t: {**t, "opt": None}, "opt/0"),
        (lambda t: {**t, "key": jax.random.split(jax.random.key(7), 3)}, "key"),
    ],
)
def test_a_leaf_that_differs_is_named(tmp_path, change, named):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, tree())
        checkpoints.wait()
        target = jax.device_put(change(tree()), EVERYWHERE)
        with pytest.raises(UsageError, match=f"'{named}.*another model"):
            checkpoints.restore(target)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="no checkpoints"):
        Checkpoints(tmp_path / "nothing", write=False)
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert (checkpoints.latest, checkpoints.best, checkpoints.steps) == (None, None, ())
        with pytest.raises(UsageError, match="no checkpoints"):
            checkpoints.restore(tree())
        checkpoints.save(1, tree())
        checkpoints.wait()
        with pytest.raises(UsageError, match=r"no checkpoint of step 9.*it has 1"):
            checkpoints.restore(tree(), 9)
        with pytest.raises(UsageError, match="no variables"):
            checkpoints.variables()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot make the folder.*file.*nothing was saved"):
        Checkpoints(tmp_path / "file" / "c")


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, tree())
        checkpoints.wait()
        usage = type("Usage", (), {"free": 10})
        monkeypatch.setattr("jaxgen.engine.checkpoint.checkpoints.shutil.disk_usage", lambda _: usage)
        with pytest.raises(UsageError, match=r"MiB needed.*Make room.*checkpoints 1 are whole") as caught:
            checkpoints.save(2, tree())
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert checkpoints.steps == (1,)


def test_a_write_that_fails_half_way_leaves_the_earlier_checkpoint(tmp_path):
    """A limit on the size of files stands in for a full disk: the write itself fails, in the background."""
    program = f"""
        import json, resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        import jax, jax.numpy as jnp
        from jaxgen.engine.checkpoint import Checkpoints
        from jaxgen.core.errors import UsageError
        try:
            with Checkpoints({str(tmp_path / "c")!r}) as checkpoints:
                checkpoints.save(1, {{"x": jnp.ones(3)}})
                checkpoints.wait()
                resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
                checkpoints.save(2, {{"x": jax.random.normal(jax.random.key(0), (1 << 20,))}})
        except UsageError as error:
            print(json.dumps(str(error)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "File too large" in json.loads(done.stdout)
    assert "checkpoints 1 are whole" in json.loads(done.stdout)
    assert "Traceback" not in done.stderr
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["1"]
