"""Eight virtual devices and a shared compilation cache, set before any backend starts."""

import contextlib
import gc
import os
import signal
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The tests compile much and compute little: LLVM need not optimise, the older emitters of XLA-CPU compile in half the
# time of the newer ones, and a program in one part compiles faster than in many while pytest-xdist keeps all cores
# busy. (A flag that a version does not know ends the process.)
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + (
        " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        if version("jaxlib").startswith("0.10.")
        else ""
    ),
)

import jax
import pytest

# A suite that was started in the background ignores what a terminal sends, and so would the runs that it starts and
# stops by signals.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

jax.config.update("jax_num_cpu_devices", 8)
SOME_MAPPINGS, MANY_MAPPINGS = 15_000, 50_000

# What a test compiles is a large heap of small objects: to look through it for garbage again and again costs more than
# the garbage.
gc.set_threshold(100_000, 50, 100)


def let_go(most):
    """Each compiled program keeps some mappings, of which Linux allows a process 65,530: the compiler dies beyond."""
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > most:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True, scope="module")
def few_programs_after_a_module():
    yield
    let_go(SOME_MAPPINGS)


@pytest.fixture(autouse=True)
def few_programs():
    yield
    let_go(MANY_MAPPINGS)
