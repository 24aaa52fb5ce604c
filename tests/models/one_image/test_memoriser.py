"""The memoriser's codes stay where they may be, its losses and figures are what their formulas say, and a net that is
wide enough keeps every image to its last level."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import digits
from jaxgen.data.memorised import changed, mean_psnr, memorised
from jaxgen.data.transforms import flipped
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step
from jaxgen.models.one_image.memoriser import Memoriser

MODEL = Memoriser(shape=(6, 6, 1), levels=5, images=12, latent=8, net="dense", features=4, norm="none")
LEARNED = dataclasses.replace(MODEL, codes="learned")
KEY = jax.random.key(0)


def batch(num=12, seed=0):
    image = np.random.default_rng(seed).integers(1, 4, (num, 6, 6, 1)).astype(np.uint8)
    return {"image": jnp.asarray(image), "number": jnp.arange(num, dtype=jnp.int32)}


def trained(model, steps, lr, rows=12):
    recipe = Recipe(data=digits(), model=model, optimizer=optax.adam(lr), batch=rows, steps=steps)
    state, step = jax.jit(lambda: init_state(recipe, batch(rows)))(), jax.jit(make_step(recipe))
    starts = state.variables
    for _ in range(steps):
        state, metrics = step(state, batch(rows))
    return starts, state.variables, metrics


def test_fixed_codes_stay_and_a_wide_net_keeps_every_image_exactly():
    before, after, metrics = trained(MODEL, 300, 1e-2)
    np.testing.assert_array_equal(before["codes"]["z"], after["codes"]["z"])
    score, decode = jax.jit(MODEL.scores), jax.jit(MODEL.decode)
    scores = score(after, batch(), KEY)
    np.testing.assert_allclose(scores["exact"], 100.0, rtol=1e-6)
    assert float(scores["psnr"].min()) > 30
    assert float(metrics["mse"]) == pytest.approx(float(scores["mse"].mean()), rel=0.5)
    np.testing.assert_array_equal(decode(after, after["codes"]["z"]), batch()["image"])
    noisy = {**batch(), "image": (batch()["image"] + 1) % 5}
    assert float(score(after, noisy, KEY)["exact"].max()) == 0


def test_learned_codes_move_with_their_own_images_and_stay_in_the_ball():
    """Adam moves each number by about its step size: by 2 here, far out of the ball of radius 1."""
    before, after, _ = trained(LEARNED, 1, 2.0, rows=5)
    old, new = before["params"]["codes"]["z"], after["params"]["codes"]["z"]
    np.testing.assert_allclose(jnp.linalg.norm(old, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(new[:5], axis=1), 1.0, rtol=1e-5)
    assert (jnp.abs(new[:5] - old[:5]).max(axis=1) > 0.1).all()
    np.testing.assert_allclose(new[5:], old[5:], rtol=1e-6)
    short = {**after, "params": {**after["params"], "codes": {"z": 0.3 * new}}}
    kept = LEARNED.objectives()[0].after(short, {}, KEY)["params"]["codes"]["z"]
    np.testing.assert_array_equal(kept, 0.3 * new)


def test_psnr_is_that_of_the_error_before_rounding():
    variables = jax.jit(LEARNED.init)(KEY, {})
    image = batch()["image"]
    y = np.asarray(jax.jit(LEARNED.intensity)(variables, variables["params"]["codes"]["z"]), np.float64)
    mse = ((y - np.asarray(image) / 4) ** 2).mean(axis=(1, 2, 3))
    scores = jax.jit(LEARNED.scores)(variables, batch(), KEY)
    np.testing.assert_allclose(scores["mse"], mse, rtol=1e-4)
    np.testing.assert_allclose(scores["psnr"], 10 * np.log10(1 / mse), rtol=1e-4)


def test_samples_lie_between_two_kept_codes():
    """On the great circle of two unit codes, whatever the pair: a sample is the image of such a code."""

    model, codes = dataclasses.replace(MODEL, images=4), jnp.eye(8)[:4]
    z = np.asarray(jax.jit(model.codes_between, static_argnums=2)({"codes": {"z": codes}}, KEY, 200))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1.0, rtol=1e-5)
    assert ((z > 1e-6).sum(axis=1) == 2).all()  # of two different codes
    pairs = {tuple(np.flatnonzero(row > 1e-6)) for row in z}
    assert len(pairs) == 6
    angle = np.array([np.arctan2(row[row > 1e-6][1], row[row > 1e-6][0]) for row in z])
    assert np.histogram(angle, 4, (0, np.pi / 2))[0].min() > 25  # places are drawn evenly


def test_draws_of_the_prior_are_uniform_on_the_sphere():
    z = np.asarray(jax.jit(MODEL.prior, static_argnums=1)(KEY, 4000))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(z.T @ z / 4000, np.eye(8) / 8, atol=0.012)


def test_images_keep_their_numbers_and_controls_their_values():
    data = memorised(digits(), 9).load()
    source = digits().load().train.image
    assert [int((source == image).all(axis=(1, 2, 3)).argmax()) for image in data.train.image][-1] == len(source) - 1
    np.testing.assert_array_equal(data.valid["number"], np.arange(9))
    shuffled = memorised(digits(), 9, "shuffled").load().train.image
    place = {tuple(row): i for i, row in enumerate(data.train.image.reshape(9, -1).T)}
    np.testing.assert_array_equal(np.sort(shuffled.reshape(9, -1)), np.sort(data.train.image.reshape(9, -1)))
    assert {tuple(row) for row in shuffled.reshape(9, -1).T} == set(place)  # columns, one order for all images
    noise = changed(np.full((50, 8, 8, 1), 8, np.uint8), 17, "noise")
    assert (noise == 8).all()  # without spread
    noise = changed(np.tile(np.array([6, 10], np.uint8), 1600).reshape(50, 8, 8, 1), 17, "noise").astype(float)
    assert (noise.mean(), noise.std()) == (pytest.approx(8, abs=0.2), pytest.approx(2, abs=0.2))


def test_the_mean_image_is_the_floor():
    image = np.array([0, 2], np.uint8).reshape(2, 1, 1, 1)
    assert mean_psnr(image, 3) == pytest.approx(10 * np.log10(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 1}, "images must be at least 2, got 1: between one image and itself lies nothing"),
        ({"net": "resnet"}, "divisible by 4, as it doubles maps, got 6×6"),
    ],
)
def test_settings_that_make_no_memory_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(MODEL, **settings)


def test_data_without_these_numbers_are_refused():
    with pytest.raises(UsageError, match="which these data lack: give `memorised"):
        MODEL.check_data({"image": np.zeros((2, 6, 6, 1), np.uint8)})
    with pytest.raises(UsageError, match="keeps images 0 to 11, and these 2 have numbers 3 to 12"):
        MODEL.check_scored({"image": np.zeros((2, 6, 6, 1), np.uint8), "number": np.array([3, 12])})
    for source, num, content, message in (
        (digits(), 1, "images", "from 2 to all 1294 training images of digits, got 1"),
        (flipped(digits()), 2, "images", "under a transform"),
        (digits(), 2, "shufled", "Did you mean 'shuffled'"),
    ):
        with pytest.raises(UsageError, match=message):
            memorised(source, num, content).load()
