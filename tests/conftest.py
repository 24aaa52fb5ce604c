"""Eight virtual devices and a shared compilation cache, set before any backend starts."""

import gc
import os
from pathlib import Path

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The tests compile much and compute little: LLVM need not optimise (half the time of the suite).
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
MANY_MAPPINGS = 30_000


@pytest.fixture(autouse=True)
def few_programs():
    """Each compiled program keeps some mappings, of which Linux allows a process 65,530: the compiler dies beyond."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPPINGS:
        jax.clear_caches()
        gc.collect()
