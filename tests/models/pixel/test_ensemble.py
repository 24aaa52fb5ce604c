"""Orders and ensembles over them: what is read when, in eight orders, and the mixture of their likelihoods."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.pixel import all_images, check_frequencies, compiled, random_variables, sensitivity

from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.core.orders import ORDERS, check_order, from_raster, is_prefix, order_rank, to_raster
from jaxgen.data.dataset import Source
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.verification.full_passes import complete_by_full_passes

KEY = jax.random.key(0)
MODELS = {"pixelcnn": PixelCNN, "rowlstm": RowLSTM, "diagonal": DiagonalBiLSTM}
PLACE = {"right": (1, 1), "left": (1, -1), "down": (0, 1), "up": (0, -1)}  # axis (rows, columns) and direction


def make(name, shape, levels, order="right-down", **options):
    options = dict(layers=1, features=5, head_features=6) | options
    return MODELS[name](shape=shape, levels=levels, order=order, **options)


def score(model, variables, image):
    return np.asarray(compiled(model, "log_prob")(variables, image, KEY), np.float64)


# --- orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_runs_as_its_name_says(order):
    """The first word is the direction of a line, the second that from line to line."""
    (fast_axis, fast), (slow_axis, slow) = (PLACE[word] for word in order.split("-"))
    sites = sorted(np.ndindex(3, 4), key=lambda site: (slow * site[slow_axis], fast * site[fast_axis]))
    assert [int(order_rank((3, 4), order)[site]) for site in sites] == list(range(12))
    picture = np.arange(24).reshape(1, 3, 4, 2)
    turned = to_raster(picture, order)
    np.testing.assert_array_equal(turned.reshape(-1, 2), [picture[0][site] for site in sites])
    np.testing.assert_array_equal(from_raster(turned, order), picture)


@pytest.mark.parametrize("order", ORDERS)
def test_the_prefixes_of_an_order_are_its_first_pixels(order):
    """Of the 64 masks of 2×3 pixels, seven."""
    rank = order_rank((2, 3), order)
    masks = [np.array(bits, bool).reshape(2, 3) for bits in itertools.product((0, 1), repeat=6)]
    actual = [mask for mask in masks if is_prefix(mask, order)]
    assert sorted(mask.sum() for mask in actual) == list(range(7))
    for mask in actual:
        np.testing.assert_array_equal(mask, rank < mask.sum())


def test_an_unknown_order_is_named():
    with pytest.raises(UsageError, match="Did you mean 'right-down'"):
        check_order("right-dwn")
    with pytest.raises(UsageError, match="order must be one of"):
        make("pixelcnn", (2, 3, 1), 2, order="raster")


# --- a pixel model in each order -----------------------------------------------------------------------------------


@functools.cache
def raster_scores(name, channels, columns):
    """A raster model of images 2×3 or 3×2 (in colour 1×2 or 2×1), its variables, and the nats of all binary images."""
    shape = ((3, 2) if columns else (2, 3)) if channels == 1 else ((2, 1) if columns else (1, 2))
    model = make(name, (*shape, channels), 2)
    variables = random_variables(model)
    return variables, score(model, variables, all_images(model.shape, 2))


@pytest.mark.parametrize(
    ("name", "order", "channels"),
    [*(("pixelcnn", order, 1) for order in ORDERS), ("rowlstm", "up-right", 3), ("diagonal", "down-left", 3)],
)
def test_an_order_scores_the_turned_image(name, order, channels):
    """log p of an image in an order is that of the turned image in raster order, and the sum of all is one. Turning is
    the same code for all models: one in all orders, and the others in one."""
    shape = (2, 3, 1) if channels == 1 else (1, 2, 3)
    images = all_images(shape, 2)
    turned = to_raster(images, order)
    variables, raster = raster_scores(name, channels, turned.shape[1:3] != shape[:2])
    actual = score(make(name, shape, 2, order), variables, images)
    number = turned.reshape(len(turned), -1).astype(int) @ (2 ** np.arange(5, -1, -1))
    np.testing.assert_allclose(actual, raster[number], atol=1e-5)
    assert np.exp(actual).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("order", "channels"), [*((order, 1) for order in ORDERS), ("down-left", 3)])
def test_an_order_sees_what_comes_before_in_it(order, channels):
    """The declared context holds nothing that comes later, and is what the Jacobian shows; the blind spot turns too."""
    model = make("pixelcnn", (7, 6, 1) if channels == 1 else (4, 3, 3), 2 + (channels == 3), order)
    context, (h, w, c) = model.context(), model.shape
    rank = (order_rank(model.shape, order)[:, :, None] * c + np.arange(c)).reshape(-1)
    assert not (context.reshape(h * w * c, -1) & (rank[:, None] <= rank)).any()
    np.testing.assert_array_equal(sensitivity(model, draws=8), context)


@pytest.mark.parametrize(
    ("name", "shape", "levels", "order"),
    [
        *(("diagonal", (3, 4, 1), 2, order) for order in ("left-up", "down-right", "up-left")),
        ("rowlstm", (2, 3, 3), 3, "up-right"),
    ],
)
def test_an_order_draws_the_pixels_of_full_passes(name, shape, levels, order):
    """In float64, around given pixels that are kept."""
    with jax.enable_x64(True):
        model = make(name, shape, levels, order, dtype="float64")
        variables = jax.tree.map(lambda a: a.astype(jnp.float64), random_variables(model))
        rng = np.random.default_rng(0)
        image, given = rng.integers(0, levels, (8, *shape), np.uint8), rng.random(shape[:2]) < 0.3
        cached = compiled(model, "complete")(variables, KEY, image, given)
        plain = jax.jit(functools.partial(complete_by_full_passes, model))(variables, KEY, image, given)
        np.testing.assert_array_equal(cached, plain)
        np.testing.assert_array_equal(cached[:, given], image[:, given])


def conditional(probability, shape, image, given):
    """p(x | given pixels) for all binary images of a shape."""
    shared = (all_images(shape, 2)[:, given] == image[given]).all(axis=(1, 2))
    return np.where(shared, probability, 0) / probability[shared].sum()


@pytest.mark.parametrize("order", ORDERS[1::3])
def test_completing_a_prefix_is_exact(order):
    """Any other mask is not, and says so."""
    shape, image = (2, 3, 1), np.array([[1, 0, 1], [1, 1, 0]], np.uint8)[:, :, None]
    model = make("diagonal", shape, 2, order)
    variables = random_variables(model, scale=0.6)
    probability = np.exp(score(model, variables, all_images(shape, 2)))
    given = order_rank(shape, order) < 2
    assert model.completes_exactly(given)
    assert not model.completes_exactly(~given)
    draws = compiled(model, "complete")(variables, KEY, np.broadcast_to(image, (20_000, *shape)), given)
    check_frequencies(draws, conditional(probability, shape, image, given), 2)


# --- ensembles -----------------------------------------------------------------------------------------------------


def ensemble(shape=(2, 2, 1), levels=2, orders=ORDERS, shared=False, name="diagonal", **options):
    model = make(name, shape, levels, **options)
    return OrderEnsemble(shape=shape, levels=levels, model=model, orders=orders, shared=shared)


def member_scores(model, variables, image):
    """Nats of each image under each member, by raster models that read turned images: float64[orders, b]."""
    actual = []
    for i, order in enumerate(model.orders):
        turned = to_raster(image, order)
        kind = Classes(len(model.orders)) if model.shared else None
        raster = dataclasses.replace(model.model, shape=turned.shape[1:], levels=model.levels, condition=kind)
        params = variables["params"]["shared" if model.shared else order]
        told = np.full(len(image), i, np.int32) if model.shared else None
        actual.append(compiled(raster, "log_prob")({"params": params}, turned, KEY, told))
    return np.asarray(actual, np.float64)


@pytest.mark.parametrize(
    ("shape", "levels", "shared", "orders"),
    [
        ((2, 2, 1), 3, True, ORDERS),
        ((2, 3, 1), 2, False, ORDERS[::3]),
        ((2, 2, 3), 2, True, ORDERS[2:5]),
        ((2, 2, 1), 2, True, ("up-left",)),
    ],
)
def test_the_ensemble_is_the_mean_of_its_members(shape, levels, shared, orders):
    """Probabilities sum to one; of a single order, it is that order's; nats are at most the members' mean."""
    model = ensemble(shape, levels, orders, shared)
    variables, images = random_variables(model, scale=0.6), all_images(shape, levels)
    members = member_scores(model, variables, images)
    actual = score(model, variables, images)
    np.testing.assert_allclose(np.exp(actual), np.exp(members).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(compiled(model, "log_probs")(variables, images, KEY), members, atol=1e-4)
    assert np.exp(actual).sum() == pytest.approx(1, abs=1e-4)
    assert (actual >= members.mean(axis=0) - 1e-4).all()
    if len(orders) > 1:
        assert np.ptp(members, axis=0).max() > 0.1, "members that agree show nothing"


@functools.cache
def enumerated(shared):
    """An ensemble over 2×2 images of two levels, its variables, and the probability of each image under each member."""
    model = ensemble(shared=shared, orders=("right-down", "left-down", "down-left", "up-left"))
    variables = random_variables(model, scale=1.0)
    return model, variables, np.exp(member_scores(model, variables, all_images(model.shape, 2)))


@pytest.mark.parametrize("shared", [False, True])
def test_samples_follow_the_mixture(shared):
    model, variables, probability = enumerated(shared)
    draws = compiled(model, "sample", 2)(variables, KEY, 40_000)
    check_frequencies(draws, probability.mean(axis=0), 2)


@pytest.mark.parametrize("shared", [False, True])
def test_a_temperature_is_that_of_each_draw_of_a_pixel(shared):
    """Members are mixed as before; each of their conditionals is sharper."""
    model, variables, _ = enumerated(shared)
    images, actual = all_images(model.shape, 2), []
    for i, member in enumerate(model.members):
        own = {"params": variables["params"]["shared" if shared else model.orders[i]]}
        told = np.full(len(images), i, np.int32) if shared else None
        log_pmf = jax.nn.log_softmax(2 * compiled(member, "log_pmf")(own, images, told))
        actual.append(np.exp(np.take_along_axis(log_pmf, images[..., None].astype(int), -1).sum(axis=(1, 2, 3, 4))))
    draws = compiled(model, "sample", 2, 4)(variables, KEY, 40_000, None, 0.5)
    check_frequencies(draws, np.mean(actual, axis=0), 2)


@pytest.mark.parametrize("shared", [False, True])
def test_a_temperature_is_that_of_a_completion_too(shared):
    """It is that of the one member in whose order the given pixel comes first, with the same key."""
    model, variables, _ = enumerated(shared)
    given, image = np.array([[0, 0], [0, 1]], bool), np.ones((50, *model.shape), np.uint8)
    key = jax.random.split(jax.random.split(KEY)[1], len(model.orders))[-1]
    own = {"params": variables["params"]["shared" if shared else "up-left"]}
    told = np.full(len(image), len(model.orders) - 1, np.int32) if shared else None

    def complete(model, variables, key, told, temperature):
        routine = jax.jit(lambda *rest: model.complete(*rest, temperature))
        return np.asarray(routine(variables, key, image, given, told))

    actual = complete(model, variables, KEY, None, 0.5)
    np.testing.assert_array_equal(actual, complete(model.members[-1], own, key, told, 0.5))
    assert (actual != complete(model.members[-1], own, key, told, 1.0)).any()


@pytest.mark.parametrize(
    ("given", "fit", "shared", "known"),
    [
        ([[1, 1], [0, 0]], [0, 1], False, True),  # the first row comes first in both orders that run down the rows
        ([[0, 1], [0, 1]], [2, 3], False, False),  # the right column in both that run along the columns
        ([[0, 1], [0, 1]], [2, 3], True, True),
        ([[0, 0], [0, 1]], [3], False, False),
        ([[0, 0], [0, 1]], [3], True, False),
        ([[0, 0], [0, 0]], [0, 1, 2, 3], True, False),
        ([[1, 1], [1, 0]], [0], False, False),
    ],
)
def test_completion_is_the_conditional_of_the_members_that_it_fits(given, fit, shared, known):
    """Whether the mask is known when the program is compiled or not."""
    model, variables, probability = enumerated(shared)
    given, image = np.array(given, bool), np.array([[1, 0], [1, 1]], np.uint8)[:, :, None]
    assert model.completes_exactly(given)
    start = np.broadcast_to(image, (20_000, *model.shape))
    if known:
        draws = jax.jit(lambda variables, start: model.complete(variables, KEY, start, given))(variables, start)
    else:
        draws = compiled(model, "complete")(variables, KEY, start, given)
    check_frequencies(draws, conditional(probability[fit].mean(axis=0), model.shape, image, given), 2)


def test_where_no_order_fits_the_first_member_completes():
    model, variables, _ = enumerated(False)
    given, image = np.array([[1, 0], [0, 1]], bool), np.ones((500, 2, 2, 1), np.uint8)
    assert not model.completes_exactly(given)
    part = {"params": variables["params"][model.orders[0]]}
    key = jax.random.split(jax.random.split(KEY)[1], len(model.orders))[0]
    wanted = compiled(model.members[0], "complete")(part, key, image, given)
    for complete in (model.complete, compiled(model, "complete")):
        np.testing.assert_array_equal(complete(variables, KEY, image, given), wanted)


@pytest.mark.parametrize("shared", [False, True])
def test_one_step_moves_all_members(shared):
    """Each order's nats of a batch fall in a few steps of the engine, and its log is of each objective."""
    model = ensemble((4, 4, 1), 2, ORDERS[::3], shared, name="pixelcnn")
    image = np.random.default_rng(0).integers(0, 2, (1, 4, 4, 1), np.uint8).repeat(8, 0)
    recipe = Recipe(data=Source("no data", dict), model=model, optimizer=optax.adam(1e-2), batch=8, steps=1)
    state, step = init_state(recipe, {"image": image}), jax.jit(make_step(recipe))
    before = member_scores(model, state.variables, image)
    after, metrics = step(state, {"image": image})
    assert all((a != b).any() for a, b in zip(*(jax.tree.leaves(s.variables["params"]) for s in (state, after))))
    if not shared:
        assert {f"{order}/nats" for order in model.orders} <= metrics.keys()
        actual = [float(metrics[f"{order}/nats"]) for order in model.orders]
        np.testing.assert_allclose(actual, -before.mean(axis=1), rtol=1e-5)
    for _ in range(5):
        after, _ = step(after, {"image": image})
    assert (member_scores(model, after.variables, image) > before).all()


def test_a_shared_network_learns_all_orders_evenly():
    """Eight copies of an image are read once in each of eight orders, and fewer copies in any of them."""
    model = ensemble((3, 3, 1), 3, shared=True)
    (objective,) = model.objectives()
    variables = random_variables(model)
    image = np.random.default_rng(0).integers(0, 3, (1, 3, 3, 1), np.uint8)
    members = -member_scores(model, variables, image)[:, 0]
    loss, aux = jax.jit(objective.loss)(variables, {"image": image.repeat(8, 0)}, KEY)
    assert float(aux.metrics["nats"]) == pytest.approx(members.mean(), rel=1e-5)
    assert float(loss) == pytest.approx(members.mean() / 9, rel=1e-5)
    single = jax.jit(lambda key: objective.loss(variables, {"image": jnp.asarray(image)}, key)[1].metrics["nats"])
    actual = {int(np.abs(members - float(single(key))).argmin()) for key in jax.random.split(KEY, 60)}
    assert actual == set(range(8))


def test_bad_ensembles_are_named():
    with pytest.raises(UsageError, match="order must be one of"):
        ensemble(orders=("right-down", "sideways"))
    with pytest.raises(UsageError, match="each once"):
        ensemble(orders=("right-down", "right-down"))
    with pytest.raises(UsageError, match="at least one order"):
        ensemble(orders=())
    with pytest.raises(UsageError, match="2×3 images, which are not square"):
        ensemble((2, 3, 1), shared=True)
    with pytest.raises(UsageError, match="leave the condition"):
        ensemble(condition=Classes(2))
    model = ensemble((2, 3, 1), orders=("right-down",))
    with pytest.raises(UsageError, match="unconditional"):
        model.sample({}, KEY, 2, condition=np.zeros(2))
