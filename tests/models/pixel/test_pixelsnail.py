"""PixelSNAIL: who sees whom, likelihood, initialisation, and its incremental form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import all_images, check_frequencies, compiled, condition_for, kind_of

from jaxgen.core.conditions import Classes, Map
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.orders import to_raster
from jaxgen.maths.distributions import LogisticMixture, Softmax
from jaxgen.models.pixel.pixelsnail import PixelSNAIL
from jaxgen.models.pixel.pixelsnail_net import ABOVE, CORNER, LEFT, SnailBlock, over, positions
from jaxgen.models.pixel.walker import draw_image
from jaxgen.nn.shifted import down_right_shifted, down_shift, down_shifted, right_shift
from jaxgen.verification.full_passes import complete_by_full_passes

KEY = jax.random.key(0)


def cases(names, *rows):
    """A test for each row, the last of which is a condition."""
    ids = ["-".join(kind_of(a) if a is row[-1] else str(a).replace(" ", "") for a in row) for row in rows]
    return pytest.mark.parametrize(names, rows, ids=ids)


def make(shape, levels, blocks=2, layers=1, features=6, **options):
    options = {"key_size": 3, "components": 2} | options
    return PixelSNAIL(shape=shape, levels=levels, blocks=blocks, layers=layers, features=features, **options)


def random_variables(model, seed=0, scale=1.0):
    """Random weights everywhere: those of any map of norm about `scale`, so that two levels are rarely certain."""
    draw = np.random.default_rng(seed)

    def leaf(path, like):
        last = path[-1].key
        a = draw.normal(size=like.shape)
        return jnp.float32(a if last == "direction" else scale * (1 + 0.3 * a) if last == "scale" else 0.3 * scale * a)

    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(model.init, KEY, {}))


# Maps


def test_maps_over_taps_are_the_shifted_convolutions():
    """The three maps, with the same weights, by `lax` convolutions and shifts."""
    x, draw = jax.random.normal(KEY, (2, 5, 6, 3)), jax.random.normal
    for taps, conv, shift in (
        (CORNER, down_right_shifted(4), lambda y: y),
        (ABOVE, down_shifted(4, (1, 3)), down_shift),
        (LEFT, down_right_shifted(4, (2, 1)), right_shift),
    ):
        direction = draw(jax.random.key(1), (*conv.size, 3, 4))
        params = {"direction": direction, "scale": draw(jax.random.key(2), (4,)), "bias": jnp.zeros(4)}
        wanted = shift(conv.apply({"params": params}, x))
        actual = over(taps)(4).apply({"params": {**params, "direction": direction.reshape(1, -1, 3, 4)}}, x)
        np.testing.assert_allclose(actual, wanted, atol=1e-5)


# Context


def moved(model, change=lambda variables: variables):
    """bool[h,w,c,h,w,c]: whose logits moved with whom, in any of several random networks and images."""
    direction = jnp.linspace(-1.0, 2.0, model.levels)

    @jax.jit
    def jacobian(variables, x):
        return jax.jacrev(lambda x: model.logits(variables, x[None])[0] @ direction)(x)

    seen = np.zeros(model.shape + model.shape, bool)
    for seed in range(4):
        x = jax.random.uniform(jax.random.key(100 + seed), model.shape)
        seen |= np.asarray(jacobian(change(random_variables(model, seed)), x)) != 0
    return seen


@pytest.mark.parametrize(("channels", "levels"), [(1, 3), (3, 2)])
def test_sees_everything_before_and_nothing_else(channels, levels):
    """With one block already; the own pixel's earlier channels by the head."""
    model = make((9, 10, channels), levels, blocks=1)
    n = 90 * channels
    before = np.tril(np.ones((n, n), bool), -1).reshape(model.shape + model.shape)
    np.testing.assert_array_equal(model.context(), before)
    seen = moved(model)
    assert not (seen & ~before).any(), f"leaks at {np.argwhere(seen & ~before)[:3]}"
    assert not (before & ~seen).any(), f"uncovered: {np.argwhere(before & ~seen)[:3]}"


def test_without_attention_the_convolutions_see_their_own_reach_alone():
    """Attention cut off where it is merged: what is seen is the sum of the taps, with all right of it missing."""
    model = make((9, 10, 1), 2, blocks=1, layers=2)
    reach = {(0, 0)}
    for taps in [CORNER] * 4 + [ABOVE + LEFT]:
        reach = {(a + c, b + d) for a, b in reach for c, d in taps}
    wanted = np.array([[(i - r, j - c) in reach for i, j in np.ndindex(9, 10)] for r, c in np.ndindex(9, 10)]).reshape(
        model.context().shape
    )
    assert not (wanted & ~model.context()).any()
    assert (model.context() & ~wanted).sum() > wanted.sum() / 2

    def cut(variables):
        merge = variables["params"]["blocks"]["merge"]
        merge = {**merge, "shortcut": jax.tree.map(jnp.zeros_like, merge["shortcut"])}
        return {"params": {**variables["params"], "blocks": {**variables["params"]["blocks"], "merge": merge}}}

    np.testing.assert_array_equal(moved(model, cut), wanted)


# Likelihood and samples


def test_the_head_follows_levels_and_channels():
    assert make((4, 4, 1), 2).head == Softmax(2, 1)
    assert make((4, 4, 1), 3).head == LogisticMixture(3, 1, 2)
    assert make((4, 4, 3), 2, components=5).head == LogisticMixture(2, 3, 5)


@cases(
    ("shape", "levels", "condition"),
    ((3, 3, 1), 2, None),
    ((2, 1, 3), 3, Classes(4, dropout=0.5)),
)
def test_probabilities_sum_to_one(shape, levels, condition):
    """Over all 2^9 binary 3×3 images, all 2^12 binary 2×2 RGB images, all 3^6 images of three levels
    of one pixel pair in colour or six in grey."""
    model = make(shape, levels, condition=condition)
    images = all_images(shape, levels)
    one = condition_for(model, 2)
    same = None if one is None else np.repeat(one[:1], len(images), 0)
    log_prob = compiled(model, "log_prob")(random_variables(model), images, KEY, same)
    assert float(jnp.exp(log_prob).sum()) == pytest.approx(1.0, abs=2e-5)


@cases(
    ("shape", "levels", "condition"),
    ((2, 3, 1), 2, Map(2)),
    ((1, 2, 3), 2, Classes(4, dropout=0.5)),
)
def test_samples_follow_the_probabilities(shape, levels, condition):
    """χ² of 40,000 draws against the enumerated pmf: within five standard errors."""
    model = make(shape, levels, condition=condition)
    variables, images = random_variables(model), all_images(shape, levels)

    def given(num):
        one = condition_for(model, 1)
        return None if one is None else np.repeat(one, num, 0)

    probability = np.exp(
        np.asarray(compiled(model, "log_prob")(variables, images, KEY, given(len(images))), np.float64)
    )
    blank, none_given = np.zeros((40_000, *shape), np.uint8), np.zeros(shape[:2], bool)
    draws = compiled(model, "complete")(variables, jax.random.key(7), blank, none_given, given(40_000))
    assert (40_000 * probability >= 5).sum() > 10, "a flat enough distribution, please"
    check_frequencies(draws, probability, levels)


# Initialisation


def captured(module, variables, *inputs):
    run = jax.jit(functools.partial(module.apply, capture_intermediates=True))
    return run(variables, *inputs)[1]["intermediates"]


def test_init_standardises_every_map_on_its_batch():
    """Mean 0 and standard deviation 1 for each feature, over batch and positions, in every block; .1 before gates."""
    model = make((6, 7, 3), 4, order="down-left")
    image = np.random.default_rng(0).integers(0, 4, (16, *model.shape), np.uint8)
    variables = jax.jit(model.init)(KEY, {"image": image})
    params, x = variables["params"], to_raster(to_float(image, 4), "down-left")

    def check(y, deviation):
        np.testing.assert_allclose(np.asarray(y).mean(axis=(0, 1, 2)), 0, atol=1e-4 * deviation)
        np.testing.assert_allclose(np.asarray(y).std(axis=(0, 1, 2)), deviation, rtol=1e-3)

    check(jax.jit(model.net.apply)(variables, x).reshape(*x.shape[:3], -1), 1)
    pixels = model.net.pixels(x)
    above, left = (over(t)(6).apply({"params": params[n]}, pixels) for t, n in ((ABOVE, "above"), (LEFT, "left")))
    check(above, 1)
    check(left, 1)
    x, place = above + left, jnp.broadcast_to(positions(*x.shape[1:3]), (*x.shape[:3], 2))
    block = SnailBlock(1, 3, 3, 0.0, "float32", False)
    for n in range(2):
        own = {"params": jax.tree.map(lambda a, n=n: a[n], params["blocks"])}
        actual = captured(block, own, x, pixels[..., :-1], place, None)
        for name in ("layer_0", "content", "question", "merge"):
            check(actual[name]["first"]["__call__"][0], 1)
            check(actual[name]["second"]["__call__"][0], 0.1)
        check(actual["key_value"]["__call__"][0], 1)
        check(actual["query"]["__call__"][0], 1)
        check(actual["merge"]["shortcut"]["__call__"][0], 1)
        x = actual["__call__"][0][0]


# Conditions


def test_without_a_label_it_is_the_unconditional_model():
    """Label −1 gives each gate nothing: the log-probability is that of the same weights without condition kernels."""
    model = make((5, 6, 3), 3, condition=Classes(4, dropout=0.1))
    variables = random_variables(model)
    image = np.random.default_rng(0).integers(0, 3, (4, 5, 6, 3), np.uint8)
    blocks = {
        name: {k: v for k, v in part.items() if k != "condition"}
        for name, part in variables["params"]["blocks"].items()
    }
    plain = {"params": {**variables["params"], "blocks": blocks}}
    wanted = compiled(dataclasses.replace(model, condition=None), "log_prob")(plain, image, KEY)
    none, *labelled = (
        compiled(model, "log_prob")(variables, image, KEY, np.full(4, k, np.int32)) for k in (-1, 0, 1, 2, 3)
    )
    np.testing.assert_allclose(none, wanted, rtol=1e-6)
    assert all((np.abs(a - wanted) > 1e-3).all() for a in labelled)


@pytest.mark.parametrize("condition", [Classes(4, dropout=0.5), Map(2)], ids=kind_of)
def test_the_gradient_reaches_every_gate_through_the_condition(condition):
    model = make((5, 6, 1), 2, condition=condition)
    image = np.random.default_rng(0).integers(0, 2, (6, 5, 6, 1), np.uint8)
    given = condition_for(model, 6)

    def nats(variables):
        return model.log_prob(variables, image, KEY, given).mean()

    gradient = jax.jit(jax.grad(nats))(random_variables(model))["params"]["blocks"]
    known = np.unique(given[given >= 0]) if isinstance(condition, Classes) else slice(None)
    for name in ("layer_0", "content", "question", "merge"):
        assert (np.asarray(gradient[name]["condition"])[:, known] != 0).all(), name


# The incremental form


@cases(
    ("shape", "levels", "order", "condition"),
    ((5, 4, 3), 5, "left-up", Classes(4, dropout=0.5)),
    ((4, 3, 1), 3, "down-right", Map(2)),
)
def test_same_keys_give_the_same_pixels_in_float64(shape, levels, order, condition):
    with jax.enable_x64(True):
        model = make(shape, levels, condition=condition, order=order, dtype="float64")
        variables = random_variables(model)
        rng = np.random.default_rng(0)
        image, given = rng.integers(0, levels, (16, *shape), np.uint8), rng.random(shape[:2]) < 0.3
        key, on = jax.random.key(5), condition_for(model, 16)
        assert jax.eval_shape(model.logits, variables, jnp.zeros((16, *shape)), on).dtype == jnp.float64
        cached = jax.jit(model.complete)(variables, key, image, given, on)
        plain = jax.jit(functools.partial(complete_by_full_passes, model))(variables, key, image, given, on)
        np.testing.assert_array_equal(cached, plain)


@cases(
    ("shape", "levels", "condition"),
    ((9, 8, 1), 2, Map(2)),
    ((5, 6, 3), 4, None),
)
def test_outputs_along_an_image_are_those_of_a_full_pass(shape, levels, condition):
    """In float32, to 1e-4: the walker is led along a given image and gives back what it saw."""
    model = make(shape, levels, blocks=3, layers=2 if condition is None else 1, condition=condition)
    variables = random_variables(model)
    image = np.random.default_rng(1).integers(0, levels, (3, *shape), np.uint8)
    on, seen = condition_for(model, 3), {}

    def keep(i, channel, outputs, value, old, noise):
        if channel == 0:
            jax.debug.callback(lambda i, o: seen.__setitem__(int(i), np.asarray(o)), i, outputs)
        return old

    def walk(variables):
        return draw_image(model.walk(variables, 3, on), jnp.asarray(image), keep)

    jax.block_until_ready(jax.jit(walk)(variables))
    jax.effects_barrier()
    actual = np.stack([seen[i] for i in range(0, int(np.prod(shape)), shape[2])], axis=1)
    wanted = jax.jit(model.net.apply)(variables, to_float(image, levels), model._features(on, 3))
    np.testing.assert_allclose(actual, np.asarray(wanted).reshape(actual.shape), atol=1e-4)


def test_programs_grow_neither_with_the_height_nor_with_the_number_of_blocks():
    """The number of operations of a training step and of the sampler."""

    def operations(height, blocks):
        model = make((height, 8, 3), 2, blocks, condition=Classes(3))
        batch = {"image": jnp.zeros((2, height, 8, 3), jnp.uint8), "label": jnp.zeros(2, jnp.int32)}
        variables = jax.eval_shape(lambda: model.init(KEY, batch))
        loss = model.objectives()[0].loss
        step = jax.make_jaxpr(jax.grad(lambda v: loss(v, batch, KEY)[0]))(variables)
        sample = jax.make_jaxpr(lambda v: model.sample(v, KEY, 2, batch["label"]))(variables)
        return str(step).count(" = "), str(sample).count(" = ")

    assert operations(6, 2) == operations(24, 2) == operations(6, 5)


# Settings


def test_bf16_computes_in_bf16_and_scores_in_float32():
    model = make((6, 6, 1), 2, features=16, condition=Classes(3))
    variables, given = random_variables(model), condition_for(model, 4)
    image = np.random.default_rng(0).integers(0, 2, (4, 6, 6, 1), np.uint8)
    half = dataclasses.replace(model, dtype="bfloat16")
    a, b = (compiled(m, "log_prob")(variables, image, KEY, given) for m in (model, half))
    assert b.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, KEY, {})))
    np.testing.assert_allclose(a, b, rtol=3e-2)
    assert (np.asarray(a) != np.asarray(b)).any()
    assert "bf16" in str(jax.make_jaxpr(half.logits)(variables, to_float(jnp.asarray(image), 2), given))
    drawn = jax.jit(half.sample, static_argnums=2)(variables, KEY, 4, given)
    assert drawn.shape == (4, 6, 6, 1)


def test_dropout_acts_in_training_only():
    model = make((5, 5, 1), 2, dropout=0.5)
    variables, (objective,) = random_variables(model), model.objectives()
    batch = {"image": jnp.asarray(np.random.default_rng(0).integers(0, 2, (3, 5, 5, 1), np.uint8))}
    loss = jax.jit(objective.loss)
    losses = [float(loss(variables, batch, jax.random.key(k))[0]) for k in (0, 1)]
    assert losses[0] != losses[1]
    scores = [compiled(model, "log_prob")(variables, batch["image"], jax.random.key(k)) for k in (0, 1)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", ["blocks", "layers", "features", "key_size", "components"])
def test_bad_settings_are_named(name):
    with pytest.raises(UsageError, match=f"PixelSNAIL: {name} must be at least [12], got 0"):
        make((4, 4, 1), 2, **{name: 0})
