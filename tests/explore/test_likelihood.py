"""Exploration by likelihood: each picture's numbers against enumeration, a Jacobian, and the order of the pixels."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.suspects import Linear

from jaxgen.core.capabilities import Completer
from jaxgen.core.checks import LEAST_TEMPERATURE
from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.orders import ORDERS, order_rank
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.explore.chunks import in_chunks
from jaxgen.explore.inputs import checked_images, checked_mask
from jaxgen.explore.likelihood import drawing_rank, growth, seen_by, share_of
from jaxgen.explore.trained import Trained
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM

MODELS = {
    "gray": PixelCNN(shape=(4, 5, 1), levels=2, layers=1, features=4, head_features=4),
    "turned": RowLSTM(shape=(4, 5, 1), levels=3, layers=1, features=4, head_features=4, order="up-left"),
    "colour": DiagonalBiLSTM(shape=(4, 3, 3), levels=4, layers=1, features=6, head_features=6),
    "classes": PixelCNN(shape=(4, 4, 1), levels=3, layers=1, features=4, head_features=4, condition=Classes(3)),
}
models = pytest.mark.parametrize("name", MODELS)


@functools.cache
def trained(model):
    """The model with random weights, large enough for every value to matter."""
    variables = jax.jit(model.init)(jax.random.key(1), {"image": np.zeros((1, *model.shape), np.uint8)})
    leaves, tree = jax.tree.flatten(variables)
    draw = np.random.default_rng(2)
    noisy = [jnp.asarray(leaf + np.float32(0.4) * draw.standard_normal(leaf.shape, np.float32)) for leaf in leaves]
    return Trained(model, tree.unflatten(noisy), make_mesh())


def some(model, num=5):
    """Random images and what the model is conditioned on."""
    image = np.random.default_rng(0).integers(0, model.levels, (num, *model.shape)).astype(np.uint8)
    return image, model.example_condition(num)


# --- surprise ------------------------------------------------------------------------------------------------------


@models
def test_a_surprise_map_adds_up_to_the_bits_of_the_image(name):
    run = trained(MODELS[name])
    image, condition = some(run.model)
    bits = run.surprise(image, condition)
    assert bits.shape == image.shape[:3]
    log_prob = jax.jit(run.model.log_prob)(run.variables, image, jax.random.key(0), condition)
    np.testing.assert_allclose(bits.sum(axis=(1, 2)), -np.asarray(log_prob) / math.log(2), rtol=1e-5)
    np.testing.assert_allclose(run.log_prob(image, condition=condition), log_prob, rtol=1e-5)


@pytest.mark.parametrize("order", ["right-down", "up-left"])
def test_the_surprise_of_a_pixel_is_what_it_adds_to_the_pixels_before_it(order):
    """Against the probabilities of all images: bits = log2 p(pixels before) − log2 p(pixels before and this one)."""
    run = trained(PixelCNN(shape=(2, 2, 1), levels=3, layers=1, features=4, head_features=4, order=order))
    every = np.array(list(itertools.product(range(3), repeat=4)), np.uint8)
    p = np.exp(run.log_prob(every.reshape(-1, 2, 2, 1)).astype(np.float64))
    bits = run.surprise(every.reshape(-1, 2, 2, 1)).reshape(-1, 4)
    rank = order_rank((2, 2), order).reshape(-1)
    for i in range(4):
        before, to = rank < rank[i], rank <= rank[i]
        for number in range(0, len(every), 7):
            marginal = [p[(every[:, some] == every[number, some]).all(axis=1)].sum() for some in (before, to)]
            assert bits[number, i] == pytest.approx(np.log2(marginal[0] / marginal[1]), abs=1e-4)


def test_integers_of_any_type_and_bool_are_images():
    run = trained(MODELS["gray"])
    image, _ = some(run.model)
    wanted = run.log_prob(image)
    for other in (image.astype(bool), image.astype(np.int64), jnp.asarray(image, jnp.int32)):
        np.testing.assert_array_equal(run.log_prob(other), wanted)


# --- the field -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "at"), [*((name, None) for name in MODELS), ("turned", (1, 2))])
def test_the_field_is_the_jacobian_and_nothing_outside_of_the_context(name, at):
    """By the chain rule from the Jacobian of all logits of the pixel: d log p_v = dl_v − Σ p_u dl_u."""
    run = trained(MODELS[name])
    image, condition = some(run.model, 3)
    h, w, c = run.model.shape
    row, column = at or (h // 2, w // 2)

    def logits(x):
        """Of the pixel in each image, summed over images, of which each sees itself only; and all apart."""
        actual = run.model.logits(run.variables, x, condition)[:, row, column]
        return actual.sum(axis=0), actual

    x = jnp.asarray(image, jnp.float32) / (run.model.levels - 1)
    jacobian, apart = jax.jit(jax.jacrev(logits, has_aux=True))(x)  # [c,levels,b,h,w,c]
    expected, p = np.zeros(image.shape), np.asarray(jax.nn.softmax(apart))
    for i, k in itertools.product(range(len(image)), range(c)):
        one = np.asarray(jacobian)[k, :, i]
        expected[i] += one[image[i, row, column, k]] - np.tensordot(p[i, k], one, 1)
    expected = np.abs(expected).sum(axis=-1).mean(axis=0)
    actual = run.field(image, condition, at)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    context = seen_by(run.model, at)
    assert (actual[~context] == 0).all()
    assert (actual[context] > 0).any()
    own = run.model.context()[row, column]
    np.testing.assert_array_equal(context, [[own[:, i, j].any() for j in range(w)] for i in range(h)])


def test_the_share_of_a_field_counts_the_fewest_pixels():
    field = np.array([[0.0, 1.0], [5.0, 2.0]])
    assert [share_of(field, share) for share in (0.1, 0.625, 0.63, 0.875, 0.9, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert share_of(np.zeros((2, 2)), 0.5) == 0


# --- draws ---------------------------------------------------------------------------------------------------------


@models
def test_images_depend_on_seed_and_number_and_not_on_the_chunk(name):
    run = trained(MODELS[name])
    image = run.sample(10, seed=4)
    for num, chunk in ((10, 3), (10, 8), (7, 100), (1, 1)):
        np.testing.assert_array_equal(run.sample(num, seed=4, chunk=chunk), image[:num])
    assert (run.sample(10, seed=5) != image).any()
    assert len(np.unique(image, axis=0)) > 1
    condition = run.model.example_condition(10)
    for i in (0, 9):
        key, label = jax.random.fold_in(jax.random.key(4), i), None if condition is None else condition[i : i + 1]
        np.testing.assert_array_equal(
            jax.jit(run.model.sample, static_argnums=2)(run.variables, key, 1, label)[0], image[i]
        )


def test_a_label_changes_its_own_image_only():
    run = trained(MODELS["classes"])
    zero = run.sample(12, condition=np.zeros(12, np.int32))
    mixed = run.sample(12, condition=np.arange(12, dtype=np.int32) % 3)
    np.testing.assert_array_equal(zero[::3], mixed[::3])
    assert (zero != mixed).any()


@models
def test_a_low_temperature_always_draws_the_likeliest_value(name):
    run = trained(MODELS[name])
    condition = run.model.example_condition(4)
    for seed in (0, 1):
        cold = run.sample(4, seed, condition, temperature=LEAST_TEMPERATURE)
        likeliest = jax.jit(run.model.log_pmf)(run.variables, cold, condition).argmax(axis=-1)
        np.testing.assert_array_equal(cold, likeliest)


@models
def test_completions_are_the_models_with_a_key_for_each(name):
    run = trained(MODELS[name])
    image, condition = some(run.model, 9)
    given = growth(drawing_rank(run.model))[6]
    drawn = run.complete(image, given, 3, condition)
    np.testing.assert_array_equal(drawn[:, given], image[:, given])
    np.testing.assert_array_equal(
        run.complete(image[:4], given, 3, None if condition is None else condition[:4]), drawn[:4]
    )
    one, complete = None if condition is None else condition[8:], jax.jit(run.model.complete)
    key = jax.random.fold_in(jax.random.key(3), 8)
    np.testing.assert_array_equal(complete(run.variables, key, image[8:], given, one)[0], drawn[8])
    assert run.model.completes_exactly(given)
    assert not run.model.completes_exactly(~given)


def test_the_mask_reaches_the_model_as_a_numpy_array():
    masks = []

    class Blank(Completer):
        def init(self, key, batch):
            return {"params": {}}

        def objectives(self):
            return ()

        def complete(self, variables, key, image, given, condition=None):
            masks.append(given)
            return jnp.where(given[..., None], image, 0)

    run = Trained(Blank(shape=(2, 3, 1), levels=4), {"params": {}}, make_mesh())
    given = np.array([[True, False, True], [False, False, True]])
    image = np.full((3, 2, 3, 1), 3, np.uint8)
    np.testing.assert_array_equal(run.complete(image, given), 3 * np.broadcast_to(given[..., None], image.shape))
    assert isinstance(masks[0], np.ndarray)
    assert (masks[0] == given).all()


def test_chunks_have_one_shape_and_give_every_row_once():
    shapes, told = [], []

    def run(rows):
        shapes.append(jax.tree.map(np.shape, rows))
        return rows["row"] * 10 + rows["image"]

    actual = in_chunks(run, {"image": np.arange(11), "condition": None}, 11, 3, 2, told.append)
    np.testing.assert_array_equal(actual, 11 * np.arange(11))
    assert shapes == [{"row": (4,), "image": (4,), "condition": None}] * 3
    assert told == [4, 8, 11]
    for num, chunk, message in ((0, 1, "wanted at least 1 image, got 0"), (1, 0, "chunks of at least 1 image, got 0")):
        with pytest.raises(UsageError, match=message):
            in_chunks(run, {}, num, chunk)


# --- growth --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_frames_hold_the_first_pixels_of_the_order_and_end_with_all(order):
    rank = drawing_rank(PixelCNN(shape=(4, 5, 1), levels=2, layers=1, features=4, order=order))
    frames = growth(rank)
    assert frames.shape == (21, 4, 5)
    for count, frame in enumerate(frames):
        assert set(rank[frame]) == set(range(count))
    few = growth(rank, most=4)
    np.testing.assert_array_equal(few.sum(axis=(1, 2)), [0, 7, 13, 20])
    assert all((rank[frame] < frame.sum()).all() for frame in few)


def test_a_multi_scale_model_grows_its_small_image_first():
    """Each pixel comes after all that it sees; the large model reads from the lower right corner leftwards."""
    net = dict(shape=(3, 5, 1), levels=2, layers=1, features=4)
    model = MultiScale(
        shape=(3, 5, 1),
        levels=2,
        small=PixelCNN(order="down-right", **net),
        large=RowLSTM(order="left-up", **net),
        map_features=3,
    )
    rank = drawing_rank(model)
    np.testing.assert_array_equal(rank, [[0, 14, 2, 13, 4], [12, 11, 10, 9, 8], [1, 7, 3, 6, 5]])
    context = model.context()[:, :, 0, :, :, 0]
    assert (rank[:, :, None, None] > rank)[context].all()


# --- bad input -----------------------------------------------------------------------------------------------------

GAN = DCGAN(shape=(8, 8, 1), levels=4, latent=3, features=4)
CODE = VAE(shape=(4, 4, 1), levels=3, latent=2, hidden=(4,))
GRAY, LABELLED = MODELS["gray"], MODELS["classes"]
LABELS, KEY = np.array([0, 3], np.int32), jax.random.key(0)
OWN = Linear(shape=(4, 4, 1), levels=3)
MIXED = OrderEnsemble(shape=(4, 5, 1), levels=2, model=GRAY, orders=("right-down",))
VECTORS, MAPS = (dataclasses.replace(GRAY, condition=kind) for kind in (Vector(2), Map(1)))


@pytest.mark.parametrize("model", [GRAY, CODE, GAN, MIXED], ids=lambda model: type(model).__name__)
def test_no_images_are_refused_in_one_sentence_by_every_function(model):
    mask, none, key = np.eye(*model.shape[:2], dtype=bool), np.zeros((0, *model.shape), np.uint8), jax.random.key(0)
    by_run = {"sample": (0,), "log_prob": (none,), "complete": (none, mask), "encode": (none,), "reconstruct": (none,)}
    by_model = {"sample": (key, 0), "log_prob": (none, key), "encode": (none,), "reconstruct": (none,)}
    run, nothing = Trained(model, {"params": {}}, make_mesh()), {"params": {}}
    calls = [functools.partial(getattr(run, what), *more) for what, more in by_run.items() if hasattr(model, what)]
    calls += [
        functools.partial(getattr(model, what), nothing, *more)
        for what, more in by_model.items()
        if hasattr(model, what)
    ]
    for call in calls:
        with pytest.raises(UsageError, match="wanted at least 1 image, got 0"):
            call()


@pytest.mark.parametrize(
    ("model", "call", "message"),
    [
        (GAN, lambda r: r.sample(2, temperature=0.5), r"DCGAN cannot draw at a temperature: .* can: .*PixelCNN"),
        (OWN, lambda r: r.sample(2, temperature=0.5), "Linear cannot draw at a temperature: its `sample` takes none"),
        (
            OWN,
            lambda r: r.complete(some(r.model)[0], np.ones((4, 4), bool), temperature=2.0),
            "Linear cannot draw at a temperature: its `complete` takes none",
        ),
        (GRAY, lambda r: r.sample(2, temperature=0.0), "temperature must be a number above 0 .*, got 0"),
        (GRAY, lambda r: r.sample(2, temperature=math.nan), "temperature must be a number above 0 .*, got nan"),
        (GRAY, lambda r: r.sample(2, temperature=1e-40), "temperature must be at least 1e-06, got 1e-40: 0.01 draws"),
        (GRAY, lambda r: r.model.sample({}, KEY, 2, None, 1e-40), "temperature must be at least 1e-06, got 1e-40"),
        (GRAY, lambda r: r.model.sample({}, KEY, 2, None, math.nan), "temperature must be a number above 0"),
        (GRAY, lambda r: r.sample(2, condition=LABELS), "PixelCNN is unconditional"),
        (LABELLED, lambda r: r.sample(2, condition=LABELS), "knows the classes 0 to 2: got 3"),
        (LABELLED, lambda r: r.sample(3, condition=LABELS[:2] * 0), "a label for each of 3 images"),
        (LABELLED, lambda r: r.surprise(some(r.model)[0]), "PixelCNN is conditional on labels"),
        (LABELLED, lambda r: r.sample(2, condition=np.array([0, 0.7])), "labels that are integers, got float64"),
        (LABELLED, lambda r: r.sample(2, condition=[0, math.nan]), "labels that are integers, got float64"),
        (LABELLED, lambda r: r.sample(2, condition=np.array([0, 2**32])), "the classes 0 to 2: got 4294967296"),
        (LABELLED, lambda r: jax.jit(r.model.sample, static_argnums=2)({}, KEY, 2, jnp.zeros(2)), "got float32"),
        (VECTORS, lambda r: r.sample(1, condition=np.array([[0, math.nan]])), "finite numbers, got NaN or infinity"),
        (VECTORS, lambda r: r.sample(1, condition=[[math.inf, 0]]), "finite numbers, got NaN or infinity"),
        (MAPS, lambda r: r.sample(1, condition=np.full((1, 4, 5, 1), -np.inf)), "finite numbers, got NaN or infinity"),
        (CODE, lambda r: r.surprise(some(r.model)[0]), "VAE cannot say how surprising each pixel is"),
        (GAN, lambda r: r.field(some(r.model)[0]), "DCGAN cannot show its receptive field"),
        (GRAY, lambda r: r.field(some(r.model)[0], at=(4, 0)), "inside the 4×5 image, got row 4, column 0"),
        (GRAY, lambda r: checked_mask(r.model, np.ones((5, 4), bool)), r"bool\[4, 5\].*got bool\[5, 4\]"),
        (GRAY, lambda r: checked_mask(r.model, np.ones((4, 5))), r"bool\[4, 5\].*got float64\[4, 5\]"),
        (GRAY, lambda r: r.log_prob(some(r.model)[0] + np.uint8(2)), "wanted values below 2, got 3"),
        (GRAY, lambda r: r.log_prob(some(r.model)[0].astype(int) - 3), "wanted values 0 to 1, got -3"),
        (GRAY, lambda r: r.surprise(np.full((1, 4, 5, 1), 2**40)), "wanted values below 2, got 1099511627776"),
        *(
            (GRAY, lambda r, x=x: checked_images(r.model, x), f"integers 0 to 1, got {x.dtype}: `images.from_")
            for x in (np.zeros((1, 4, 5, 1)), np.full((1, 4, 5, 1), np.nan, np.float32))
        ),
        (GAN, lambda r: drawing_rank(r.model), "DCGAN cannot show images growing"),
        (MIXED, lambda r: drawing_rank(r.model), "OrderEnsemble cannot show images growing: it mixes orders"),
        (MIXED, lambda r: r.sample(2, temperature=0.0), "temperature must be a number above 0 .*, got 0"),
    ],
)
def test_what_cannot_be_done_is_said(model, call, message):
    run = Trained(model, {"params": {}}, make_mesh())  # refused before variables are looked at
    with pytest.raises(UsageError, match=message):
        call(run)
