"""The mesh, and what the command line sets before a backend starts."""

import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT
from jax.sharding import AxisType

from jaxgen.core.errors import UsageError
from jaxgen.core.keys import of_examples
from jaxgen.core.model import Aux, Objective
from jaxgen.engine.devices import cpu
from jaxgen.engine.devices.cpu import cpu_devices, prepare_cpu
from jaxgen.engine.devices.mesh import check_batch, make_mesh, on_cpu, replicated, sharded
from jaxgen.engine.gradient import Layout, objective_gradient


def test_ordinary_code_runs_on_sharded_arrays():
    mesh = make_mesh()
    assert mesh.axis_names == ("data",)
    assert mesh.axis_types == (AxisType.Auto,)
    assert mesh.devices.size == 8
    assert on_cpu(mesh)
    x = jax.device_put(np.arange(32.0).reshape(16, 2), sharded(mesh))
    w = jax.device_put(np.ones((2, 3)), replicated(mesh))
    assert {s.data.shape for s in x.addressable_shards} == {(2, 2)}
    assert {s.data.shape for s in w.addressable_shards} == {(2, 3)}
    gradient = jax.jit(jax.grad(lambda w: jnp.mean((x @ w).reshape(-1)[::2] ** 2) + x[0].sum()))(w)
    np.testing.assert_allclose(gradient, jax.grad(lambda w: jnp.mean((np.asarray(x) @ w).reshape(-1)[::2] ** 2))(w))
    rows = jax.device_put(np.zeros((3, 16, 2)), sharded(mesh, 1))
    assert {s.data.shape for s in rows.addressable_shards} == {(3, 2, 2)}


@pytest.mark.parametrize("own", [True, False])
def test_devices_share_what_nets_make_of_codes_that_belong_to_examples(own):
    """A loss whose examples are mixed is shared out by the compiler, which knows how the batch is shared, but nothing
    of codes: without being told it lets each device decode all of them."""

    def loss(variables, batch, key):
        z = jax.random.normal(key, (16, 3))
        fake = (of_examples(z) if own else z) @ variables["params"]["w"]
        return (fake - fake.mean(axis=0)).std() + batch["x"].mean(), Aux({})

    objective = Objective("game", loss, trains=("w",))
    mesh = make_mesh()
    gradient = objective_gradient(objective, Layout(mesh=mesh), 1, set())
    variables = {"params": {"w": np.ones((3, 5), np.float32)}}
    batch = jax.device_put({"x": np.ones((16, 2), np.float32)}, sharded(mesh))
    text = jax.jit(gradient, out_shardings=replicated(mesh)).lower(variables, batch, jax.random.key(0)).compile()
    shapes = set(re.findall(r"= f32\[(\d+),5\]\S* dot\(", text.as_text()))
    assert ("16" in shapes) != own


@pytest.mark.parametrize(
    ("batch", "cores", "count"),
    [(16, 2, 2), (16, 1, 1), (15, 2, 1), (15, 4, 3), (64, 64, 8), (12, 8, 6), (7, 8, 7), (11, 8, 1), (4, 0, 1)],
)
def test_virtual_devices_divide_the_batch(batch, cores, count):
    assert cpu_devices(batch, cores) == count


@pytest.mark.parametrize(("batch", "near"), [(12, 16), (1, 8), (0, 8), (-8, 8), (27, 24)])
def test_a_batch_that_cannot_be_shared_is_refused(batch, near):
    with pytest.raises(UsageError, match=f"multiple of the 8 devices.*got {batch}: use batch {near},"):
        check_batch(make_mesh(), batch)


PROGRAM = """
import json, sys
import jax
{first}
if {config!r}: jax.config.update("jax_num_cpu_devices", {config!r})
from jaxgen.engine.devices.cpu import prepare_cpu
prepare_cpu(24)
c = jax.config
print(json.dumps([c.jax_num_cpu_devices, c.jax_compilation_cache_dir,
    c.jax_persistent_cache_min_compile_time_secs, c.jax_persistent_cache_min_entry_size_bytes, jax.device_count()]))
"""


def settings(tmp_path, config=0, first="", **environment):
    base = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    environment = {**base, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path), **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(config=config, first=first)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_cpu_is_prepared(tmp_path):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = cpu_devices(24, cores)
    assert settings(tmp_path) == [count, str(tmp_path / "jaxgen" / "xla"), 0.0, -1, count]


def test_a_cpu_in_use_stays_as_it_is(tmp_path):
    """A recipe may compute something while it is read."""
    assert settings(tmp_path, first="jax.numpy.zeros(3)")[1:] == [str(tmp_path / "jaxgen" / "xla"), 0.0, -1, 1]


def test_the_users_choices_are_respected(tmp_path):
    assert settings(tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=3")[-1] == 3
    chosen = {
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "mine"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "7",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "9",
    }
    assert settings(tmp_path, **chosen) == [4, str(tmp_path / "mine"), 7.0, 9, 4]
    assert settings(tmp_path, config=5)[-1] == 5


def test_importing_the_package_sets_nothing(tmp_path):
    program = "import jaxgen, jaxgen.engine.fit, jax; print(jax.config.jax_num_cpu_devices, jax.device_count())"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-1] == "1", done.stderr


@pytest.mark.parametrize(("cores", "arenas"), [(2, [8]), (8, [1])])
def test_devices_that_share_cores_have_an_arena_each(monkeypatch, cores, arenas):
    called = []
    monkeypatch.setattr(cpu, "_cores", lambda: list(range(cores)))
    monkeypatch.setattr(cpu, "_keep_large_buffers", lambda arenas: called.append(arenas))
    monkeypatch.setattr(cpu, "_cache_programs", lambda: None)
    prepare_cpu(64)
    assert called == arenas
