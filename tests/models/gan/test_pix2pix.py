"""pix2pix: the losses of the paper, patches of the size that they are called by, a U-Net of any sides, dropout as the
only noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.conditions import Classes, Map
from jaxgen.core.errors import UsageError
from jaxgen.models.gan.pix2pix import PATCHES, PatchCritic, Pix2Pix, least_side, like_image
from jaxgen.nn.unet import InstanceNorm, UNet, most_halvings

KEY = jax.random.key(7)
RNG = np.random.default_rng(1)
KNOBS = dict(features=2, depth=2, patch=16, critic_features=2)
MODEL = Pix2Pix(shape=(8, 7, 1), levels=256, condition=Map(2), **KNOBS)
BATCH = {
    "image": jnp.asarray(RNG.integers(0, 256, (4, 8, 7, 1)), jnp.uint8),
    "condition": jnp.asarray(RNG.random((4, 8, 7, 2)), jnp.float32),
}


def drawn_like(shapes):
    """Random numbers of these shapes, by NumPy: an initialisation is long to compile."""
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * RNG.standard_normal(leaf.shape, np.float32)), shapes)


@pytest.fixture(scope="module")
def variables():
    return drawn_like(jax.eval_shape(MODEL.init, KEY, BATCH))


@pytest.mark.parametrize("patch", [16, 70])
def test_a_score_sees_a_patch_of_the_size_that_it_is_called_by(patch):
    """The gradient of a score in the middle reaches a square of that side, and of neighbours squares that lie as far
    apart as the strides say."""
    critic = PatchCritic(patch, 1, norm="none")
    side = 2 * patch + 16
    image, told = jnp.asarray(RNG.normal(size=(1, side, side, 1)), jnp.float32), jnp.zeros((1, side, side, 1))
    variables = jax.tree.map(jnp.ones_like, jax.eval_shape(critic.init, KEY, told, image))
    per_side = round(len(critic.apply(variables, told, image)[0]) ** 0.5)
    middle = (per_side // 2) * per_side + per_side // 2
    reach = jax.jit(jax.vmap(jax.grad(lambda x, i: critic.apply(variables, told, x)[0, i]), (None, 0)))
    seen = np.asarray(reach(image, jnp.array([middle, middle + 1])))[:, 0, :, :, 0] != 0
    spans = [(np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))) for one in seen]
    for rows, columns in spans:
        assert rows.tolist() == list(range(rows[0], rows[0] + patch))
        assert columns.tolist() == list(range(columns[0], columns[0] + patch))
    assert spans[1][1][0] - spans[0][1][0] == 2 ** PATCHES[patch]


@pytest.mark.parametrize("patch", PATCHES)
def test_the_smallest_side_leaves_a_score_and_no_smaller_one_does(patch):
    def scores(side):
        image = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
        return jax.eval_shape(PatchCritic(patch, 1).init_with_output, KEY, image, image)[0].shape[1]

    side = least_side(patch)
    assert scores(side) == (1 if PATCHES[patch] else 4)
    Pix2Pix(shape=(side, side, 1), levels=2, condition=Map(1), depth=1, patch=patch)
    with (
        pytest.raises(UsageError, match=rf"patch={patch} wants sides of at least {side} pixels")
        if side > 6
        else (pytest.raises(UsageError, match="Pix2Pix: "))
    ):
        Pix2Pix(shape=(side - 1, side, 1), levels=2, condition=Map(1), depth=1, patch=patch)


def test_losses_are_those_of_the_paper(variables):
    """Written out from the scores of patches: binary cross-entropy halved, and 100 times L1 in −1 … 1."""
    squares = dataclasses.replace(MODEL, loss="least-squares", l1_weight=0.0)

    @jax.jit
    def parts(variables):
        drawn, real = MODEL.drawn(variables, BATCH["condition"], KEY), 2.0 * BATCH["image"] / 255.0 - 1.0
        scores = [MODEL.patch_scores(variables, BATCH["condition"], x) for x in (real, drawn)]
        objectives = (*MODEL.objectives(), *squares.objectives())
        return *scores, real - drawn, [objective.loss(variables, BATCH, KEY)[0] for objective in objectives]

    of_real, of_drawn, difference, losses = jax.device_get(parts(variables))
    chance = 1 / (1 + np.exp(-of_drawn))
    told = -np.log(1 - chance).mean() - np.log(1 / (1 + np.exp(-of_real))).mean()
    wanted = [0.5 * told, -np.log(chance).mean() + 100 * np.abs(difference).mean()]
    wanted += [0.5 * ((of_real - 1) ** 2 + of_drawn**2).mean(), ((of_drawn - 1) ** 2).mean()]
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)


def test_dropout_is_the_noise_and_all_of_it(variables):
    """And without it an image is drawn of its own input alone, whatever stands beside it in the batch."""
    draw = jax.jit(lambda key: MODEL.sample(variables, key, 4, BATCH["condition"]))
    assert (draw(KEY) != draw(jax.random.key(8))).any()
    still = jax.jit(lambda key, told: dataclasses.replace(MODEL, dropout=0.0).sample(variables, key, 4, told))
    images = still(KEY, BATCH["condition"])
    np.testing.assert_array_equal(still(jax.random.key(8), BATCH["condition"]), images)
    np.testing.assert_array_equal(still(KEY, BATCH["condition"][::-1])[::-1], images)


def test_scores_of_patches_belong_to_their_images(variables):
    score = jax.jit(lambda image, told: MODEL.patch_scores(variables, told, image / 127.5 - 1.0))
    scores = score(BATCH["image"], BATCH["condition"])
    swapped = score(BATCH["image"][::-1], BATCH["condition"][::-1])[::-1]
    np.testing.assert_allclose(swapped, scores, atol=1e-5)
    assert (score(BATCH["image"], BATCH["condition"][::-1]) != scores).all()  # it is told the input too


def test_figures_are_of_the_pair_and_what_is_shown_is_input_drawn_and_true(variables):
    @jax.jit
    def views(variables):
        sample = MODEL.sample(variables, KEY, 4, BATCH["condition"])
        return sample, MODEL.scores(variables, BATCH, KEY), MODEL.shows(variables, BATCH, KEY)["translations"]

    drawn, figures, shown = jax.device_get(views(variables))
    drawn = drawn.astype(np.float64)
    np.testing.assert_allclose(figures["l1"], np.abs(drawn - BATCH["image"]).mean((1, 2, 3)) / 255, rtol=1e-5)
    told, middle, true = np.split(np.asarray(shown), 3, axis=2)
    np.testing.assert_array_equal(told, np.round(255 * np.asarray(BATCH["condition"])[..., :1]))
    np.testing.assert_array_equal(middle, drawn)
    np.testing.assert_array_equal(true, BATCH["image"])
    wide = like_image(BATCH["condition"], 3)
    np.testing.assert_allclose(wide, np.asarray(BATCH["condition"]).mean(-1, keepdims=True).repeat(3, -1), rtol=1e-6)


def test_a_unet_keeps_sides_and_passes_fine_detail_by_the_first_map():
    """With the way through the inner maps cut, which is there on its own, a pixel still has its neighbourhood of the
    input: by the first map, laid beside the last."""
    net = UNet(channels=1, features=2, depth=3, dropout=0.0)
    x = jnp.asarray(RNG.normal(size=(1, 9, 13, 1)), jnp.float32)
    variables = drawn_like(jax.eval_shape(net.init, KEY, x))
    assert jax.eval_shape(net.apply, variables, x).shape == (1, 9, 13, 1)
    params = dict(variables["params"])
    params["up_norm_1"] = jax.tree.map(jnp.zeros_like, params["up_norm_1"])
    gradient = jax.jit(jax.grad(lambda x: net.apply({"params": params}, x)[0, 4, 6, 0]))(x)[0, :, :, 0]
    rows, columns = np.nonzero(np.asarray(gradient))
    assert 1 <= np.ptp(rows) <= 6
    assert 1 <= np.ptp(columns) <= 6
    assert rows.min() <= 4 <= rows.max()
    assert columns.min() <= 6 <= columns.max()


def test_instance_norm_gives_each_feature_of_each_image_mean_zero_and_variance_one():
    x = jnp.asarray(RNG.normal(3.0, 5.0, (2, 6, 5, 3)), jnp.float32)
    y = InstanceNorm().apply({"params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}, x)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=(1, 2)), 1.0, rtol=1e-4)


def test_settings_that_make_no_model_are_refused():
    with pytest.raises(UsageError, match="draws an image from an image: give condition=Map"):
        Pix2Pix(shape=(8, 8, 1), levels=2, **KNOBS)
    with pytest.raises(UsageError, match=r"Pix2Pix cannot be conditioned on .*: it takes Map"):
        Pix2Pix(shape=(8, 8, 1), levels=2, condition=Classes(3), **KNOBS)
    for knobs, words in (
        (dict(depth=4), r"depth=4 halves .* are a pixel after 3: give depth=3"),
        (dict(patch=70), r"patch=70 wants sides of at least 24 pixels, got shape \(8, 8, 1\): give patch=16"),
        (dict(patch=50), r"patch must be one of 1, 16, 34, 70, 142, 286, got 50"),
        (dict(l1_weight=-1.0), r"l1_weight must be a number of at least 0, got -1.0"),
        (dict(dropout=1.0), r"dropout must be at least 0 and below 1, got 1.0"),
    ):
        with pytest.raises(UsageError, match=words):
            Pix2Pix(shape=(8, 8, 1), levels=2, condition=Map(1), **{**KNOBS, **knobs})
    with pytest.raises(UsageError, match="these data have none to draw from: name pairs, as in pairs:DIR,inputs=DIR"):
        MODEL.check_data({"image": np.asarray(BATCH["image"])})
    assert [most_halvings((side, 300, 1)) for side in (2, 3, 4, 5, 28, 256)] == [1, 2, 2, 3, 5, 8]
