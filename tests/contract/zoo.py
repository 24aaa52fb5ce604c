"""The table of models: every row is put through every test of this folder that its capabilities ask for."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.core.conditions import Classes, Map, Text, tail
from jaxgen.core.model import ImageModel, Model
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step
from jaxgen.models.attribute_reader import AttributeReader
from jaxgen.models.classifier import ConvClassifier
from jaxgen.models.energy.meg import MEG
from jaxgen.models.flow.glow import Glow
from jaxgen.models.flow.nice import NICE
from jaxgen.models.flow.realnvp import RealNVP
from jaxgen.models.gan.base import GAN
from jaxgen.models.gan.conditional import ConditionalGAN
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.gan.inverter import Inverter
from jaxgen.models.gan.lapgan import LAPGAN
from jaxgen.models.gan.pix2pix import Pix2Pix
from jaxgen.models.gan.semisupervised import SemiSupervisedGAN
from jaxgen.models.gan.text_to_image import TextToImage
from jaxgen.models.latent.autoencoder import AutoEncoder
from jaxgen.models.latent.few_labels import FewLabels
from jaxgen.models.latent.iwae import IWAE
from jaxgen.models.latent.vae import VAE
from jaxgen.models.latent.vib import VIB
from jaxgen.models.latent.vq_prior import VQPrior
from jaxgen.models.latent.vqvae import VQVAE
from jaxgen.models.one_image.deep_image_prior import DeepImagePrior
from jaxgen.models.one_image.memoriser import Memoriser
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.models.pixel.pixelsnail import PixelSNAIL
from jaxgen.models.text.skipthought import SkipThought

ROWS: dict[str, Model] = {
    "pixelcnn": PixelCNN(shape=(5, 5, 1), levels=2, layers=2, features=6, head_features=6),
    "pixelcnn-rgb": PixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head_features=8, marks=True, dropout=0.2),
    "rowlstm": RowLSTM(shape=(5, 5, 1), levels=2, layers=2, features=6, head_features=6),
    "rowlstm-rgb": RowLSTM(shape=(4, 5, 3), levels=4, layers=1, features=7, head_features=8),
    "diagonal": DiagonalBiLSTM(shape=(5, 5, 1), levels=2, layers=2, features=6, head_features=6, dropout=0.2),
    "diagonal-rgb": DiagonalBiLSTM(shape=(4, 5, 3), levels=4, layers=1, features=7, head_features=8),
    "multiscale": MultiScale(
        shape=(5, 5, 1),
        levels=2,
        small=PixelCNN(shape=(3, 3, 1), levels=2, layers=1, features=6, head_features=6),
        large=DiagonalBiLSTM(shape=(5, 5, 1), levels=2, layers=1, features=6, head_features=6, dropout=0.2),
        map_features=6,
    ),
    "multiscale-rgb": MultiScale(
        shape=(4, 5, 3),
        levels=4,
        small=RowLSTM(shape=(2, 3, 3), levels=4, layers=1, features=7, head_features=8),
        large=PixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head_features=8),
        map_features=6,
    ),
    "orders": OrderEnsemble(
        shape=(5, 5, 1),
        levels=2,
        model=DiagonalBiLSTM(shape=(5, 5, 1), levels=2, layers=1, features=6, head_features=6),
        orders=("right-down", "down-left", "left-up"),
        shared=True,
    ),
    "orders-rgb": OrderEnsemble(
        shape=(4, 5, 3),
        levels=4,
        model=PixelCNN(shape=(4, 5, 3), levels=4, layers=1, features=7, head_features=8),
        orders=("right-down", "up-left"),
    ),
    "gated": GatedPixelCNN(shape=(5, 5, 1), levels=2, layers=2, features=6, head_features=6),
    "gated-rgb": GatedPixelCNN(
        shape=(4, 5, 3), levels=4, layers=1, features=7, head_features=8, marks=True, dropout=0.2
    ),
    "gated-classes": GatedPixelCNN(
        shape=(5, 5, 1), levels=2, layers=1, features=6, head_features=6, kernel=5, condition=Classes(10, dropout=0.2)
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
    "autoencoder": AutoEncoder(shape=(5, 4, 1), levels=4, latent=3, hidden=(8,), noise="masking"),
    "autoencoder-rgb": AutoEncoder(
        shape=(5, 4, 3),
        levels=4,
        latent=3,
        net="conv",
        hidden=(4, 6),
        reconstruction="bernoulli",
        noise="gaussian",
        perceptual=ConvClassifier(shape=(5, 4, 3), levels=4, conv=(3,), hidden=4),
    ),
    "few-labels": FewLabels(
        shape=(5, 4, 1), levels=4, encoder=AutoEncoder(shape=(5, 4, 1), levels=4, latent=3, hidden=(8,))
    ),
    "vae": VAE(shape=(5, 4, 1), levels=2, latent=3, hidden=(12, 8)),
    "vae-rgb": VAE(shape=(4, 4, 3), levels=4, latent=3, hidden=(12,)),
    "vae-classes": VAE(
        shape=(5, 4, 1),
        levels=3,
        latent=3,
        net="conv",
        hidden=(6,),
        likelihood="logistic",
        components=2,
        free_bits=0.01,
        condition=Classes(10, dropout=0.2),
    ),
    "iwae": IWAE(shape=(5, 4, 1), levels=2, latent=3, hidden=(12,), k=3),
    "vib": VIB(shape=(5, 4, 1), levels=4, latent=3, hidden=(12,), draws=3),
    "classifier": ConvClassifier(shape=(5, 4, 3), levels=4, conv=(6,), layers=2, hidden=8),
    "attributes": AttributeReader(
        shape=(5, 4, 3), levels=4, attributes=(("shape_1", 3), ("size", 2)), conv=(6,), hidden=8
    ),
    "vqvae": VQVAE(shape=(5, 4, 1), levels=2, entries=8, latent=3, features=(4,), blocks=1),
    "vq-prior": VQPrior(
        shape=(6, 6, 1),
        levels=2,
        vqvae=VQVAE(shape=(6, 6, 1), levels=2, entries=16, latent=2, features=(4,), blocks=0),
        prior=PixelCNN(shape=(3, 3, 2), levels=4, layers=1, features=6, head_features=6),
        digits=2,
    ),
    "nice": NICE(shape=(4, 4, 1), levels=3, couplings=2, layers=2, features=4),
    "realnvp": RealNVP(shape=(4, 4, 1), levels=3, scales=1, couplings=1, blocks=1, features=4),
    "glow": Glow(
        shape=(4, 4, 1),
        levels=3,
        scales=1,
        steps=1,
        features=4,
        dequantisation="variational",
        noise_features=4,
        condition=Classes(10, dropout=0.2),
    ),
    "dcgan": DCGAN(shape=(16, 16, 1), levels=4, latent=6, features=4),
    "gan": GAN(
        shape=(4, 4, 1),
        levels=4,
        net="resnet",
        latent=6,
        features=4,
        norm="layer",
        loss="least-squares",
        penalty="two-sided",
        pack=2,
        condition=Classes(10),
    ),
    "lapgan": LAPGAN(shape=(8, 4, 1), levels=4, halvings=1, latent=6, features=3),
    "inverter": Inverter(
        shape=(4, 4, 1), levels=4, generator=VAE(shape=(4, 4, 1), levels=4, latent=2, hidden=(6,)), features=(4,)
    ),
    "conditional-gan": ConditionalGAN(
        shape=(4, 4, 1), levels=4, net="dense", latent=4, features=1, condition=Classes(10)
    ),
    "semi-supervised-gan": SemiSupervisedGAN(
        shape=(5, 4, 1), levels=4, latent=4, hidden=(12, 8), generator_hidden=(12,)
    ),
    "skip-thought": SkipThought(words=7, embedding=3, features=4, decoder_features=3),
    "pix2pix": Pix2Pix(shape=(6, 7, 1), levels=4, condition=Map(2), features=2, depth=2, patch=16, critic_features=2),
    "text-to-image": TextToImage(
        shape=(8, 8, 1), levels=4, features=2, latent=4, norm="layer", embedding=3, condition=Text(11, 4, 5)
    ),
    "meg": MEG(shape=(4, 4, 1), levels=4, net="dense", latent=5, features=1, energy_steps=1, norm="none"),
    "memoriser": Memoriser(
        shape=(5, 4, 1), levels=4, images=24, latent=3, codes="learned", net="dense", features=1, loss="laplacian"
    ),
    "deep-image-prior": DeepImagePrior(shape=(5, 4, 1), levels=4, features=(3,), skips=(2,), depth=2, jitter=0.1),
}
BATCH, KEY, OTHER = 8, jax.random.key(11), jax.random.key(12)
ONE = replicated(make_mesh(jax.devices()[:1]))


ONE_EACH = tuple({type(model): name for name, model in ROWS.items()}.values())
"""A row of each model, the last: for proofs that a second one would only repeat."""


def rows(capability=Model, names=tuple(ROWS)):
    """Runs a test once for each row that has the capability."""
    return pytest.mark.parametrize("name", [name for name in names if isinstance(ROWS[name], capability)])


def batch_of(model, num=BATCH, seed=0):
    draw, model = np.random.default_rng(seed), getattr(model, "model", model)
    if isinstance(model, SkipThought):
        length = draw.integers(2, 6, (3, num, 1))
        rows = np.where(np.arange(5) < length, draw.integers(1, model.words, (3, num, 5)), 0)
        return dict(zip(("before", "words", "after"), jnp.asarray(rows, jnp.int32)))
    image = draw.integers(0, model.levels, (num, *model.shape)).astype(np.uint8)
    batch = {"image": jnp.asarray(image), "label": jnp.asarray(draw.integers(0, 10, num), jnp.int32)}
    if isinstance(model.condition, Map):
        batch["condition"] = jnp.asarray(draw.random((num, *tail(model.condition, model.shape)), np.float32))
    if isinstance(model.condition, Text):
        batch["words"] = jnp.asarray(draw.integers(1, model.condition.words, (num, model.condition.length)), jnp.int32)
    if isinstance(model, AttributeReader):
        values = [draw.integers(-1, count, num) for _, count in model.attributes]
        batch["attribute"] = jnp.asarray(np.stack(values, axis=1), jnp.int32)
    return batch | ({"number": jnp.arange(num, dtype=jnp.int32)} if isinstance(model, Memoriser) else {})


@functools.cache
def sampler_of(model, num):
    """`(variables, key) -> image`, compiled: under the conditions of a batch where the model has no example of them."""
    condition = batch_of(model, num).get("condition")
    return jax.jit(lambda variables, key: model.sample(variables, key, num, condition))


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


class Under(Model):
    """A model as the engine trains it and no more: some of its objectives, the number of their traces, ready variables.

    Without its capabilities, the engine has nothing to evaluate or to draw, and nothing else to compile.
    """

    def __init__(self, model, index=slice(None)):
        images = {"shape": model.shape, "levels": model.levels} if isinstance(model, ImageModel) else {}
        vars(self).update(**images, model=model, index=index, traces=[])

    def init(self, key, batch):
        return variables_of(self.model)

    def objectives(self):
        return tuple(dataclasses.replace(o, loss=self.counted(o.loss)) for o in self.model.objectives()[self.index])

    def counted(self, loss):
        def counting(*args):
            self.traces.append(None)
            return loss(*args)

        return counting


@functools.cache
def training(name, index):
    """One objective of a row under the engine's own step, with an optimiser that remembers the gradient."""
    model = Under(ROWS[name], slice(index, index + 1))
    optimizer = optax.chain(optax.trace(0.0), optax.adam(3e-3))
    recipe = Recipe(data=data_of(ROWS[name]), model=model, optimizer=optimizer, batch=BATCH, steps=1)
    start, step = init_state(recipe, batch_of(model)), jax.jit(make_step(recipe))
    return SimpleNamespace(model=model, start=start, step=step, owned=model.objectives()[0].trains)


def data_of(model):
    def load():
        train, valid = (
            Split({name: np.asarray(array) for name, array in b.items()})
            for b in (batch_of(model, 3 * BATCH, 1), batch_of(model, 4, 2))
        )
        return Dataset("noise", getattr(model, "levels", 0), train, valid, None, "uniform noise")

    return Source("noise", load)


def objectives(test, names=tuple(ROWS)):
    """Runs a test once for each objective of each row."""
    pairs = [(name, i) for name in names for i in range(len(ROWS[name].objectives()))]
    ids = [f"{name}-{ROWS[name].objectives()[i].name}" for name, i in pairs]
    return pytest.mark.parametrize(("name", "index"), pairs, ids=ids)(test)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, *jax.device_get((a, b)))))


def keyless(function):
    """`function` of each array of a tree; of keys, of their data."""

    def one(leaf):
        return function(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

    return functools.partial(jax.tree.map, one)


numbers = keyless(np.asarray)


def unplaced(state):
    """The same state, bound to no device, as a program takes it that was compiled for such."""
    actual = keyless(lambda leaf: jnp.asarray(np.asarray(leaf)))(state)
    return dataclasses.replace(actual, key=jax.random.wrap_key_data(actual.key))
