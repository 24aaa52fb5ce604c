"""Tiny recipes on scikit-learn's digits, as files, for the tests of run folders and of the command line."""

from pathlib import Path

import jax
import numpy as np

from jaxgen.cli.main import main
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.runs import recipes
from jaxgen.runs.folder import open_folder

HEAD = '''"""{title} on digits. 0000.00000: 9 bits/dim. Ours: none."""
import optax
from jaxgen import Recipe
from jaxgen.data import requantised, source
from jaxgen.models import {model}
import shared_by_tests


def recipe(
    data: str = "digits",  # where from
    width: int = 4,
    steps: int = 4,
    lr: float = 1e-2,
    batch: int = 8,
    ema: float = 0.5,
    chunk: int = 1,
    size: int = 8,
    every: int = 2,
    levels: int = 17,
) -> Recipe:
    shared_by_tests.called()
    return Recipe(
        data=requantised(source(data), levels) if data.endswith(".npz") else source(data),
        model={made},
        optimizer=optax.adam(lr),
        batch=batch,
        steps=steps,
        ema=ema,
        chunk=chunk,
        evaluate_every=every,
        save_every=every,
        samples=8,
    )


SMOKE = dict(steps=1)
EXPECTED = {{"test/bits_per_dim": (0.0, 100.0)}}
'''
PIXEL = "PixelCNN(shape=(size, size, 1), levels=levels, layers=1, features=width, head_features=4)"
GAN = "DCGAN(shape=(size, size, 1), levels=levels, latent=4, features=width)"


def write(folder: Path) -> None:
    """`experiments/tiny.py` (a pixel model), `experiments/gan.py` and the module that both import."""
    home = folder / "experiments"
    home.mkdir(parents=True)
    (home / "tiny.py").write_text(HEAD.format(title="Tiny PixelCNN", model="PixelCNN", made=PIXEL))
    (home / "gan.py").write_text(HEAD.format(title="Tiny DCGAN", model="DCGAN", made=GAN))
    (home / "shared_by_tests.py").write_text("def called():\n    pass\n")


def train(folder, *names):
    """Write the recipes and train those of these names, each in a run of its name: the folder."""
    write(folder)
    for name in names:
        assert main(["train", str(folder / "experiments" / f"{name}.py"), "--run", str(folder / name)]) == 0
    return folder


def untrained(folder, *names):
    """A run for each recipe of these names, with strong random weights: nothing is trained."""
    for name in names:
        file = recipes.load_file(folder / "experiments" / f"{name}.py")
        open_folder(folder / name, file, file.settings({}), {})
        model = recipes.build(file, file.settings({})).model
        variables = jax.jit(model.init)(jax.random.key(0), {"image": np.zeros((8, 8, 8, 1), np.uint8)})
        draw = np.random.default_rng(0)
        noisy = jax.tree.map(lambda a: a + 0.3 * draw.standard_normal(a.shape, np.float32), variables)  # noqa: B023
        with Checkpoints(folder / name / "checkpoints") as checkpoints:
            checkpoints.save(1, {"variables": noisy})
    return folder
