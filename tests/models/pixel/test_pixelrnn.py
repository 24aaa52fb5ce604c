"""The pixel models' mathematics: who sees whom, that probabilities sum to one, and that samples follow them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import all_images, check_frequencies, random_variables, sensitivity

from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM

MODELS = {
    "pixelcnn": (PixelCNN, {}),
    "rowlstm": (RowLSTM, {}),
    "diagonal": (DiagonalBiLSTM, {}),
    "diagonal-paper": (DiagonalBiLSTM, {"wiring": "paper"}),
}


def make(name, shape, levels, layers=2, features=9, **options):
    kind, own = MODELS[name]
    return kind(shape=shape, levels=levels, layers=layers, features=features, head_features=12, **own, **options)


@pytest.mark.parametrize(("channels", "marks"), [(1, False), (3, True)])
@pytest.mark.parametrize("name", MODELS)
def test_sees_its_context_and_nothing_else(name, channels, marks):
    """The Jacobian is zero outside the declared context, and nonzero on all of it in some network."""
    model = make(name, (9, 10, channels), 2 + (channels == 3), layers=1 + marks, marks=marks)
    seen, context = sensitivity(model, draws=6 if channels == 1 else 12), model.context()
    assert not (seen & ~context).any(), f"leaks at {np.argwhere(seen & ~context)[:3]}"
    assert not (context & ~seen).any(), f"uncovered: {np.argwhere(context & ~seen)[:3]}"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wiring", ["full", "paper"])
def test_the_diagonal_hole_is_the_last_pixel_of_the_row_above(wiring, channels):
    """Three layers deep, the published wiring still misses it, and the mended one sees everything."""
    model = DiagonalBiLSTM(shape=(9, 9, channels), levels=3, layers=3, features=6, head_features=6, wiring=wiring)
    context = model.context()
    missing = np.tril(np.ones((81 * channels,) * 2, bool), -1).reshape(context.shape) & ~context
    if wiring == "full":
        assert not missing.any()
    else:
        expected = {(r, c, k, r - 1, 8, channels - 1) for r in range(1, 9) for c in range(5) for k in range(channels)}
        assert {tuple(i) for i in np.argwhere(missing).tolist()} == expected
    seen = sensitivity(model, draws=10 if channels == 3 else 4)
    assert not (seen & missing).any()
    assert not (seen & ~context).any()


@pytest.mark.parametrize(("shape", "levels"), [((3, 3, 1), 2), ((2, 2, 3), 2), ((2, 1, 3), 3)])
@pytest.mark.parametrize("name", MODELS)
def test_probabilities_sum_to_one(name, shape, levels):
    """Over all 2^9 binary 3×3 images, all 2^12 binary 2×2 RGB images, all 3^6 images of three levels."""
    model = make(name, shape, levels)
    images = all_images(shape, levels)
    log_prob = jax.jit(model.log_prob)(random_variables(model), images, jax.random.key(0))
    assert float(jnp.exp(log_prob.astype(jnp.float32)).sum()) == pytest.approx(1.0, abs=2e-5)


def test_three_levels_in_colour_sum_to_one():
    """All 3^12 images of 2×2×3 with three levels, in pieces."""
    model = make("diagonal", (2, 2, 3), 3, layers=1, features=3)
    variables, log_prob = random_variables(model), jax.jit(model.log_prob)
    images = all_images((2, 2, 3), 3).reshape(27, -1, 2, 2, 3)
    total = sum(float(jnp.exp(log_prob(variables, part, jax.random.key(0))).sum()) for part in images)
    assert total == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_samples_follow_the_probabilities(name):
    """χ² of 40,000 draws against the enumerated pmf of 2×2 images with three levels: within five standard errors."""
    model = make(name, (2, 2, 1), 3, layers=1)
    variables = random_variables(model, scale=0.6)
    images = all_images(model.shape, 3)
    probability = np.exp(np.asarray(jax.jit(model.log_prob)(variables, images, jax.random.key(0)), np.float64))
    draws = np.asarray(jax.jit(model.sample, static_argnums=2)(variables, jax.random.key(7), 40_000))
    check_frequencies(draws, probability, 3)


@pytest.mark.parametrize("name", MODELS)
def test_completion_keeps_what_is_given_and_draws_the_rest(name):
    model = make(name, (4, 5, 3), 5, layers=1)
    variables = random_variables(model)
    image = np.random.default_rng(0).integers(0, 5, (6, 4, 5, 3), np.uint8)
    given = np.zeros((4, 5), bool)
    given[:2] = True
    complete = jax.jit(model.complete)
    first, second = (np.asarray(complete(variables, jax.random.key(k), image, given)) for k in (0, 1))
    np.testing.assert_array_equal(first[:, :2], image[:, :2])
    assert (first[:, 2:] != second[:, 2:]).any()
    assert first.max() < 5
    # What was given draws nothing and hides nothing: with nothing given, completion is sampling.
    sampled = jax.jit(model.sample, static_argnums=2)(variables, jax.random.key(0), 6)
    np.testing.assert_array_equal(complete(variables, jax.random.key(0), image, np.zeros((4, 5), bool)), sampled)


def test_completion_is_the_conditional_distribution():
    """With the first row given, the second follows p(x) / Σ p over images that share the first row."""
    model = make("diagonal", (2, 2, 1), 2, layers=1)
    variables = random_variables(model, scale=0.6)
    images = all_images(model.shape, 2)
    probability = np.exp(np.asarray(jax.jit(model.log_prob)(variables, images, jax.random.key(0))))
    shared = (images[:, 0] == np.array([[1], [0]], np.uint8)).all(axis=(1, 2))
    wanted = probability[shared] / probability[shared].sum()
    n = 20_000
    start = np.broadcast_to(np.array([[[1], [0]], [[1], [1]]], np.uint8), (n, 2, 2, 1))
    given = np.array([[True, True], [False, False]])
    drawn = np.asarray(jax.jit(model.complete)(variables, jax.random.key(3), start, given)).reshape(n, 4)
    counts = np.bincount(drawn[:, 2] * 2 + drawn[:, 3], minlength=4)
    assert (np.abs(counts / n - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / n)).all()


@pytest.mark.parametrize("name", MODELS)
def test_bf16_computes_in_bf16_and_scores_in_float32(name):
    model = make(name, (6, 6, 1), 2, features=16)
    variables = random_variables(model, scale=0.05)
    image = np.random.default_rng(0).integers(0, 2, (4, 6, 6, 1), np.uint8)
    half = dataclasses.replace(model, dtype="bfloat16")
    a, b = (m.log_prob(variables, image, jax.random.key(0)) for m in (model, half))
    assert b.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, jax.random.key(0), {})))
    np.testing.assert_allclose(a, b, rtol=2e-2)
    assert (np.asarray(a) != np.asarray(b)).any()
    assert "bf16" in str(jax.make_jaxpr(half.logits)(variables, to_float(jnp.asarray(image), 2)))


@pytest.mark.parametrize("name", MODELS)
def test_few_layers_without_a_loop_are_what_they_are_in_one(name, monkeypatch):
    model = make(name, (4, 5, 1), 3, layers=3)
    batch = {"image": jax.random.randint(jax.random.key(0), (4, 4, 5, 1), 0, 3).astype(jnp.uint8)}
    variables = random_variables(model)
    loss = model.objectives()[0].loss

    def actual():
        step = jax.jit(jax.value_and_grad(lambda v: loss(v, batch, jax.random.key(1))[0]))
        return step.lower(variables).compile()(variables)

    alone = actual()
    monkeypatch.setattr("jaxgen.models.pixel.pixelrnn_net.FEW", 0)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(actual())):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_compile_time_does_not_grow_with_the_height(name):
    """The number of operations of a training step is the same for 6 rows as for 24."""

    def operations(height):
        model = make(name, (height, 8, 1), 2)
        batch = {"image": jnp.zeros((2, height, 8, 1), jnp.uint8)}
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), batch))
        loss = model.objectives()[0].loss
        step = jax.grad(lambda v: loss(v, batch, jax.random.key(0))[0])
        return str(jax.make_jaxpr(step)(variables)).count("=")

    assert operations(24) == operations(6)


def test_bad_settings_are_named():
    with pytest.raises(
        UsageError, match="PixelCNN: features must be at least 3, got 2: they are split in 3 colour groups"
    ):
        PixelCNN(shape=(4, 4, 3), levels=2, features=2)
    with pytest.raises(UsageError, match="levels"):
        RowLSTM(shape=(4, 4, 1), levels=1)
    model = make("pixelcnn", (4, 4, 1), 2)
    with pytest.raises(UsageError, match="unconditional"):
        model.sample(random_variables(model), jax.random.key(0), 1, condition=np.zeros(1))


def test_objectives_that_are_asked_for_again_trace_no_net_again():
    """Training asks for them at many places, of equal models too."""
    traced = []

    class _Counted(PixelCNN):
        def init(self, key, batch):
            traced.append(self)
            return super().init(key, batch)

    one, two = (_Counted(shape=(5, 4, 1), levels=2, layers=1, features=4) for _ in range(2))
    trained = [objective.trains for model in (one, one, two) for objective in model.objectives()]
    assert trained == [("embed", "head", "layers", "logits")] * 3
    assert len(traced) == 1
