"""The information bottleneck against quadrature over a code of one number, closed forms, and data of two bits."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.models.latent.vib import VIB

MODEL = VIB(shape=(2, 2, 1), levels=2, classes=3, latent=1, hidden=(5,), draws=3000)
KEY = jax.random.key(5)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
IMAGES = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(np.uint8).reshape(16, 2, 2, 1)
LABELS = np.arange(16, dtype=np.int32) % 3
LOG2 = math.log(2)
BATCH = {"image": jnp.asarray(IMAGES), "label": jnp.asarray(LABELS)}


@pytest.fixture(scope="module")
def variables():
    """Weights so strong that the code matters, and σ from a tenth to two."""
    strong = jax.tree.map(lambda a: 2.0 * np.asarray(a), jax.jit(MODEL.init)(jax.random.key(1), {}))
    code = strong["params"]["encoder"]["code"]
    code["kernel"], code["bias"] = code["kernel"] * np.float32([1, 0.2]), np.float32([0.0, 5.0])
    return strong


@pytest.fixture(scope="module")
def exact(variables):
    """By quadrature over z, by hand: the means of q(y|z) and of −log q(y|z) of each image, and its μ and σ."""
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    x = 2.0 * IMAGES.reshape(16, 4) - 1.0
    layer, code = params["encoder"]["layer_0"], params["encoder"]["code"]
    hidden = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    mean, rho = (hidden @ code["kernel"] + code["bias"]).T
    sigma = np.log1p(np.exp(rho - 5))
    z = mean[:, None] + sigma[:, None] * NODES
    logits = z[..., None] * params["classifier"]["kernel"][0] + params["classifier"]["bias"]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -log_probs[np.arange(16), :, LABELS] @ WEIGHTS
    return np.einsum("bnc,n->bc", np.exp(log_probs), WEIGHTS), nats, mean, sigma


def loss_at(beta, variables):
    loss, aux = dataclasses.replace(MODEL, beta=beta).objectives()[0].loss(variables, BATCH, KEY)
    return loss, aux.metrics


@pytest.fixture(scope="module")
def program():
    """All that is asked of some variables, compiled once."""

    def everything(variables):
        return {
            "scores": MODEL.scores(variables, BATCH, KEY),
            "log_probs": MODEL.label_terms(variables, IMAGES, KEY, MODEL.draws)[0],
            "averaged": MODEL.class_log_probs(variables, IMAGES, KEY),
            "code": MODEL.encode(variables, IMAGES),
            "features": MODEL.features(variables, IMAGES),
            "losses": [loss_at(beta, variables) for beta in (0.0, 0.5)],
            "gradient": jax.grad(lambda v: loss_at(1.0, v)[0])(variables),
        }

    return jax.jit(everything)


@pytest.fixture(scope="module")
def actual(program, variables):
    return jax.device_get(program(variables))


def test_terms_are_those_of_the_paper(actual, exact):
    """KL(N(μ,σ²) ‖ N(0,1)) = ½(μ² + σ² − 1) − log σ; the mean of many draws is near that of q(y|z) over z."""
    probs, nats, mean, sigma = exact
    scores = actual["scores"]
    np.testing.assert_allclose(actual["code"][:, 0], mean, atol=1e-5)
    np.testing.assert_array_equal(actual["features"], actual["code"])
    np.testing.assert_allclose(scores["bits_zx"], (0.5 * (mean**2 + sigma**2 - 1) - np.log(sigma)) / LOG2, rtol=1e-4)
    np.testing.assert_allclose(np.exp(actual["averaged"]), probs, atol=0.03)
    np.testing.assert_allclose(np.exp(-scores["nats"]), probs[np.arange(16), LABELS], atol=0.03)
    np.testing.assert_allclose(scores["nats_1"], nats, rtol=0.1, atol=0.02)
    np.testing.assert_allclose(scores["bits_zy"], math.log2(3) - scores["nats_1"] / LOG2, atol=1e-5)


def test_averaged_draws_are_the_mean_of_single_ones(actual):
    """Whose error is that of a single draw, while the mean's likelihood is the better (Jensen)."""
    scores, probs = actual["scores"], np.exp(np.float64(actual["log_probs"]))
    np.testing.assert_allclose(np.exp(actual["averaged"]), probs.mean(0), atol=1e-5)
    np.testing.assert_allclose(scores["error_1"], 100.0 * (probs.argmax(2) != LABELS).mean(0), rtol=1e-5)
    np.testing.assert_array_equal(scores["error"], 100.0 * (actual["averaged"].argmax(1) != LABELS))
    assert 0 < scores["error_1"].mean() < 100
    assert (scores["nats"] < scores["nats_1"]).all()


def test_the_loss_is_bits_of_the_label_and_beta_times_those_of_the_code(actual):
    (plain, metrics), (whole, _) = actual["losses"]
    np.testing.assert_allclose(plain, metrics["nats"] / LOG2, rtol=1e-6)
    np.testing.assert_allclose(whole - plain, 0.5 * metrics["bits_zx"], rtol=1e-5)
    np.testing.assert_allclose(metrics["bits_zx"], actual["scores"]["bits_zx"].mean(), rtol=1e-5)


def test_a_code_without_noise_has_a_finite_divergence_and_gradient(program, variables):
    """σ = softplus(ρ − 5) leaves float32 at ρ = −100."""
    params = variables["params"]
    code = params["encoder"]["code"] | {"bias": np.float32([0.0, -500.0])}
    silent = {"params": params | {"encoder": params["encoder"] | {"code": code}}}
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(program(silent)))


def test_beta_trades_what_the_code_has_of_the_image_for_what_it_has_of_the_label():
    """Labels are one bit of the image. A small β learns it, and the code keeps at least that bit; a large one lets the
    code go, and a bit of the label is lost."""
    batch = {"image": jnp.asarray(IMAGES), "label": jnp.asarray(IMAGES[:, 0, 0, 0], jnp.int32)}

    def trained(beta):
        model = VIB(shape=(2, 2, 1), levels=2, classes=2, latent=2, hidden=(8,), beta=beta, draws=20)
        (objective,), optimizer = model.objectives(), optax.adam(0.03)

        def step(state, key):
            variables, moments = state
            gradient = jax.grad(lambda v: objective.loss(v, batch, key)[0])(variables)
            moves, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(variables, moves), moments), None

        @jax.jit
        def run():
            fresh = model.init(jax.random.key(0), {})
            (variables, _), _ = jax.lax.scan(step, (fresh, optimizer.init(fresh)), jax.random.split(KEY, 400))
            return model.scores(variables, batch, KEY)

        return {name: float(x.mean()) for name, x in run().items()}

    little, much = trained(1e-2), trained(3.0)
    assert little["error"] == 0
    assert little["bits_zx"] > little["bits_zy"] > 0.9
    assert much["bits_zx"] < 0.05
    assert abs(much["bits_zy"]) < 0.05


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"beta": -0.1}, "beta must be a finite number of at least 0, got -0.1"),
        ({"beta": math.nan}, "beta must be a finite number of at least 0, got nan"),
    ],
)
def test_settings_that_make_no_bottleneck_are_one_sentence(change, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(MODEL, **change)
