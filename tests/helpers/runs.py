"""States compared, and what a run tells, written down."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.engine.reporter import Reporter

ONE = make_mesh(jax.devices()[:1])


EIGHT = make_mesh()


def plain(state):
    """A state as named numpy arrays, keys as their data."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {
        jax.tree_util.keystr(path): np.asarray(
            jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        )
        for path, x in leaves
    }


def assert_equal(a, b):
    a, b = plain(a), plain(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def assert_close(a, b, tolerance=1e-6):
    a, b = plain(a), plain(b)
    assert a.keys() == b.keys()
    for name in a:
        bound = tolerance * max(1.0, float(np.abs(a[name].astype(np.float64)).max()))
        difference = np.abs(a[name].astype(np.float64) - b[name].astype(np.float64)).max()
        assert difference <= bound, (name, difference)


class Log(Reporter):
    def __init__(self):
        self.events = []

    def started(self, step, steps):
        self.events.append(("started", step, steps))

    def progress(self, step, metrics):
        self.events.append(("progress", step, metrics))

    def evaluated(self, step, split, metrics):
        self.events.append(("evaluated", step, split))

    def sampled(self, step, image):
        self.events.append(("sampled", step, image))

    def saved(self, step):
        self.events.append(("saved", step))

    def finished(self, outcome):
        self.events.append(("finished", outcome.step))

    def of(self, kind):
        return [e[1] for e in self.events if e[0] == kind]
