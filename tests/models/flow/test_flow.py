"""Flows against their definitions: exact Jacobians, integrals over the plane, and probabilities by quadrature."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.pixel import random_variables

from jaxgen.core.conditions import Classes, Vector
from jaxgen.core.errors import UsageError
from jaxgen.models.flow.glow import Glow
from jaxgen.models.flow.nice import NICE
from jaxgen.models.flow.realnvp import RealNVP

KEY = jax.random.key(3)
MODELS = {
    "nice": NICE(shape=(2, 3, 1), levels=4, couplings=2, layers=1, features=5),
    "realnvp": RealNVP(shape=(2, 2, 1), levels=4, scales=2, couplings=1, blocks=1, features=3),
    "glow": Glow(shape=(4, 4, 1), levels=4, scales=2, steps=1, features=3, condition=Classes(3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_codes_and_densities_of_whole_models(name):
    """log p(x) is the prior's of the code plus the log-determinant of the Jacobian; the inverse gives the image back.
    In float64."""
    with jax.enable_x64(True):
        model = dataclasses.replace(MODELS[name], dtype="float64")
        variables = jax.tree.map(jnp.float64, random_variables(model, scale=0.2))
        x = jnp.asarray(np.random.default_rng(1).uniform(0.1, 0.9, (2, *model.shape)))
        labels = None if model.condition is None else jnp.array([0, 2])
        features = None if labels is None else jax.nn.one_hot(labels, 3, dtype="float64")[:, None, None]
        params = variables["params"]["flow"]

        def code(x, label, features):
            one = lambda a: None if a is None else a[None]  # noqa: E731
            z, _ = model.flow.forward(params, x[None], one(features))
            return z[0], (z[0], model.log_density(variables, x[None], one(label))[0])

        @jax.jit
        def everything(x, labels, features):
            jacobian, (z, density) = jax.vmap(jax.jacfwd(code, has_aux=True))(x, labels, features)
            return jacobian, z, density, model.flow.inverse(params, z, features)

        jacobian, z, density, back = map(np.asarray, everything(x, labels, features))
        np.testing.assert_allclose(back, x, atol=1e-9)
        prior = -z - 2 * np.log1p(np.exp(-z)) if name == "nice" else -0.5 * (z**2 + math.log(2 * math.pi))
        log_det = np.linalg.slogdet(jacobian.reshape(2, z.shape[1], -1))[1]
        np.testing.assert_allclose(density, prior.sum(axis=1) + log_det, rtol=1e-8)


PLANE = NICE(shape=(1, 1, 2), levels=3, couplings=2, layers=1, features=5)


def midpoints(low, high, num):
    """Points of a square, [num², 1, 1, 2], and the area that each stands for."""
    axis = low + (high - low) * (jnp.arange(num) + 0.5) / num
    return jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 1, 2), ((high - low) / num) ** 2


def test_a_density_of_the_plane_integrates_to_one():
    x, area = midpoints(-25.0, 25.0, 1000)
    density = jnp.exp(jax.jit(PLANE.log_density)(random_variables(PLANE), x))
    assert float(density.max()) < 10
    assert float(area * density.sum()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
def test_bounds_of_one_pixel_against_its_probability(dequantisation):
    """P(v) is the density's mean over the square of v: the bound lies below, and many draws come near."""
    model = dataclasses.replace(PLANE, dequantisation=dequantisation, noise_features=3)
    variables = random_variables(model)
    cells = np.stack(np.meshgrid(np.arange(3), np.arange(3)), -1).reshape(-1, 1, 1, 2)
    inside, area = midpoints(0.0, 1 / 3, 60)
    x = jnp.asarray(cells / 3, jnp.float32)[:, None] + inside
    density = jax.jit(model.log_density)(variables, x.reshape(-1, 1, 1, 2)).reshape(len(cells), -1)
    exact = jax.nn.logsumexp(density, axis=1) + math.log(area)
    image = jnp.asarray(cells, jnp.uint8)
    keys = jax.random.split(KEY, 4000)  # those of the many draws below as well

    @jax.jit
    def estimates(variables):
        one = jax.lax.map(lambda key: model.log_prob(variables, image, key), keys)
        return one, model.iwae_bound(variables, image, KEY, 4000)

    draws, many = estimates(variables)
    assert (draws.mean(0) < exact + 5 * draws.std(0) / math.sqrt(4000)).all()
    assert draws.mean(0).sum() < exact.sum()
    np.testing.assert_allclose(many, exact, atol=0.1 if dequantisation == "variational" else 0.02)


def test_nice_tells_the_density_of_continuous_images():
    """In the scale of 1410.8516: that of the images with their noise, [0, 1]."""
    variables, image = random_variables(PLANE), jnp.asarray([[[[0, 2]]], [[[1, 1]]]], jnp.uint8)

    @jax.jit
    def both(variables):
        noise, _ = PLANE.dequantiser.noise({}, image / 2, KEY)
        scores = PLANE.scores(variables, {"image": image}, KEY)
        return scores, PLANE.log_density(variables, (image + noise) / 3)

    scores, expected = both(variables)
    np.testing.assert_allclose(scores["continuous_log_prob"], expected, rtol=1e-5)
    np.testing.assert_allclose(scores["continuous_log_prob"] + scores["nats"], 2 * math.log(3), rtol=1e-5)


def test_samples_are_decoded_draws_of_the_prior_and_cool_to_one_image():
    variables = random_variables(PLANE)

    @jax.jit
    def drawing(variables):
        decoded = PLANE.decode(variables, PLANE.prior(KEY, 50)), PLANE.decode(variables, jnp.zeros((1, 2)))
        return PLANE.sample(variables, KEY, 50), PLANE.sample(variables, KEY, 50, temperature=1e-6), *decoded

    drawn, cold, decoded, middle = drawing(variables)
    np.testing.assert_array_equal(drawn, decoded)
    assert len(np.unique(np.asarray(drawn).reshape(50, -1), axis=0)) > 4
    np.testing.assert_array_equal(cold, np.broadcast_to(middle, cold.shape))
    with pytest.raises(UsageError, match="temperature must be a number above 0"):
        PLANE.sample(variables, KEY, 50, temperature=0.0)


def test_glow_stays_invertible_when_it_is_trained():
    """500 steps at the recipe's rate, on images of few patterns, which an affine coupling would like to press flat."""
    model = Glow(shape=(4, 4, 1), levels=256, scales=1, steps=1, features=4)
    draw = np.random.default_rng(0)
    pattern = draw.integers(0, 256, (4, *model.shape))
    image = jnp.asarray(np.clip(pattern[draw.integers(0, 4, 64)] + draw.integers(-2, 3, (64, *model.shape)), 0, 255))
    image = image.astype(jnp.uint8)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    (objective,) = model.objectives()

    @jax.jit
    def step(variables, state, key):
        gradient, aux = jax.grad(lambda v: objective.loss(v, {"image": image}, key), has_aux=True)(variables)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, updates), state, aux.metrics["bits_per_dim"]

    variables = jax.jit(model.init)(KEY, {"image": image})
    state, bits = optimizer.init(variables), []
    for i in range(500):
        variables, state, latest = step(variables, state, jax.random.fold_in(KEY, i))
        bits.append(float(latest))
    assert bits[-1] < bits[0] - 1

    @jax.jit
    def there_and_back(params, x):
        return model.flow.inverse(params, model.flow.forward(params, x)[0])

    x = (image + 0.5) / 256
    np.testing.assert_allclose(there_and_back(variables["params"]["flow"], x), x, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Glow(shape=(5, 4, 1), levels=4, scales=1), "5×4 can be halved 0 times"),
        (
            lambda: Glow(shape=(28, 28, 1), levels=4, scales=3),
            "halve the sides 3 times, and 28×28 can be halved 2 times",
        ),
        (lambda: RealNVP(shape=(6, 4, 1), levels=4, scales=3), "RealNVP: its scales halve the sides 2 times"),
        (lambda: Glow(shape=(4, 4, 1), levels=4, scales=1, coupling="rescaled"), 'coupling must be "affine" or "addi'),
        (lambda: Glow(shape=(4, 4, 1), levels=4, scales=1, convolution="lu"), 'convolution must be "plu" or "plain"'),
        (lambda: Glow(shape=(4, 4, 1), levels=4, scales=1, features=0), "Glow: features must be at least 1, got 0"),
        (lambda: NICE(shape=(4, 4, 1), levels=4, couplings=0), "NICE: couplings must be at least 1, got 0"),
        (lambda: NICE(shape=(1, 1, 1), levels=4), "wanted images of at least 2 numbers"),
        (lambda: NICE(shape=(4, 4, 1), levels=4, dequantisation="normal"), 'must be "uniform" or "variational"'),
        (lambda: NICE(shape=(4, 4, 1), levels=4, dtype="float16"), "NICE: dtype must be"),
        (lambda: Glow(shape=(4, 4, 1), levels=4, scales=1, condition=Vector(3)), "it takes Classes"),
        (lambda: RealNVP(shape=(4, 4, 1), levels=4, condition=Classes(3)), "it is unconditional"),
    ],
)
def test_settings_that_make_no_flow_are_refused(make, message):
    with pytest.raises(UsageError) as error:
        make()
    assert message in str(error.value)
