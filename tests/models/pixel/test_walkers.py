"""The cached sampler computes what full passes compute: the same keys give the same pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import compiled, random_variables

from jaxgen.models.pixel import walker
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.models.pixel.pixelsnail import PixelSNAIL
from jaxgen.models.pixel.walker import draw_image
from jaxgen.verification.full_passes import complete_by_full_passes

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
    model = kind[0](shape=shape, levels=levels, layers=3, features=7, head_features=8, **kind[1], **options)
    return model, random_variables(model)


@pytest.mark.parametrize(("shape", "levels", "marks"), [((5, 4, 3), 5, True)])
def test_same_keys_give_the_same_pixels_in_float64(kind, shape, levels, marks):
    with jax.enable_x64(True):
        model, variables = make(kind, shape, levels, marks=marks, dtype="float64")
        rng = np.random.default_rng(0)
        image, given = rng.integers(0, levels, (16, *shape), np.uint8), rng.random(shape[:2]) < 0.3
        key = jax.random.key(5)
        assert jax.eval_shape(model.logits, variables, jnp.zeros((1, *shape))).dtype == jnp.float64
        cached = jax.jit(model.complete)(variables, key, image, given)
        plain = jax.jit(functools.partial(complete_by_full_passes, model))(variables, key, image, given)
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
    actual = np.stack([seen[i] for i in range(int(np.prod(shape)))], axis=1)
    wanted = jax.jit(model.net.apply)(variables, jnp.asarray(image, jnp.float32) / (levels - 1))
    np.testing.assert_allclose(actual, np.asarray(wanted).reshape(actual.shape), atol=1e-4)


def test_noise_is_the_same_made_at_once_or_row_by_row(monkeypatch):
    model, variables = make(MODELS["rowlstm"], (5, 4, 3), 3)
    at_once = jax.jit(lambda v: model.sample(v, jax.random.key(2), 8))(variables)
    monkeypatch.setattr(walker, "MOST_NOISE", 0)
    np.testing.assert_array_equal(jax.jit(lambda v: model.sample(v, jax.random.key(2), 8))(variables), at_once)


def check_ties(model, variables, key, one, other):
    """Where images drawn with the same keys part, the two values were as likely, noise included, to what logits are
    compared to: 1e-4 each. What comes after is another image's."""
    flat = [np.asarray(images).reshape(len(one), -1) for images in (one, other)]
    for image in np.flatnonzero((flat[0] != flat[1]).any(axis=1)):
        first = np.flatnonzero(flat[0][image] != flat[1][image])[0]
        noise = model._start(key, one, np.zeros(model.shape[:2], bool), 1.0)[2](first)[image]
        log_pmf = compiled(model, "log_pmf")(variables, one)[image].reshape(-1, model.levels)[first]
        drawn = [float((log_pmf + noise)[values[image, first]]) for values in flat]
        assert max(drawn) - min(drawn) < 2e-4, f"image {image}, sub-pixel {first}: {drawn} is no tie"


ALL = [
    PixelCNN(shape=(6, 7, 1), levels=2, layers=1, features=7, head_features=8),
    RowLSTM(shape=(5, 4, 3), levels=5, layers=1, features=7, head_features=8),
    DiagonalBiLSTM(shape=(6, 7, 1), levels=5, layers=1, features=7, head_features=8),
    GatedPixelCNN(shape=(6, 7, 1), levels=5, layers=1, features=8, kernel=3),
    PixelCNNPlusPlus(shape=(4, 4, 1), levels=5, layers=1, features=4, resolutions=1),
    PixelSNAIL(shape=(5, 4, 1), levels=5, blocks=1, layers=1, features=8),
]


def drawn_in_float32(model, key):
    """Random variables, and images by the sampler and by full passes, with the same keys."""
    variables, blank = random_variables(model), np.zeros((32, *model.shape), np.uint8)
    routes = (compiled(model, "complete"), jax.jit(functools.partial(complete_by_full_passes, model)))
    return variables, *(np.array(route(variables, key, blank, blank[0, ..., 0] > 0)) for route in routes)


@pytest.mark.parametrize("model", ALL, ids=lambda model: type(model).__name__)
def test_in_float32_images_part_at_ties_only(model):
    """The same keys give the same pixels along whole images, unless two values tie to rounding."""
    key = jax.random.key(7)
    variables, cached, plain = drawn_in_float32(model, key)
    assert len(np.unique(plain, axis=0)) > 16
    check_ties(model, variables, key, cached, plain)


def test_another_value_than_the_draws_is_no_tie():
    model, key = ALL[0], jax.random.key(7)
    variables, cached, plain = drawn_in_float32(model, key)
    plain[3, 2, 1] = 1 - plain[3, 2, 1]
    with pytest.raises(AssertionError, match=r"image 3, sub-pixel 15: .* is no tie"):
        check_ties(model, variables, key, cached, plain)
