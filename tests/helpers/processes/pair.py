"""Runs in one of several processes: `python pair.py FOLDER OUT PORT COUNT STEPS ASKED MODELS NUMBER`.

Each model trains in its own run under FOLDER, up to STEPS, or is asked to stop at its dispatch ASKED; then the first
process writes OUT-model.npz: all of the state, the figures of the evaluation, and images drawn from it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `helpers`

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.engine.devices import processes

if __name__ == "__main__":
    folder, out, port, count, steps, asked = sys.argv[1:7]
    if int(count) > 1:
        processes.join(f"localhost:{port}", int(count), int(sys.argv[8]), heartbeat=60)

import optax

from helpers.stand_ins import dataset, jitter, recipe
from jaxgen.engine.devices.mesh import make_mesh, whole
from jaxgen.engine.fit import fit
from jaxgen.engine.reporter import Reporter
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.gated import GatedPixelCNN

SHAPE = (8, 8, 1)
KNOBS = {"optimizer": optax.sgd(0.05), "clip": 1.0, "ema": 0.9, "batch": 8, "samples": 12, "eval_batch": 8}


def model(name):
    if name == "vae":
        return VAE(shape=SHAPE, levels=5, hidden=(16,), latent=4)
    if name == "gan":
        return DCGAN(shape=SHAPE, levels=5, features=4, latent=4)
    return GatedPixelCNN(shape=SHAPE, levels=5, layers=2, features=16, kernel=3, head_features=16)


class Drawn(Reporter):
    image = None

    def sampled(self, step, image):
        self.image = image


def plain(state):
    """All leaves of a state by name, on the host."""
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x  # noqa: E731
    leaves = jax.tree_util.tree_flatten_with_path(whole(make_mesh(), state))[0]
    return {jax.tree_util.keystr(path): np.asarray(data(leaf)) for path, leaf in leaves}


def run(name, folder, steps, asked):
    data = dataset(shape=SHAPE, transform=jitter if name == "gan" else None)
    every = {"evaluate_every": 10**6, "save_every": 10**6, "parallel": "fsdp" if name == "spread" else "jit"}
    knobs = recipe(model(name), data, steps=steps, **KNOBS, **every)
    report, done = Drawn(), []

    def stop():
        done.append(1)
        return len(done) == asked

    budget = 0 if name == "gan" else None  # its data are streamed
    outcome = fit(knobs, data, Path(folder) / name, reporter=report, stop=stop, budget=budget)
    actual = plain(outcome.state) | {name: np.float64(value) for name, value in outcome.metrics.items()}
    return actual if report.image is None else actual | {"images": report.image}


if __name__ == "__main__":
    for name in sys.argv[7].split(","):
        actual = run(name, folder, int(steps), int(asked))
        if processes.first():
            np.savez(f"{out}-{name}.npz", **actual)
