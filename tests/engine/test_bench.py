"""The benchmark counts arithmetic as closed forms say, and its figures agree with each other."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.core.model import batch_like
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.engine.bench import describe, measure, step_flops
from jaxgen.engine.jaxprs import count_flops
from jaxgen.engine.recipe import Recipe
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM

BATCH = 8


def recipe_of(model) -> Recipe:
    rng = np.random.default_rng(0)

    def split(n):
        return Split(rng.integers(0, model.levels, (n, *model.shape)).astype(np.uint8))

    data = Dataset("noise", model.levels, split(32), split(8), split(8), "noise")
    return Recipe(data=Source("noise", lambda: data), model=model, optimizer=optax.sgd(0.1), batch=BATCH, steps=10)


def flops_of_step(model) -> float:
    return step_flops(recipe_of(model), batch_like(model, BATCH))


def test_products_and_convolutions_have_their_closed_forms():
    a, b = jnp.ones((3, 4, 5)), jnp.ones((3, 5, 7))
    assert count_flops(jax.make_jaxpr(jnp.matmul)(a, b)) == 2 * 3 * 4 * 5 * 7
    x, k = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 5))

    def conv(x, k, **options):
        return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)

    assert count_flops(jax.make_jaxpr(conv)(x, k)) == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)
    depthwise = jax.make_jaxpr(lambda x, k: conv(x, k, feature_group_count=3))(x, jnp.ones((3, 3, 1, 6)))
    assert count_flops(depthwise) == 2 * (2 * 8 * 8 * 6) * (3 * 3)


def test_loops_count_as_often_as_they_run_and_branches_once():
    w = jnp.ones((6, 6))
    once = 2 * 4 * 6 * 6

    def looped(x):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=9)[0].sum()

    assert count_flops(jax.make_jaxpr(looped)(jnp.ones((4, 6)))) == 9 * once
    assert count_flops(jax.make_jaxpr(jax.grad(looped))(jnp.ones((4, 6)))) == 18 * once
    branches = jax.make_jaxpr(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x))
    assert count_flops(branches(jnp.ones((4, 6)))) == 2 * once


def test_a_training_step_of_a_perceptron_has_its_closed_form():
    model = VAE(shape=(8, 8, 1), levels=2, latent=4, hidden=(16,))
    first = 64 * 16
    forward = first + 2 * 16 * 4 + 4 * 16 + 16 * 64
    # backward: the weights' gradient of every map, and the input's of all but the first
    assert flops_of_step(model) == 2 * BATCH * (3 * forward - first)


def test_every_scanned_layer_counts():
    one, two, three = (
        flops_of_step(DiagonalBiLSTM(shape=(4, 4, 1), levels=2, layers=n, features=3, head_features=3))
        for n in (1, 2, 3)
    )
    assert three - two == two - one > 0


def test_figures_agree_with_each_other():
    actual = measure(recipe_of(VAE(shape=(8, 8, 1), levels=2, latent=4, hidden=(16,))), repeats=4)
    assert actual["devices"] == len(jax.devices())
    assert actual["batch"] == BATCH
    assert actual["images_per_s"] == pytest.approx(BATCH / actual["ms_per_step"] * 1e3, rel=1e-2)
    assert actual["gflop_per_s"] == pytest.approx(
        actual["gflop_per_step"] / actual["ms_per_step"] * 1e3, rel=0.2, abs=0.02
    )
    assert 0 <= actual["share_of_peak"] < 1
    assert 0 < actual["ms_per_step_best"] <= actual["ms_per_step"]
    assert actual["compile_s"] > 0
    assert actual["memory_mb"] > 1
    assert f"{actual['images_per_s']:,.0f} images/s" in describe(actual)


def test_what_fit_refuses_bench_refuses():
    recipe = dataclasses.replace(recipe_of(VAE(shape=(8, 8, 1), levels=2)), batch=3)
    with pytest.raises(UsageError, match="multiple of the 8 devices"):
        measure(recipe)
