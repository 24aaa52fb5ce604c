"""The table of models: every row is put through every test of this folder that its capabilities ask for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.conditions import Classes
from jaxgen.core.model import Model
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.models.pixel.pixelsnail import PixelSNAIL

ROWS: dict[str, Model] = {
    "pixelcnn": PixelCNN(shape=(5, 5, 1), levels=2, layers=2, features=6, head=6),
    "pixelcnn-rgb": PixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head=8, marks=True, dropout=0.2),
    "rowlstm": RowLSTM(shape=(5, 5, 1), levels=2, layers=2, features=6, head=6),
    "rowlstm-rgb": RowLSTM(shape=(4, 5, 3), levels=4, layers=1, features=7, head=8),
    "diagonal": DiagonalBiLSTM(shape=(5, 5, 1), levels=2, layers=2, features=6, head=6, dropout=0.2),
    "diagonal-rgb": DiagonalBiLSTM(shape=(4, 5, 3), levels=4, layers=1, features=7, head=8),
    "multiscale": MultiScale(
        shape=(5, 5, 1),
        levels=2,
        small=PixelCNN(shape=(3, 3, 1), levels=2, layers=1, features=6, head=6),
        large=DiagonalBiLSTM(shape=(5, 5, 1), levels=2, layers=1, features=6, head=6, dropout=0.2),
        up=6,
    ),
    "multiscale-rgb": MultiScale(
        shape=(4, 5, 3),
        levels=4,
        small=RowLSTM(shape=(2, 3, 3), levels=4, layers=1, features=7, head=8),
        large=PixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head=8),
        up=6,
    ),
    "orders": OrderEnsemble(
        shape=(5, 5, 1),
        levels=2,
        model=DiagonalBiLSTM(shape=(5, 5, 1), levels=2, layers=1, features=6, head=6),
        orders=("right-down", "down-left", "left-up"),
        shared=True,
    ),
    "orders-rgb": OrderEnsemble(
        shape=(4, 5, 3),
        levels=4,
        model=PixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head=8),
        orders=("right-down", "up-left"),
    ),
    "gated": GatedPixelCNN(shape=(5, 5, 1), levels=2, layers=2, features=6, head=6),
    "gated-rgb": GatedPixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head=8, marks=True, dropout=0.2),
    "gated-classes": GatedPixelCNN(
        shape=(5, 5, 1), levels=2, layers=1, features=6, head=6, kernel=5, condition=Classes(10, dropout=0.2)
    ),
    "pixelsnail": PixelSNAIL(shape=(5, 5, 1), levels=2, blocks=2, layers=1, features=6, key_size=3),
    "pixelsnail-rgb": PixelSNAIL(
        shape=(4, 5, 3), levels=4, blocks=1, layers=2, features=6, key_size=3, components=2, dropout=0.2
    ),
    "pixelcnnpp": PixelCNNPlusPlus(shape=(5, 5, 1), levels=2, layers=1, features=4, resolutions=2, components=2),
    "pixelcnnpp-rgb": PixelCNNPlusPlus(
        shape=(4, 5, 3),
        levels=4,
        layers=1,
        features=4,
        resolutions=2,
        components=2,
        dropout=0.2,
        condition=Classes(10, dropout=0.2),
    ),
    "vae": VAE(shape=(5, 4, 1), levels=2, latent=3, hidden=(12, 8)),
    "vae-rgb": VAE(shape=(4, 4, 3), levels=4, latent=3, hidden=(12,)),
    "dcgan": DCGAN(shape=(16, 16, 1), levels=4, latent=6, features=4),
}
BATCH, KEY, OTHER = 8, jax.random.key(11), jax.random.key(12)
ONE = replicated(make_mesh(jax.devices()[:1]))


ONE_EACH = tuple({type(model): name for name, model in ROWS.items()}.values())
"""A row of each model, the last: for proofs that a second one would only repeat."""


def rows(capability=Model, names=tuple(ROWS)):
    """Runs a test once for each row that has the capability."""
    return pytest.mark.parametrize("name", [name for name in names if isinstance(ROWS[name], capability)])


def batch_of(model, num=BATCH, seed=0):
    draw = np.random.default_rng(seed)
    image = draw.integers(0, model.levels, (num, *model.shape)).astype(np.uint8)
    return {"image": jnp.asarray(image), "label": jnp.asarray(draw.integers(0, 10, num), jnp.int32)}


@functools.cache
def variables_of(model):
    return compiled(model, "init")(KEY, batch_of(model))


def shaken(model, seed):
    """Variables that are random all over. By NumPy: a program that draws for every leaf is long to compile."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda a: np.asarray(a) + 0.3 * draw.standard_normal(a.shape, np.float32), variables_of(model))


@functools.cache
def compiled(model, method, *static):
    """`model.method(variables, *arrays, *static)`, compiled once for all tests of a row."""
    call = getattr(model, method)
    return jax.jit(lambda *arrays: call(*arrays, *static))
