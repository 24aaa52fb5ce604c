"""The multi-scale model's mathematics: one distribution over both scales, drawn and scored alike."""

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import all_images, check_frequencies, random_variables, sensitivity

from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim, to_float
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.nn.upsample import UpConv, Upsample, prime_factors
from jaxgen.verification.full_passes import complete_by_full_passes

PAIRS = [(PixelCNN, DiagonalBiLSTM), (RowLSTM, PixelCNN), (DiagonalBiLSTM, RowLSTM)]
KEY = jax.random.key(0)


def make(pair, shape, levels, scale=2, features=5, small=None, large=None, **options):
    """A model of one layer at each scale."""
    own = dict(shape=shape, levels=levels, layers=1, features=features, head_features=6)
    first, second = pair[0](**own, **(small or {})), pair[1](**own, **(large or {}))
    return MultiScale(shape=shape, levels=levels, small=first, large=second, scale=scale, map_features=4, **options)


def in_pieces(model, variables, images, piece=4096, options=None):
    log_prob = jax.jit(functools.partial(model.log_prob, key=KEY), compiler_options=options)
    return np.concatenate(
        [np.asarray(log_prob(variables, images[i : i + piece]), np.float64) for i in range(0, len(images), piece)]
    )


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
def test_the_binary_images_of_4x4_have_probability_one(pair):
    """All 2^16 of them; and where the large model's given pixels were scored again, they would not."""
    model = make(pair, (4, 4, 1), 2)
    variables, images = random_variables(model), all_images((4, 4, 1), 2)
    log_prob = in_pieces(model, variables, images)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-4)

    @jax.jit
    def twice(image):
        """Nats of the given pixels under the large model."""
        given = image[:, ::2, ::2]
        features = model.upsample.apply({"params": variables["params"]["upsample"]}, to_float(given, 2))
        large = model.fine.pixel_log_prob({"params": variables["params"]["large"]}, image, features)
        return large[:, ::2, ::2].sum(axis=(1, 2))

    again = np.concatenate([np.asarray(twice(part)) for part in images.reshape(16, -1, 4, 4, 1)])
    assert np.exp(log_prob + again).sum() < 0.9


@pytest.mark.parametrize(("shape", "levels", "scale"), [((2, 2, 3), 2, 2), ((3, 2, 1), 3, 3), ((1, 3, 1), 4, 2)])
def test_probabilities_sum_to_one_in_colour_and_at_any_scale(shape, levels, scale):
    """A side that `scale` does not divide is rounded up."""
    model = make((PixelCNN, DiagonalBiLSTM), shape, levels, scale)
    log_prob = in_pieces(model, random_variables(model), all_images(shape, levels))
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-4)


def test_the_small_image_alone_follows_the_small_model():
    """Σ p(x) over the other pixels is p_small(x_S), for each of the 16 small images of 3×3 binary ones."""
    model = make((DiagonalBiLSTM, PixelCNN), (3, 3, 1), 2)
    variables, images = random_variables(model), all_images((3, 3, 1), 2)
    small = images[:, ::2, ::2].reshape(-1, 4).astype(int) @ [8, 4, 2, 1]
    actual = np.bincount(small, weights=np.exp(in_pieces(model, variables, images)))
    wanted = in_pieces(model.coarse, {"params": variables["params"]["small"]}, all_images((2, 2, 1), 2))
    np.testing.assert_allclose(actual, np.exp(wanted), rtol=1e-4)


CASES = [
    ((PixelCNN, DiagonalBiLSTM), (9, 10, 1), 2, {}),
    ((RowLSTM, PixelCNN), (7, 8, 1), 3, {"scale": 3, "large": {"order": "up-left"}}),
    ((DiagonalBiLSTM, RowLSTM), (5, 6, 3), 3, {"small": {"order": "left-up"}}),
]


@pytest.mark.parametrize(("pair", "shape", "levels", "options"), CASES)
def test_sees_its_context_and_nothing_else(pair, shape, levels, options):
    """The Jacobian; the context is also said in so many words."""
    model = make(pair, shape, levels, **options)
    context, every = model.context(), slice(None, None, model.scale)
    small = np.zeros(shape[:2], bool)
    small[every, every] = True
    assert context[~small][:, :, small].all()
    assert not context[small][:, :, ~small].any()
    np.testing.assert_array_equal(context[~small][:, :, ~small], model.large.context()[~small][:, :, ~small])
    seen = sensitivity(model, draws=12)
    assert not (seen & ~context).any(), f"leaks at {np.argwhere(seen & ~context)[:3]}"
    assert not (context & ~seen).any(), f"uncovered: {np.argwhere(context & ~seen)[:3]}"


@pytest.mark.parametrize(("shape", "levels", "pair"), [((5, 6, 1), 2, PAIRS[0]), ((4, 5, 3), 4, PAIRS[1])])
def test_same_keys_give_the_same_pixels_in_float64(shape, levels, pair):
    with jax.enable_x64(True):
        model = make(pair, shape, levels, small={"dtype": "float64"}, large={"dtype": "float64", "order": "down-left"})
        variables = jax.tree.map(lambda a: a.astype(jnp.float64), random_variables(model))
        rng = np.random.default_rng(0)
        image, given = rng.integers(0, levels, (8, *shape), np.uint8), rng.random(shape[:2]) < 0.3
        assert jax.eval_shape(model.logits, variables, jnp.zeros((1, *shape))).dtype == jnp.float64
        cached = jax.jit(model.complete)(variables, KEY, image, given)
        plain = jax.jit(functools.partial(complete_by_full_passes, model))(variables, KEY, image, given)
        np.testing.assert_array_equal(cached, plain)
        np.testing.assert_array_equal(cached[:, given], image[:, given])


@functools.cache
def enumerated():
    """A model of 3×3 binary images, its variables, and the probability of each image."""
    model = make((RowLSTM, DiagonalBiLSTM), (3, 3, 1), 2, large={"order": "left-up"})
    variables = random_variables(model, scale=0.6)
    return model, variables, np.exp(in_pieces(model, variables, all_images((3, 3, 1), 2)))


def test_samples_follow_the_probabilities():
    model, variables, probability = enumerated()
    draws = jax.jit(model.sample, static_argnums=2)(variables, KEY, 40_000)
    check_frequencies(draws, probability, 2)


EXACT = {
    "part of the small image": [[0, 0], [0, 2]],
    "the small image": [[0, 0], [0, 2], [2, 0], [2, 2]],
    "and the first of the others": [[0, 0], [0, 2], [2, 0], [2, 2], [2, 1], [1, 2]],
}


def mask(sites):
    given = np.zeros((3, 3), bool)
    given[tuple(np.array(sites, int).reshape(-1, 2).T)] = True
    return given


@pytest.mark.parametrize("sites", EXACT.values(), ids=EXACT)
def test_completion_is_the_conditional_distribution(sites):
    model, variables, probability = enumerated()
    given, image = mask(sites), np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], np.uint8)[:, :, None]
    assert model.completes_exactly(given)
    shared = (all_images((3, 3, 1), 2)[:, given] == image[given]).all(axis=(1, 2))
    conditional = np.where(shared, probability, 0) / probability[shared].sum()
    start = np.broadcast_to(image, (20_000, 3, 3, 1))
    check_frequencies(jax.jit(model.complete)(variables, KEY, start, given), conditional, 2)


def test_which_completions_are_exact():
    """The large model reads from the lower right corner leftwards; the small one from the upper left."""
    model = enumerated()[0]
    small = EXACT["the small image"]
    assert model.completes_exactly(mask([]))
    assert model.completes_exactly(np.ones((3, 3), bool))
    assert not model.completes_exactly(mask([[2, 2]]))  # the last of the small image
    assert not model.completes_exactly(mask([[0, 0], [0, 1]]))  # another pixel, before the small image is there
    assert not model.completes_exactly(mask([*small, [0, 1]]))  # the last of the others


@pytest.mark.parametrize("channels", [1, 3])
def test_the_objectives_are_shares_of_the_negative_log_likelihood(channels):
    model = make((PixelCNN, RowLSTM), (4, 5, channels), 4)
    variables = random_variables(model)
    image = np.random.default_rng(0).integers(0, 4, (3, *model.shape), np.uint8)
    small, large = (jax.jit(o.loss)(variables, {"image": jnp.asarray(image)}, KEY) for o in model.objectives())
    nats = [float(aux.metrics["nats"]) for _, aux in (small, large)]
    assert sum(nats) == pytest.approx(-float(jax.jit(model.log_prob)(variables, image, KEY).mean()), rel=1e-5)
    for count, share, (loss, aux) in zip((6, 14), nats, (small, large)):
        assert float(loss) == pytest.approx(share / (count * channels), rel=1e-5)
        assert float(aux.metrics["bits_per_dim"]) == pytest.approx(bits_per_dim(share, (count, channels)), rel=1e-5)


def test_dropout_of_the_large_model_draws_in_training_alone():
    model = make((PixelCNN, RowLSTM), (4, 4, 1), 2, large={"dropout": 0.5})
    variables, batch = random_variables(model), {"image": jnp.ones((4, 4, 4, 1), jnp.uint8)}
    objective = model.objectives()[1]
    loss = jax.jit(objective.loss)
    one, other = (float(loss(variables, batch, jax.random.key(k))[0]) for k in (0, 1))
    assert one != other
    still = make((PixelCNN, RowLSTM), (4, 4, 1), 2)
    scores = [jax.jit(m.log_prob)(variables, batch["image"], jax.random.key(k)) for k, m in enumerate((model, still))]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_an_up_convolution_is_a_transposed_convolution(factor):
    """With stride s and the kernel of 3s×3s that has the same weights."""
    net, x = UpConv(5, factor), jax.random.normal(KEY, (2, 4, 3, 2))
    params = jax.jit(net.init)(KEY, x)["params"]
    # Pixel (i, j) gives its neighbour at (i, j) − tap, and there each of s×s pixels: so the kernel's blocks are turned.
    blocks = params["kernel"].reshape(3, 3, 2, factor, factor, 5)[::-1, ::-1]
    kernel = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(3 * factor, 3 * factor, 2, 5)[::-1, ::-1]
    wanted = jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(2 * factor - 1,) * 2] * 2,
        lhs_dilation=(factor, factor),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    assert wanted.shape == (2, 4 * factor, 3 * factor, 5)
    np.testing.assert_allclose(jax.jit(net.apply)({"params": params}, x), wanted, atol=1e-5)


def test_upsampling_has_a_transposed_convolution_for_each_prime_factor():
    assert [prime_factors(n) for n in (1, 2, 7, 12)] == [(), (2,), (7,), (2, 2, 3)]
    assert all(functools.reduce(operator.mul, prime_factors(n), 1) == n for n in range(1, 60))
    net = Upsample(4, 6)
    params = jax.jit(net.init)(KEY, jnp.zeros((1, 2, 2, 1)))["params"]
    assert [params[name]["kernel"].shape for name in ("up_0", "up_1")] == [(9, 4, 16), (9, 4, 36)]
    assert net.apply({"params": params}, jnp.zeros((2, 3, 2, 1))).shape == (2, 18, 12, 4)


def test_bad_settings_are_named():
    net = PixelCNN(shape=(4, 4, 1), levels=2, layers=1, features=4)
    whole = dict(shape=(4, 4, 1), levels=2)
    with pytest.raises(UsageError, match="scale must be at least 2, got 1"):
        MultiScale(**whole, small=net, large=net, scale=1)
    with pytest.raises(UsageError, match="more than one pixel"):
        MultiScale(shape=(1, 1, 3), levels=2, small=net, large=net)
    with pytest.raises(UsageError, match="condition of large"):
        MultiScale(**whole, small=net, large=dataclasses.replace(net, condition=Classes(3)))
    with pytest.raises(UsageError, match="colour groups"):
        MultiScale(shape=(4, 4, 3), levels=2, small=dataclasses.replace(net, features=2), large=net)
    with pytest.raises(UsageError, match="unconditional"):
        MultiScale(**whole, small=net, large=net).sample({}, KEY, 2, condition=np.zeros(2))
