"""Gated PixelCNN: one layer from its equations, who sees whom, likelihood, conditions, and its incremental form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import all_images, check_frequencies, compiled, condition_for, kind_of, random_variables, sensitivity

from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.orders import to_raster
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.gated_net import GatedLayer, above_taps, down_taps, gate, joint_conv
from jaxgen.models.pixel.walker import draw_image
from jaxgen.verification.full_passes import complete_by_full_passes

KEY = jax.random.key(0)
CONDITIONS = [Classes(4, dropout=0.5), Vector(3), Map(2)]


def make(shape, levels, layers=2, features=7, **options):
    return GatedPixelCNN(shape=shape, levels=levels, layers=layers, features=features, head_features=8, **options)


# One layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_layer(params, v, x, skip, condition, n, channels):
    """1606.05328, eq. 2, 4 and 5 and figure 2, pixel by pixel and tap by tap; colour groups after 1601.06759, §3.4."""
    b, h, w, p = x.shape
    k = n // 2
    group = np.concatenate([np.full(len(part), g) for g, part in enumerate(np.array_split(np.arange(p), channels))])
    mask = (group[:, None] <= group[None, :]).astype(float)  # [from, to]
    new_v, new_x, new_skip = (np.zeros((b, h, w, p)) for _ in range(3))
    for i, r, c in np.ndindex(b, h, w):
        down = np.array(params["down"]["bias"], float)
        taps = [(dr, dc) for dr in range(-k, 1) for dc in range(-k, k + 1)]
        for t, (dr, dc) in enumerate(taps):
            if r + dr >= 0 and 0 <= c + dc < w:
                down += v[i, r + dr, c + dc] @ params["down"]["kernel"][t]
        right = params["right"]["bias"] + down @ params["link"]
        for t, dc in enumerate(range(-k, 1)):
            if c + dc >= 0:
                kernel = params["right"]["kernel"][t]
                tanh, sigma = kernel[:, :p], kernel[:, p:]  # each masked by itself, at the own pixel
                if dc == 0:
                    tanh, sigma = tanh * mask, sigma * mask
                right += np.concatenate([x[i, r, c + dc] @ tanh, x[i, r, c + dc] @ sigma])
        share = condition[i, r, c] @ params["condition"]
        down, right = down + share[: 2 * p], right + share[2 * p :]
        new_v[i, r, c] = np.tanh(down[:p]) * sigmoid(down[p:])
        hidden = np.tanh(right[:p]) * sigmoid(right[p:])
        kernel, bias = params["out"]["kernel"][0], params["out"]["bias"]
        new_x[i, r, c] = x[i, r, c] + hidden @ (kernel[:, :p] * mask) + bias[:p]
        new_skip[i, r, c] = skip[i, r, c] + hidden @ (kernel[:, p:] * mask) + bias[p:]
    return new_v, new_x, new_skip


@pytest.mark.parametrize(("n", "channels"), [(3, 1), (5, 3)])
def test_one_layer_is_what_the_equations_say(n, channels):
    draw = np.random.default_rng(0).normal
    v, x, skip, condition = draw(size=(2, 5, 6, 7)), draw(size=(2, 5, 6, 7)), draw(size=(2, 5, 6, 7)), None
    condition = draw(size=(2, 5, 6, 3))
    layer = GatedLayer(7, channels, n, 0.0, "float32", False)
    carry = tuple(jnp.float32(a) for a in (v, x, skip))
    shapes = jax.eval_shape(layer.init, KEY, carry, jnp.float32(condition))
    params = jax.tree.map(lambda a: 0.4 * draw(size=a.shape), shapes)
    single = jax.tree.map(jnp.float32, params)
    got, _ = jax.jit(layer.apply)(single, carry, jnp.float32(condition))
    wanted = slow_layer(params["params"], v, x, skip, condition, n, channels)
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_gate_and_its_gradient():
    """The written-out gradient is that of tanh(a)·σ(b) as JAX finds it."""
    x, cotangent = jax.random.normal(KEY, (5, 8)), jax.random.normal(jax.random.key(1), (5, 4))

    def plain(x):
        return jnp.tanh(x[:, :4]) * jax.nn.sigmoid(x[:, 4:])

    (y, back), (wanted, wanted_back) = jax.vjp(gate, x), jax.vjp(plain, x)
    np.testing.assert_allclose(y, wanted, atol=1e-6)
    np.testing.assert_allclose(back(cotangent)[0], wanted_back(cotangent)[0], atol=1e-6)


def test_joint_conv_is_a_sum_of_convolutions():
    """Value and gradients equal those of full convolutions whose dead taps are zero, and a bias."""
    draw = np.random.default_rng(0).normal
    taps = (down_taps(5), above_taps(3), ((0, 0),))
    maps = tuple(jnp.float32(draw(size=(2, 6, 5, i))) for i in (3, 2, 4))
    kernel = jnp.float32(draw(size=(sum(len(t) * x.shape[-1] for t, x in zip(taps, maps)) + 1, 4)))
    cotangent = jnp.float32(draw(size=(2, 6, 5, 4)))

    def full(maps, kernel):
        y, at = kernel[-1], 0
        for x, t in zip(maps, taps):
            own = kernel[at : at + len(t) * x.shape[-1]].reshape(len(t), x.shape[-1], 4)
            dense = jnp.zeros((5, 5, x.shape[-1], 4)).at[tuple(np.array(t).T + 2)].set(own)
            form = ("NHWC", "HWIO", "NHWC")
            y = y + jax.lax.conv_general_dilated(x, dense, (1, 1), "SAME", dimension_numbers=form)
            at += len(t) * x.shape[-1]
        return y

    got, back = jax.vjp(lambda m, k: joint_conv(m, k, taps), maps, kernel)
    wanted, wanted_back = jax.vjp(full, maps, kernel)
    np.testing.assert_allclose(got, wanted, atol=2e-5)
    for a, b in zip(jax.tree.leaves(back(cotangent)), jax.tree.leaves(wanted_back(cotangent))):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_deep_vertical_stacks_keep_their_signal():
    """At the start, 15 layers down, the rows above still move the vertical stack: no factor ½ for each gate."""
    model = make((12, 12, 1), 2, layers=15, features=32)
    layer = jax.jit(model.net.init)(KEY, jnp.zeros((1, 4, 4, 1)))["params"]["layers"]
    v = x = jax.random.normal(KEY, (4, 12, 12, 32))
    apply = jax.jit(GatedLayer(32, 1, 3, 0.0, "float32", False).apply)
    for n in range(15):
        params = {"params": jax.tree.map(lambda a, n=n: a[n], layer)}
        (v, x, _), _ = apply(params, (v, x, x), None)
    assert float(v[:, 6:, 3:-3].std()) > 0.05


# Context


@pytest.mark.parametrize(
    ("channels", "layers", "kernel", "condition", "marks"),
    [
        (1, 1, 3, None, False),  # reaches 4 rows and columns
        (1, 3, 5, Map(2), False),  # 9: everything
        (3, 1, 3, Classes(3), True),
        (3, 6, 3, Map(1), False),  # everything
    ],
)
def test_sees_its_context_and_nothing_else(channels, layers, kernel, condition, marks):
    """The Jacobian is zero outside the declared context, and nonzero on all of it in some network."""
    shape = (9, 10, channels)
    model = make(shape, 3, layers, max(5, 2 * channels), kernel=kernel, condition=condition, marks=marks)
    seen = sensitivity(model, draws=4 if channels == 1 else 8, condition=condition_for(model, 1))
    context = model.context()
    assert not (seen & ~context).any(), f"leaks at {np.argwhere(seen & ~context)[:3]}"
    assert not (context & ~seen).any(), f"uncovered: {np.argwhere(context & ~seen)[:3]}"
    before = np.tril(np.ones((np.prod(shape),) * 2, bool), -1).reshape(context.shape)
    reach = 3 + layers * (kernel // 2)
    assert (context == before).all() == (reach >= 9)


# Likelihood and samples


@pytest.mark.parametrize(
    ("shape", "levels", "condition"),
    [
        ((3, 3, 1), 2, None),
        ((3, 3, 1), 2, Map(2)),
        ((2, 2, 3), 2, Classes(4, dropout=0.5)),
        ((2, 1, 3), 3, Vector(3)),
    ],
)
def test_probabilities_sum_to_one(shape, levels, condition):
    """Over all 2^9 binary 3×3 images, all 2^12 binary 2×2 RGB images, all 3^6 images of three levels."""
    model = make(shape, levels, condition=condition)
    images = all_images(shape, levels)
    one = condition_for(model, 2)
    same = None if one is None else np.repeat(one[:1], len(images), 0)
    log_prob = compiled(model, "log_prob")(random_variables(model), images, KEY, same)
    assert float(jnp.exp(log_prob).sum()) == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("condition", [None, Classes(4), Map(2)], ids=kind_of)
def test_samples_follow_the_probabilities_under_their_condition(condition):
    """χ² of 40,000 draws against the enumerated pmf of 2×2 images with three levels: within five standard errors."""
    model = make((2, 2, 1), 3, layers=1, condition=condition)
    variables = random_variables(model, scale=0.6)
    images = all_images(model.shape, 3)

    def given(num):
        one = condition_for(model, 2)
        return None if one is None else np.repeat(one[:1], num, 0)

    probability = np.exp(compiled(model, "log_prob")(variables, images, KEY, given(len(images))))
    draws = compiled(model, "sample", 2)(variables, jax.random.key(7), 40_000, given(40_000))
    check_frequencies(draws, probability, 3)


# Conditions


def test_without_a_label_it_is_the_unconditional_model():
    """Label −1 gives each gate nothing: the log-probability is that of the same weights without condition kernels."""
    model = make((5, 6, 3), 3, condition=Classes(4, dropout=0.1))
    variables = random_variables(model)
    image = np.random.default_rng(0).integers(0, 3, (4, 5, 6, 3), np.uint8)
    layers = {k: v for k, v in variables["params"]["layers"].items() if k != "condition"}
    plain = {"params": {**variables["params"], "layers": layers}}
    wanted = compiled(dataclasses.replace(model, condition=None), "log_prob")(plain, image, KEY)
    log_prob = compiled(model, "log_prob")
    missing = np.full(4, -1, np.int32)
    np.testing.assert_allclose(log_prob(variables, image, KEY, missing), wanted, rtol=1e-6)
    np.testing.assert_allclose(log_prob(variables, image, KEY), wanted, rtol=1e-6)
    labelled = [np.asarray(log_prob(variables, image, KEY, np.full(4, k, np.int32))) for k in range(4)]
    assert all((np.abs(a - wanted) > 1e-3).all() for a in labelled)


@pytest.mark.parametrize("condition", CONDITIONS, ids=kind_of)
def test_the_gradient_reaches_both_gates_of_every_layer_through_the_condition(condition):
    model = make((5, 6, 1), 2, layers=3, condition=condition)
    image = np.random.default_rng(0).integers(0, 2, (6, 5, 6, 1), np.uint8)
    given = condition_for(model, 6)

    def nats(variables):
        return model.log_prob(variables, image, KEY, given).mean()

    gradient = jax.jit(jax.grad(nats))(random_variables(model))["params"]["layers"]["condition"]
    size, p = gradient.shape[1], model.features
    known = np.unique(given[given >= 0]) if isinstance(condition, Classes) else np.arange(size)
    reached = np.asarray(gradient != 0).reshape(3, size, 4, p)  # vertical tanh, σ; horizontal tanh, σ
    assert reached[:, known][:, :, 2:].all()
    assert reached[:2, known].all()
    assert not reached[2, :, :2].any(), "the last vertical gate feeds nothing"


def test_the_loss_drops_labels_as_often_as_it_says():
    """For one image the loss is that of its label or that of none, the latter with the probability given."""
    model = make((4, 4, 1), 2, condition=Classes(3, dropout=0.3))
    variables = random_variables(model)
    image, label = np.random.default_rng(0).integers(0, 2, (1, 4, 4, 1), np.uint8), np.array([2], np.int32)
    (objective,) = model.objectives()
    batch = {"image": jnp.asarray(image), "label": jnp.asarray(label)}
    losses = jax.jit(jax.vmap(lambda key: objective.loss(variables, batch, key)[0]))(jax.random.split(KEY, 2000))
    with_label, without = (-float(compiled(model, "log_prob")(variables, image, KEY, c)[0]) / 16 for c in (label, None))
    dropped, kept = np.isclose(losses, without, rtol=1e-5), np.isclose(losses, with_label, rtol=1e-5)
    assert (dropped ^ kept).all()
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 2000)


def test_a_map_acts_from_its_own_row_on():
    """A change of the map at one pixel moves the logits there and below, and none of the rows above."""
    model = make((6, 7, 1), 2, layers=3, condition=Map(1))
    variables, x = random_variables(model), jax.random.uniform(KEY, (1, 6, 7, 1))
    given = condition_for(model, 1)
    moved = given.copy()
    moved[0, 3, 4] += 1
    logits = jax.jit(model.logits)
    before, after = (np.asarray(logits(variables, x, c))[0, ..., 0, 1] for c in (given, moved))
    changed = before != after
    assert changed[3, 4]
    assert changed[4:].any(axis=1).all()
    assert not changed[:3].any()


# Orders


@pytest.mark.parametrize("order", ["down-left"])
def test_another_order_is_the_raster_model_of_the_turned_image(order):
    model = make((3, 4, 3), 3, layers=1, order=order, condition=Map(2))
    turned_shape = (*to_raster(np.zeros((1, 3, 4, 1)), order).shape[1:3], 3)
    raster = dataclasses.replace(model, order="right-down", shape=turned_shape)
    variables, given = random_variables(raster), condition_for(model, 5)
    image = np.random.default_rng(0).integers(0, 3, (5, 3, 4, 3), np.uint8)
    wanted = compiled(raster, "log_prob")(variables, to_raster(image, order), KEY, to_raster(given, order))
    np.testing.assert_allclose(compiled(model, "log_prob")(variables, image, KEY, given), wanted, rtol=1e-5)


# The incremental form


@pytest.mark.parametrize(
    ("shape", "levels", "kernel", "marks", "condition"),
    [
        ((5, 6, 1), 3, 5, True, Map(2)),
        ((4, 3, 3), 2, 3, False, Classes(4, dropout=0.5)),
        ((3, 5, 3), 4, 3, True, Vector(3)),
    ],
)
def test_same_keys_give_the_same_pixels_in_float64(shape, levels, kernel, marks, condition):
    with jax.enable_x64(True):
        model = make(shape, levels, kernel=kernel, marks=marks, condition=condition, dtype="float64")
        variables = random_variables(model)
        rng = np.random.default_rng(0)
        image, given = rng.integers(0, levels, (16, *shape), np.uint8), rng.random(shape[:2]) < 0.3
        key, on = jax.random.key(5), condition_for(model, 16)
        assert jax.eval_shape(model.logits, variables, jnp.zeros((16, *shape)), on).dtype == jnp.float64
        cached = jax.jit(model.complete)(variables, key, image, given, on)
        plain = jax.jit(functools.partial(complete_by_full_passes, model))(variables, key, image, given, on)
        np.testing.assert_array_equal(cached, plain)


@pytest.mark.parametrize(
    ("shape", "levels", "kernel", "marks", "condition"),
    [
        ((9, 8, 1), 2, 3, False, Classes(4)),
        ((5, 6, 3), 3, 5, True, Vector(3)),
    ],
)
def test_logits_along_an_image_are_those_of_a_full_pass(shape, levels, kernel, marks, condition):
    """In float32, to 1e-4: the walker is led along a given image and gives back what it saw."""
    model = make(shape, levels, kernel=kernel, marks=marks, condition=condition)
    variables = random_variables(model)
    image = np.random.default_rng(1).integers(0, levels, (3, *shape), np.uint8)
    features = model._features(condition_for(model, 3), 3)
    seen = {}

    def keep(i, channel, outputs, value, old, noise):
        jax.debug.callback(lambda i, o: seen.__setitem__(int(i), np.asarray(o)), i, outputs[:, channel])
        return old

    def walk(variables):
        return draw_image(model.walker(variables, shape[1], 3, features), jnp.asarray(image), keep)

    jax.block_until_ready(jax.jit(walk)(variables))
    jax.effects_barrier()
    actual = np.stack([seen[i] for i in range(int(np.prod(shape)))], axis=1)
    wanted = jax.jit(model.net.apply)(variables, jnp.asarray(image, jnp.float32) / (levels - 1), features)
    np.testing.assert_allclose(actual, np.asarray(wanted).reshape(actual.shape), atol=1e-4)


def test_programs_do_not_grow_with_the_height_nor_training_with_the_depth():
    """Operations of a training step and of the sampler; the sampler's grow with the depth by a few per layer."""

    def operations(height, layers):
        model = make((height, 8, 3), 2, layers, condition=Classes(3))
        batch = {"image": jnp.zeros((2, height, 8, 3), jnp.uint8), "label": jnp.zeros(2, jnp.int32)}
        variables = jax.eval_shape(lambda: model.init(KEY, batch))
        loss = model.objectives()[0].loss
        step = jax.make_jaxpr(jax.grad(lambda v: loss(v, batch, KEY)[0]))(variables)
        sample = jax.make_jaxpr(lambda v: model.sample(v, KEY, 2, batch["label"]))(variables)
        return str(step).count(" = "), str(sample).count(" = ")

    (step, sample), (taller, taller_sample), (deeper, deeper_sample) = (
        operations(*a) for a in ((6, 3), (24, 3), (6, 9))
    )
    assert step == taller == deeper
    assert sample == taller_sample
    assert deeper_sample - sample < 6 * 3 * 40


# Settings


def test_bf16_computes_in_bf16_and_scores_in_float32():
    model = make((6, 6, 1), 2, features=16, condition=Classes(3))
    variables, given = random_variables(model, scale=0.05), condition_for(model, 4)
    image = np.random.default_rng(0).integers(0, 2, (4, 6, 6, 1), np.uint8)
    half = dataclasses.replace(model, dtype="bfloat16")
    a, b = (compiled(m, "log_prob")(variables, image, KEY, given) for m in (model, half))
    assert b.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, KEY, {})))
    np.testing.assert_allclose(a, b, rtol=2e-2)
    assert (np.asarray(a) != np.asarray(b)).any()
    program = str(jax.make_jaxpr(half.logits)(variables, to_float(jnp.asarray(image), 2), given))
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert sum("bf16" in line for line in products) >= len(products) - 1  # all but the last map
    drawn = jax.jit(half.sample, static_argnums=2)(variables, KEY, 4, given)
    assert drawn.shape == (4, 6, 6, 1)


def test_dropout_acts_in_training_only():
    model = make((5, 5, 1), 2, dropout=0.5)
    variables, (objective,) = random_variables(model), model.objectives()
    batch = {"image": jnp.asarray(np.random.default_rng(0).integers(0, 2, (3, 5, 5, 1), np.uint8))}
    loss = jax.jit(lambda key: objective.loss(variables, batch, key)[0])
    losses = [float(loss(jax.random.key(k))) for k in (0, 1)]
    assert losses[0] != losses[1]
    scores = [np.asarray(compiled(model, "log_prob")(variables, batch["image"], jax.random.key(k))) for k in (0, 1)]
    np.testing.assert_array_equal(*scores)


def test_bad_settings_are_named():
    with pytest.raises(
        UsageError, match="GatedPixelCNN: features must be at least 3, got 2: they are split in 3 colour groups"
    ):
        GatedPixelCNN(shape=(4, 4, 3), levels=2, features=2)
    with pytest.raises(UsageError, match="layers"):
        GatedPixelCNN(shape=(4, 4, 1), levels=2, layers=0)
    for kernel in (1, 4):
        with pytest.raises(UsageError, match="kernel must be odd"):
            GatedPixelCNN(shape=(4, 4, 1), levels=2, kernel=kernel)
