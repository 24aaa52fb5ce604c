"""The VAE against enumeration: one latent integrated by quadrature, every 2×2 image in turn."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.core.errors import UsageError
from jaxgen.maths.distributions import gaussian_kl
from jaxgen.models.latent.vae import VAE

TINY = {
    "bernoulli": VAE(shape=(2, 2, 1), levels=2, latent=1, hidden=(5,)),
    "softmax": VAE(shape=(1, 3, 1), levels=3, latent=1, hidden=(5,)),
}
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
KEY = jax.random.key(5)


def everything(model):
    """Every image of the model's shape."""
    values = itertools.product(range(model.levels), repeat=math.prod(model.shape))
    return jnp.array(list(values), jnp.uint8).reshape(-1, *model.shape)


@pytest.fixture(scope="module", params=TINY)
def tiny(request):
    """A model, strong random weights so that the latent matters, and every image."""
    model = TINY[request.param]
    variables = jax.jit(model.init)(jax.random.key(1), {})
    noisy = jax.tree.map(lambda a: 2.0 * a + 0.3 * jax.random.normal(KEY, a.shape), variables["params"]["decoder"])
    wide = jax.tree.map(lambda a: 0.3 * a, variables["params"]["encoder"])  # near the prior: importance weights bounded
    return model, {"params": {"encoder": wide, "decoder": noisy}}, everything(model)


@pytest.fixture(scope="module")
def exact(tiny):
    """log p(x) of every image, by quadrature over z."""
    return log_prob_by_quadrature(*tiny)


def prior_nodes():
    return jnp.asarray(NODES, jnp.float32)


def weights():
    return jnp.asarray(WEIGHTS, jnp.float32)[:, None]


def log_prob_by_quadrature(model, variables, images):
    at = lambda z: model.log_likelihood(variables, images, jnp.broadcast_to(z, (len(images), 1)))  # noqa: E731
    return jax.nn.logsumexp(jax.vmap(at)(prior_nodes()), 0, weights())


def draws_of(bound, key, num):
    """`num` independent draws of a bound, [num, images], compiled once."""
    return jax.jit(jax.vmap(bound))(jax.random.split(key, num))


def test_quadrature_sums_to_one_over_images(exact):
    np.testing.assert_allclose(jnp.exp(exact).sum(), 1, atol=1e-5)
    assert exact.max() - exact.min() > 0.5  # the weights are strong enough to tell images apart


def test_likelihood_is_that_of_the_paper(tiny):
    """Bernoulli: x log p + (1 − x) log(1 − p), C.1 of 1312.6114; softmax: the log-probability of the level."""
    model, variables, images = tiny
    z = jnp.full((len(images), 1), 0.4)
    (logits,) = model.decoder.apply({"params": variables["params"]["decoder"]}, z)
    x = np.asarray(images).reshape(len(images), -1)
    if model.levels == 2:
        p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
        expected = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1)
    else:
        p = np.exp(np.asarray(logits, np.float64)).reshape(*x.shape, model.levels)
        expected = np.log(np.take_along_axis(p / p.sum(-1, keepdims=True), x[..., None], -1)).sum((1, 2))
    np.testing.assert_allclose(model.log_likelihood(variables, images, z), expected, atol=1e-5)


def test_elbo_is_a_lower_bound_and_log_prob_draws_it(tiny, exact):
    """The ELBO by quadrature over q lies below log p(x); the mean of `log_prob` over keys is that ELBO."""
    model, variables, images = tiny
    mean, log_var = model.posterior(variables, images)
    at = lambda e: model.log_likelihood(variables, images, mean + jnp.exp(0.5 * log_var) * e)  # noqa: E731
    elbo = (weights() * jax.vmap(at)(prior_nodes())).sum(0) - gaussian_kl(mean, log_var)
    assert (elbo < exact).all()
    draws = draws_of(lambda key: model.log_prob(variables, images, key), KEY, 2000)
    error = 5 * draws.std(0) / math.sqrt(len(draws)) + 1e-5
    assert (jnp.abs(draws.mean(0) - elbo) < error).all()


def test_importance_bound_rises_from_the_elbo_to_the_likelihood(tiny, exact):
    model, variables, images = tiny
    loose, middle, tight = (
        draws_of(lambda key: model.iwae_bound(variables, images, key, k), KEY, n)  # noqa: B023
        for k, n in [(1, 2000), (5, 400), (120, 50)]
    )
    elbo = draws_of(lambda key: model.log_prob(variables, images, key), KEY, 2000)
    error = lambda a: a.std(0) / math.sqrt(len(a))  # noqa: E731
    assert (jnp.abs(loose.mean(0) - elbo.mean(0)) < 5 * (error(loose) + error(elbo))).all()
    assert loose.mean() < middle.mean() < tight.mean()
    assert (tight.mean(0) < exact + 5 * error(tight)).all()
    many = model.iwae_bound(variables, images, KEY, 20_000)
    np.testing.assert_allclose(many, exact, atol=0.03)


def test_samples_have_the_enumerated_frequencies(tiny, exact):
    model, variables, images = tiny
    num = 20_000
    drawn = jax.jit(model.sample, static_argnums=2)(variables, jax.random.key(2), num)
    codes = model.levels ** np.arange(math.prod(model.shape))[::-1]
    index = np.asarray(drawn).reshape(num, -1) @ codes
    assert (np.asarray(images).reshape(len(images), -1) @ codes == np.arange(len(images))).all()
    expected = np.exp(np.asarray(exact, np.float64))
    assert stats.chisquare(np.bincount(index, minlength=len(images)), num * expected / expected.sum()).pvalue > 1e-3


def test_a_trained_tiny_vae_meets_the_entropy_of_its_data():
    """Images all black or all white, half each: bound and likelihood come near −log 2 and keep their order.

    The bound stays further away: one Gaussian per image cannot be the half of a Gaussian that the posterior is.
    """
    import optax

    model = VAE(shape=(2, 2, 1), levels=2, latent=1, hidden=(8,))
    images = jnp.repeat(jnp.array([0, 1], jnp.uint8), 32)[:, None, None, None] * jnp.ones((1, 2, 2, 1), jnp.uint8)
    variables = jax.jit(model.init)(jax.random.key(0), {})
    (objective,) = model.objectives()
    optimizer = optax.adam(0.03)

    @jax.jit
    def step(variables, state, key):
        gradient = jax.grad(lambda v: objective.loss(v, {"image": images}, key)[0])(variables)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, updates), state

    state = optimizer.init(variables)
    for i in range(300):
        variables, state = step(variables, state, jax.random.fold_in(KEY, i))
    bound = draws_of(lambda key: model.log_prob(variables, images, key), KEY, 200).mean()
    exact = log_prob_by_quadrature(model, variables, images).mean()
    assert -1.25 < bound < exact - 0.1
    assert -0.9 < exact < -math.log(2)
    np.testing.assert_array_equal(model.reconstruct(variables, images), images)


def test_reconstruction_is_the_rounded_mean(tiny):
    model, variables, images = tiny
    z = model.encode(variables, images)
    pmf = np.asarray(jax.nn.softmax(model.logits(variables, z)), np.float64)
    mean = (pmf * np.arange(model.levels)).sum(-1)
    clear = np.abs(mean % 1 - 0.5) > 1e-4
    assert (np.asarray(model.reconstruct(variables, images)) == np.round(mean))[clear].all()


def test_half_precision_computes_in_it_and_returns_float32():
    half = VAE(shape=(2, 2, 1), levels=2, latent=3, hidden=(16,), dtype="bfloat16")
    full = VAE(shape=(2, 2, 1), levels=2, latent=3, hidden=(16,))
    variables, images = jax.jit(half.init)(KEY, {}), everything(half)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(variables))
    coarse, fine = (m.log_prob(variables, images, KEY) for m in (half, full))
    assert coarse.dtype == jnp.float32
    np.testing.assert_allclose(coarse, fine, atol=0.1)
    assert (coarse != fine).any()


@pytest.mark.parametrize("knobs", [{"latent": 0}, {"hidden": (20, 0)}])
def test_sizes_must_be_positive(knobs):
    ((name, value),) = knobs.items()
    with pytest.raises(UsageError, match=re.escape(f"VAE: {name} must be at least 1, got {value}.")):
        VAE(shape=(2, 2, 1), levels=2, **knobs)
