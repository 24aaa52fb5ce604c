"""Muon orthogonalises the matrices that nets mean, and leaves the rest to Adam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.pixel import random_variables

from jaxgen.core.errors import UsageError
from jaxgen.engine.optimizers import muon, warmup_cosine
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN


def update(model):
    """The first update for a random gradient, by path."""
    params, draw = random_variables(model)["params"], np.random.default_rng(1)
    gradient = jax.tree.map(lambda a: jnp.asarray(draw.standard_normal(a.shape), a.dtype), params)

    @jax.jit
    def first(gradient, params):
        return [o.update(gradient, o.init(params), params)[0] for o in (muon(1e-2, 1e-3), optax.nadam(1e-3))]

    moves, by_adam = first(gradient, params)
    flat = jax.tree_util.tree_leaves_with_path(moves)
    return {
        jax.tree_util.keystr(p, simple=True, separator="/"): (m, a) for (p, m), a in zip(flat, jax.tree.leaves(by_adam))
    }


def spread(matrix):
    """Largest over smallest singular value."""
    values = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    return values.max() / values.min()


@pytest.mark.parametrize("kind", [PixelCNN, DiagonalBiLSTM])
def test_kernels_become_orthogonal_and_the_rest_is_adams(kind):
    actual = update(kind(shape=(8, 8, 1), levels=2, layers=2, features=8, head_features=8))
    matrices = {name for name in actual if name.endswith("kernel") and "logits" not in name} | {
        name for name in actual if name.endswith("state_to_state")
    }
    for name, (move, adam) in actual.items():
        if name not in matrices:
            np.testing.assert_allclose(move, adam, rtol=1e-5, atol=1e-8, err_msg=name)
            continue
        stack = move if "layers" in name else move[None]
        if name.endswith("state_to_state"):
            stack = stack.reshape(-1, *stack.shape[-2:])
        for one in stack:
            matrix = one.reshape(-1, one.shape[-1])
            # Five Newton–Schulz steps bring singular values near one, between .7 and 1.2 or so.
            assert spread(matrix) < 2.5, name
            size = 1e-2 * 0.2 * np.sqrt(max(matrix.shape)) * np.sqrt(min(matrix.shape))
            assert np.linalg.norm(matrix) == pytest.approx(size, rel=0.3), name


def test_weight_decay_shrinks_the_matrices_alone():
    model = DiagonalBiLSTM(shape=(8, 8, 1), levels=2, layers=2, features=8, head_features=8)
    params = random_variables(model)["params"]

    @jax.jit
    def first(params):
        return [o.update(params, o.init(params), params)[0] for o in (muon(1e-2, weight_decay=0.5), muon(1e-2))]

    decayed, plain = first(params)
    for (path, param), one, other in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(decayed), jax.tree.leaves(plain)
    ):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        matrix = name.endswith(("kernel", "state_to_state")) and "logits" not in name
        np.testing.assert_allclose(one, other - 5e-3 * param * matrix, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("name", ["learning_rate", "adam_learning_rate", "weight_decay"])
def test_negative_rates_are_refused_by_name(name):
    rates = {"learning_rate": optax.constant_schedule(0.1), "adam_learning_rate": 0.0, "weight_decay": 0.0}
    muon(**rates)
    with pytest.raises(UsageError, match=rf"^muon wants a {name} of at least 0, got -0\.001\.$"):
        muon(**rates | {name: -1e-3})


def test_it_lowers_a_loss():
    model = PixelCNN(shape=(6, 6, 1), levels=2, layers=1, features=4, head_features=4)
    variables, optimizer = jax.jit(model.init)(jax.random.key(0), {}), muon(1e-2)
    batch = {"image": jnp.asarray(np.tri(6, dtype=np.uint8)[None, ..., None].repeat(4, 0))}
    (objective,) = model.objectives()

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(lambda p: objective.loss({"params": p}, batch, jax.random.key(0))[0])(params)
        moves, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, moves), state, loss

    params, losses = variables["params"], []
    state = optimizer.init(params)
    for _ in range(40):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    assert losses[-1] < 0.6 * losses[0]


def test_the_schedule_rises_in_a_line_and_falls_by_a_cosine():
    rate = warmup_cosine(2.0, 100, 20)
    np.testing.assert_allclose([rate(t) for t in (0, 5, 20)], [0, 0.5, 2], rtol=1e-6)
    fall = [1 + np.cos(np.pi * (t - 20) / 80) for t in (30, 60, 90)]
    np.testing.assert_allclose([rate(t) for t in (30, 60, 90)], fall, rtol=1e-5)
    assert rate(100) == pytest.approx(0, abs=1e-6)


def test_a_run_shorter_than_its_warm_up_still_reaches_its_peak():
    rate = warmup_cosine(2.0, 4, 200)
    np.testing.assert_allclose([rate(t) for t in range(5)], [0, 1, 2, 1, 0], atol=1e-6)


@pytest.mark.parametrize(("peak", "warmup"), [(-1.0, 20), (1.0, -1)])
def test_a_schedule_below_zero_is_refused(peak, warmup):
    with pytest.raises(UsageError, match="a rate and a warm-up of at least 0"):
        warmup_cosine(peak, 100, warmup)
