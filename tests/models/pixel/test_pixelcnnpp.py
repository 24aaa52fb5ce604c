"""PixelCNN++: its initialisation, who sees whom, likelihood, and its incremental form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import all_images, check_frequencies, compiled, condition_for, random_variables, sensitivity

from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.orders import to_raster
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelcnnpp_net import reach
from jaxgen.models.pixel.walker import draw_image
from jaxgen.nn.weight_norm import WeightNormConv
from jaxgen.verification.full_passes import complete_by_full_passes

KEY = jax.random.key(0)


def make(shape, levels, layers=1, features=4, resolutions=2, **options):
    return PixelCNNPlusPlus(
        shape=shape, levels=levels, layers=layers, features=features, resolutions=resolutions, components=3, **options
    )


def images_for(model, num, seed=0):
    return np.random.default_rng(seed).integers(0, model.levels, (num, *model.shape), np.uint8)


# Initialisation of the model


@functools.cache
def initialised(model):
    return jax.jit(model.init)


def test_every_map_is_standardised_on_the_batch():
    """In the model, as it is initialised on a batch and seen by it: mean 0 and deviation 1, or .1 before a gate."""
    model = make((8, 8, 3), 256, features=5, resolutions=3)
    batch = {"image": jnp.asarray(images_for(model, 6))}
    variables = initialised(model)(KEY, batch)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))

    def kept(module, method):
        return isinstance(module, WeightNormConv) and method == "__call__"

    @jax.jit
    def run(variables, x):
        return model.net.apply(variables, x, capture_intermediates=kept, mutable=["intermediates"])[1]

    maps = jax.tree_util.tree_leaves_with_path(run(variables, to_float(batch["image"], 256)))
    # Three at first and one at last; in each stream two down, two up, and two in each of 3 + 3 + 2 layers; a short-cut
    # in each layer of the stream left, and in each of the other's 2 + 2 + 1 on the way back.
    assert len(maps) == 3 + 1 + 2 * (2 + 2 + 2 * 8) + 8 + 5
    for path, y in maps:
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(y.std((0, 1, 2)), 0.1 if "second" in name else 1, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("fill", [0, 255, None], ids=["black", "white", "one image"])
def test_a_batch_without_variety_starts_a_finite_model(fill):
    """And one that scores other images within reason: no map was scaled up to make something of rounding errors."""
    model = make((4, 4, 1), 256, resolutions=3)
    one = images_for(model, 1)
    same = np.repeat(one, 5, axis=0) if fill is None else np.full((5, *model.shape), fill, np.uint8)
    variables = initialised(model)(KEY, {"image": jnp.asarray(same)})
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    nats = -compiled(model, "log_prob")(variables, jnp.asarray(images_for(model, 20, seed=1)), KEY)
    assert jnp.isfinite(nats).all()
    assert float(nats.mean()) < 1000 * 16 * np.log(256)


def test_init_is_of_its_key_and_its_images():
    model = make((4, 5, 1), 4)
    image = jnp.asarray(images_for(model, 6))
    a, b, other_key, other_images = (
        jax.tree.leaves(initialised(model)(key, {"image": i}))
        for key, i in ((KEY, image), (KEY, image), (jax.random.key(1), image), (KEY, 3 - image))
    )
    assert all((x == y).all() for x, y in zip(a, b))
    assert not all((x == y).all() for x, y in zip(a, other_key))
    assert not all((x == y).all() for x, y in zip(a, other_images))


# Context


@pytest.mark.parametrize(
    ("shape", "layers", "resolutions", "condition"),
    [
        ((10, 11, 1), 1, 2, Classes(3)),
        ((12, 12, 1), 1, 3, None),
        ((9, 12, 3), 1, 3, Map(2)),
    ],
)
def test_sees_its_context_and_nothing_else(shape, layers, resolutions, condition):
    """The Jacobian is zero outside the declared context, and nonzero on all of it in some network."""
    model = make(shape, 3, layers, 5, resolutions, condition=condition)
    seen = sensitivity(model, draws=4 if shape[2] == 1 else 8, condition=condition_for(model, 1))
    context = model.context()
    assert not (seen & ~context).any(), f"leaks at {np.argwhere(seen & ~context)[:3]}"
    assert not (context & ~seen).any(), f"uncovered: {np.argwhere(context & ~seen)[:3]}"


@pytest.mark.parametrize(
    ("layers", "resolutions", "size"),
    [(1, 2, (6, 12)), (1, 3, (12, 12)), (2, 3, (10, 24)), (5, 3, (32, 32)), (5, 3, (28, 28)), (5, 3, (64, 20))],
)
def test_all_is_seen_but_the_hole_in_odd_rows(layers, resolutions, size):
    """The hole as `reach` describes it, in closed form: the published net for 32×32 images has it too."""
    h, w = size
    far = 4 * layers + 2
    before = np.tril(np.ones((h * w, h * w), bool), -1).reshape(h, w, h, w)
    up = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
    right = np.arange(w)[None, None, None, :] - np.arange(w)[None, :, None, None]
    hole = ((up == 0) & (right < -far)) | ((up == 1) & (right > far))
    hole &= (np.arange(h) % 2 == 1)[:, None, None, None]
    np.testing.assert_array_equal(reach(layers, resolutions, h, w), before & ~hole)
    assert (hole & before).any() == (w > far + 1)


# Likelihood and samples


@pytest.mark.parametrize(
    ("shape", "levels", "resolutions", "condition"),
    [
        ((3, 4, 1), 2, 3, None),
        ((4, 4, 1), 2, 2, None),
        ((2, 2, 3), 2, 2, Classes(3, dropout=0.5)),
        ((2, 1, 3), 3, 2, Vector(3)),
        ((2, 3, 1), 4, 1, Map(2)),
    ],
)
def test_probabilities_sum_to_one(shape, levels, resolutions, condition):
    """Over all images: up to 2^16 binary ones of 4×4, 2^12 of 2×2 in colour, 3^6 of three levels, 4^6 of four."""
    model = make(shape, levels, resolutions=resolutions, condition=condition)
    images, one = all_images(shape, levels), condition_for(model, 2)
    parts = np.array_split(images, max(1, len(images) // 4096))
    total = 0.0
    for part in parts:
        same = None if one is None else np.repeat(one[:1], len(part), 0)
        log_prob = compiled(model, "log_prob")(random_variables(model), part, KEY, same)
        total += float(np.exp(np.asarray(log_prob, np.float64)).sum())
    assert total == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize(("shape", "levels"), [((2, 2, 1), 3), ((1, 2, 3), 2)])
def test_samples_follow_the_probabilities(shape, levels):
    """χ² of 40,000 draws against the enumerated pmf: within five standard errors. In colour too: one pass, one draw
    for each channel, given those before it."""
    model = make(shape, levels)
    variables, images = random_variables(model, scale=0.6), all_images(shape, levels)
    probability = np.exp(np.asarray(compiled(model, "log_prob")(variables, images, KEY), np.float64))
    draws = np.asarray(compiled(model, "sample", 2)(variables, jax.random.key(7), 40_000))
    check_frequencies(draws, probability, levels)


def test_without_a_label_it_is_the_unconditional_model():
    """Label −1 gives each gate nothing: the log-probability is that of the same weights without condition kernels."""
    model = make((5, 6, 3), 3, condition=Classes(4, dropout=0.1))
    variables, image = random_variables(model), images_for(model, 4)
    params = {name: {k: v for k, v in part.items() if k != "condition"} for name, part in variables["params"].items()}
    wanted = compiled(dataclasses.replace(model, condition=None), "log_prob")({"params": params}, image, KEY)
    log_prob = compiled(model, "log_prob")
    np.testing.assert_allclose(log_prob(variables, image, KEY, np.full(4, -1, np.int32)), wanted, rtol=1e-5)
    np.testing.assert_allclose(log_prob(variables, image, KEY), wanted, rtol=1e-5)
    labelled = [np.asarray(log_prob(variables, image, KEY, np.full(4, k, np.int32))) for k in range(4)]
    assert all((np.abs(a - wanted) > 1e-3).all() for a in labelled)


@pytest.mark.parametrize("order", ["up-left"])
def test_another_order_is_the_raster_model_of_the_turned_image(order):
    model = make((3, 4, 3), 3, order=order, condition=Map(2))
    turned_shape = (*to_raster(np.zeros((1, 3, 4, 1)), order).shape[1:3], 3)
    raster = dataclasses.replace(model, order="right-down", shape=turned_shape)
    variables, given, image = random_variables(model), condition_for(model, 5), images_for(model, 5)
    wanted = compiled(raster, "log_prob")(variables, to_raster(image, order), KEY, to_raster(given, order))
    np.testing.assert_allclose(compiled(model, "log_prob")(variables, image, KEY, given), wanted, rtol=1e-5)


# The incremental form


@pytest.mark.parametrize(
    ("shape", "levels", "layers", "resolutions", "condition"),
    [
        ((5, 6, 3), 5, 2, 2, Classes(3, dropout=0.5)),
        ((9, 7, 1), 4, 1, 3, Map(2)),
    ],
)
def test_same_keys_give_the_same_pixels_in_float64(shape, levels, layers, resolutions, condition):
    with jax.enable_x64(True):
        model = make(shape, levels, layers, 3, resolutions, condition=condition, dtype="float64")
        variables, image, on = random_variables(model), images_for(model, 16), condition_for(model, 16)
        given = np.random.default_rng(0).random(shape[:2]) < 0.3
        cached = jax.jit(model.complete)(variables, jax.random.key(5), image, given, on)
        plain = jax.jit(functools.partial(complete_by_full_passes, model))(
            variables, jax.random.key(5), image, given, on
        )
        np.testing.assert_array_equal(cached, plain)
        np.testing.assert_array_equal(cached[:, given], image[:, given])


@pytest.mark.parametrize(
    ("shape", "levels", "layers", "resolutions", "condition"),
    [
        ((9, 10, 1), 256, 2, 3, Classes(3)),
        ((13, 11, 1), 2, 1, 4, None),
        ((1, 5, 3), 3, 1, 2, None),
        ((5, 1, 1), 3, 1, 3, Vector(2)),
    ],
)
def test_outputs_along_an_image_are_those_of_a_full_pass(shape, levels, layers, resolutions, condition):
    """In float32, to 1e-4: the walker is led along a given image and gives back what it saw."""
    model = make(shape, levels, layers, 4, resolutions, condition=condition)
    variables, image = random_variables(model, scale=0.2), jnp.asarray(images_for(model, 3))
    features = model._features(condition_for(model, 3), 3)
    seen = {}

    def keep(i, channel, outputs, value, old, noise):
        jax.debug.callback(lambda i, o: seen.__setitem__(int(i), np.asarray(o)), i, outputs)
        return old

    def walk(variables):
        return draw_image(model.walker(variables, shape[1], 3, features), image, keep)

    jax.block_until_ready(jax.jit(walk)(variables))
    jax.effects_barrier()
    actual = np.stack([seen[i] for i in range(int(np.prod(shape)))], axis=1)
    wanted = np.asarray(jax.jit(model.net.apply)(variables, to_float(image, levels), features))
    wanted = wanted.reshape(3, -1, wanted.shape[-1]).repeat(shape[2], axis=1)  # the same for all channels of a pixel
    np.testing.assert_allclose(actual, wanted, atol=1e-4)


def test_a_level_costs_only_where_it_has_its_turn():
    """Products in the sampler's program, weighted by how often they run: an image costs what one pass costs."""
    model = make((8, 8, 1), 4, layers=2, features=6, resolutions=3)
    variables = random_variables(model)
    image = jnp.zeros((1, *model.shape), jnp.uint8)
    whole = multiplications(jax.make_jaxpr(lambda v: model.log_prob(v, image, KEY))(variables).jaxpr)
    walked = multiplications(jax.make_jaxpr(lambda v: model.sample(v, KEY, 1))(variables).jaxpr)
    assert 0.8 * whole < walked < 1.2 * whole


def multiplications(jaxpr, scans=0):
    """Of products and convolutions. Branches are taken in every second row, and at every second pixel of those."""
    total = 0.0
    for eqn in jaxpr.eqns:
        params, shapes = eqn.params, [v.aval.shape for v in eqn.invars]
        size = np.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            total += size * np.prod([shapes[0][i] for i in contracted])
        elif eqn.primitive.name == "conv_general_dilated":
            outputs = shapes[1][params["dimension_numbers"].rhs_spec[0]]
            total += size * np.prod(shapes[1]) / outputs / np.prod(params["lhs_dilation"])
        elif eqn.primitive.name == "cond":
            rest, turn = (multiplications(branch.jaxpr, scans) for branch in params["branches"])
            assert rest == 0
            total += turn / 2**scans
        elif eqn.primitive.name == "scan":
            total += params["length"] * multiplications(params["jaxpr"].jaxpr, scans + 1)
        else:
            inner = [getattr(p, "jaxpr", p) for p in params.values()]
            total += sum(multiplications(p, scans) for p in inner if hasattr(p, "eqns"))
    return total


# Settings


def test_bf16_computes_in_bf16_and_scores_in_float32():
    model = make((6, 6, 1), 4, features=8, condition=Classes(3))
    variables, given, image = random_variables(model, scale=0.02), condition_for(model, 4), images_for(model, 4)
    half = dataclasses.replace(model, dtype="bfloat16")
    a, b = (compiled(m, "log_prob")(variables, image, KEY, given) for m in (model, half))
    assert b.dtype == jnp.float32
    batch = {"image": jnp.asarray(image)}
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, KEY, batch)))
    np.testing.assert_allclose(a, b, rtol=3e-2)
    assert (np.asarray(a) != np.asarray(b)).any()
    program = str(jax.make_jaxpr(half.logits)(variables, to_float(jnp.asarray(image), 4), given))
    convolutions = [line for line in program.splitlines() if "conv_general_dilated[" in line]
    assert convolutions
    assert all("bf16" in line for line in convolutions)
    assert compiled(half, "sample", 2)(variables, KEY, 4, given).shape == (4, 6, 6, 1)


def test_dropout_acts_in_training_only():
    model = make((5, 5, 1), 2, dropout=0.5)
    variables, (objective,) = random_variables(model), model.objectives()
    batch = {"image": jnp.asarray(images_for(model, 3))}
    loss = jax.jit(lambda key: objective.loss(variables, batch, key)[0])
    assert float(loss(jax.random.key(0))) != float(loss(jax.random.key(1)))
    scores = [np.asarray(compiled(model, "log_prob")(variables, batch["image"], jax.random.key(k))) for k in (0, 1)]
    np.testing.assert_array_equal(*scores)


def test_bad_settings_are_named():
    for name in ("layers", "features", "resolutions", "components"):
        with pytest.raises(UsageError, match=f"^PixelCNNPlusPlus: {name} must be at least 1, got 0"):
            PixelCNNPlusPlus(shape=(4, 4, 1), levels=2, **{name: 0})
