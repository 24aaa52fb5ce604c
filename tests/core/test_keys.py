"""Draws belong to examples: a batch taken by one device, shared by several or in pieces, is drawn for alike."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.stand_ins import dataset, recipe

from jaxgen.core.conditions import UNLABELLED, Classes, drop
from jaxgen.core.keys import at_places, example_keys, places
from jaxgen.engine.devices.mesh import make_mesh, replicated, sharded
from jaxgen.engine.gradient import Layout
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN
from jaxgen.models.pixel.pixelsnail import PixelSNAIL
from jaxgen.nn.dropout import Dropout

KEY = jax.random.key(3)
ONE, EIGHT = make_mesh(jax.devices()[:1]), make_mesh()
SHAPE = (4, 4, 1)


def small(kind, **more):
    return kind(shape=SHAPE, levels=2, **more)


HALF = small(PixelCNN, layers=1, features=4, dropout=0.5)
MODELS = {
    "diagonal": small(DiagonalBiLSTM, layers=2, features=4, dropout=0.5),
    "gated": small(GatedPixelCNN, layers=2, features=4, dropout=0.5, condition=Classes(3, dropout=0.5)),
    "pixelcnnpp": small(PixelCNNPlusPlus, layers=1, resolutions=1, features=8, components=2, dropout=0.5),
    "pixelsnail": small(PixelSNAIL, blocks=1, layers=1, features=8, key_size=2, components=2, dropout=0.5),
    "multiscale": MultiScale(shape=SHAPE, levels=2, small=HALF, large=HALF, map_features=4),
    "orders": OrderEnsemble(
        shape=SHAPE, levels=2, model=HALF, orders=("right-down", "up-left", "down-right"), shared=True
    ),
    "vae": small(VAE, hidden=(16,), latent=4),
}
DATA = dataset(shape=SHAPE, levels=2)
IMAGE = np.random.default_rng(0).integers(0, 2, (32, *SHAPE), np.uint8)
BATCH = {"image": IMAGE, "label": np.arange(32, dtype=np.int32) % 3}


def moved(model, start, mesh, pieces=1, draw=0):
    """Parameters after two steps of SGD by that route, and the metrics of the last."""
    knobs = recipe(model, DATA, batch=32, optimizer=optax.sgd(0.1), accumulate=pieces)
    state = jax.device_put(dataclasses.replace(start, key=jax.random.key(draw)), replicated(mesh))
    batch = jax.device_put(BATCH, sharded(mesh))
    step = jax.jit(make_step(knobs, layout=Layout(mesh=mesh)))
    state, _ = step(state, batch)
    state, metrics = step(state, batch)
    return jax.device_get((state.variables["params"], metrics))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.soak] * (n in ("pixelcnnpp", "pixelsnail", "multiscale"))) for n in MODELS],
)
def test_devices_and_pieces_draw_as_one_device_does(name):
    model = MODELS[name]
    assert all(objective.examples == "separable" for objective in model.objectives())
    start = jax.jit(lambda batch: init_state(recipe(model, DATA, batch=32, optimizer=optax.sgd(0.1)), batch))(BATCH)
    wanted, metrics = moved(model, start, ONE)
    actual, theirs = moved(model, start, EIGHT, pieces=2)
    for one, other in zip(jax.tree.leaves(wanted), jax.tree.leaves(actual), strict=True):
        assert np.abs(one - other).max() <= 1e-6 * max(1.0, np.abs(one).max())
    for metric in metrics:
        assert theirs[metric] == pytest.approx(metrics[metric], rel=1e-5)
    _, others = moved(model, start, EIGHT, pieces=2, draw=1)
    assert any(abs(others[metric] - metrics[metric]) > 1e-5 for metric in metrics)


def test_devices_that_share_a_batch_exchange_nothing_but_gradients():
    """Left to the compiler, each device ran the recurrences of the whole batch."""
    knobs = recipe(MODELS["diagonal"], DATA, batch=32)
    state = jax.eval_shape(lambda: init_state(knobs, BATCH))
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(EIGHT)), state)
    batch = {k: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharded(EIGHT)) for k, x in BATCH.items()}
    text = jax.jit(make_step(knobs, layout=Layout(mesh=EIGHT))).lower(state, batch).compile().as_text()
    assert "all-reduce" in text
    for other in ("all-gather", "all-to-all", "collective-permute"):
        assert other not in text


def test_places_nest_and_end():
    def keys(count):
        return np.asarray(jax.random.key_data(example_keys(KEY, count))).tolist()

    every = keys(24)
    assert len({tuple(key) for key in every}) == 24
    with at_places(8):
        assert keys(8) == every[8:16]
        with at_places(1, 4):
            assert keys(2) == [every[9], every[13]]
        assert keys(2) == every[8:10]
        assert places(3).tolist() == [8, 9, 10]
    assert keys(3) == every[:3]


def test_dropout_keeps_the_expectation_and_rests_outside_of_training():
    x = jnp.ones((64, 5, 7))
    dropped = Dropout(0.3, False).apply({}, x, rngs={"dropout": KEY})
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.7)}
    assert abs(float((dropped == 0).mean()) - 0.3) < 5 * np.sqrt(0.3 * 0.7 / x.size)
    assert len(np.unique(np.asarray(dropped).reshape(64, -1), axis=0)) == 64, "each example draws by itself"
    for still in (Dropout(0.3, True), Dropout(0.0, False)):
        np.testing.assert_array_equal(still.apply({}, x), x)


def test_labels_are_dropped_example_by_example():
    label, kind = jnp.arange(200) % 3, Classes(3, dropout=0.4)
    whole = drop(kind, label, KEY)
    with at_places(100):
        np.testing.assert_array_equal(drop(kind, label[100:], KEY), whole[100:])
    assert 0.2 < float((whole == UNLABELLED).mean()) < 0.6
