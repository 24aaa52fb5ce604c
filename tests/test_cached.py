"""The cached sampler computes what full passes compute: the same keys give the same pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pixel_checks import random_variables

from jaxgen.models import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.nn import walk
from jaxgen.nn.walk import draw_image

MODELS = {
    "pixelcnn": (PixelCNN, {}),
    "rowlstm": (RowLSTM, {}),
    "diagonal": (DiagonalBiLSTM, {}),
    "diagonal-paper": (DiagonalBiLSTM, {"wiring": "paper"}),
}


@pytest.fixture(params=MODELS)
def kind(request):
    return MODELS[request.param]


def make(kind, shape, levels, **options):
    """A model of three layers with random weights everywhere."""
    model = kind[0](shape=shape, levels=levels, layers=3, features=7, head=8, **kind[1], **options)
    return model, random_variables(model)


@pytest.mark.parametrize(("shape", "levels", "marks"), [((6, 7, 1), 2, False), ((5, 4, 3), 5, True)])
def test_same_keys_give_the_same_pixels_in_float64(kind, shape, levels, marks):
    with jax.enable_x64(True):
        model, variables = make(kind, shape, levels, marks=marks, dtype="float64")
        rng = np.random.default_rng(0)
        image, given = rng.integers(0, levels, (16, *shape), np.uint8), rng.random(shape[:2]) < 0.3
        key = jax.random.key(5)
        assert jax.eval_shape(model.logits, variables, jnp.zeros((1, *shape))).dtype == jnp.float64
        cached = jax.jit(model.complete)(variables, key, image, given)
        plain = jax.jit(model.complete_by_full_passes)(variables, key, image, given)
        np.testing.assert_array_equal(cached, plain)


@pytest.mark.parametrize(("shape", "levels", "marks"), [((9, 8, 1), 2, True), ((5, 6, 3), 4, False)])
def test_logits_along_an_image_are_those_of_a_full_pass(kind, shape, levels, marks):
    """In float32, to 1e-4: the sampler is led along a given image and gives back what it saw."""
    model, variables = make(kind, shape, levels, marks=marks)
    image = np.random.default_rng(1).integers(0, levels, (3, *shape), np.uint8)
    seen = {}

    def keep(i, channel, outputs, value, old, noise):
        jax.debug.callback(lambda i, o: seen.__setitem__(int(i), np.asarray(o)), i, outputs[:, channel])
        return old

    def led(variables):
        return draw_image(model.walker(variables, shape[1], 3, None), jnp.asarray(image), keep)

    jax.block_until_ready(jax.jit(led)(variables))
    jax.effects_barrier()
    found = np.stack([seen[i] for i in range(int(np.prod(shape)))], axis=1)
    wanted = jax.jit(model.net.apply)(variables, jnp.asarray(image, jnp.float32) / (levels - 1))
    np.testing.assert_allclose(found, np.asarray(wanted).reshape(found.shape), atol=1e-4)


def test_noise_is_the_same_made_at_once_or_row_by_row(monkeypatch):
    model, variables = make(MODELS["rowlstm"], (5, 4, 3), 3)
    at_once = jax.jit(lambda v: model.sample(v, jax.random.key(2), 8))(variables)
    monkeypatch.setattr(walk, "MOST_NOISE", 0)
    np.testing.assert_array_equal(jax.jit(lambda v: model.sample(v, jax.random.key(2), 8))(variables), at_once)
