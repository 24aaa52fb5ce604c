"""The VAE against enumeration: one latent integrated by quadrature, every 2×2 image in turn."""

import dataclasses
import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.core.conditions import Classes, Map
from jaxgen.core.errors import UsageError
from jaxgen.maths.distributions import gaussian_kl
from jaxgen.models.latent.vae import VAE

TINY = {
    "bernoulli": VAE(shape=(2, 2, 1), levels=2, latent=1, hidden=(5,)),
    "softmax": VAE(shape=(1, 3, 1), levels=3, latent=1, hidden=(5,)),
    "logistic": VAE(shape=(1, 1, 2), levels=4, latent=1, hidden=(5,), likelihood="logistic", components=2),
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
    model, draw = TINY[request.param], np.random.default_rng(5)
    fresh = jax.device_get(jax.jit(model.init)(jax.random.key(1), {})["params"])
    noise = lambda a: 0.3 * draw.standard_normal(a.shape, np.float32)  # noqa: E731
    noisy = jax.tree.map(lambda a: 2.0 * a + noise(a), fresh["decoder"])
    wide = jax.tree.map(lambda a: 0.3 * a, fresh["encoder"])  # near the prior: importance weights bounded
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
    return jax.nn.logsumexp(jax.jit(jax.vmap(at))(prior_nodes()), 0, weights())


def draws_of(bound, key, num):
    """`num` independent draws of a bound, [num, images], compiled once."""
    return jax.jit(jax.vmap(bound))(jax.random.split(key, num))


def test_quadrature_sums_to_one_over_images(exact):
    np.testing.assert_allclose(jnp.exp(exact).sum(), 1, atol=1e-5)
    assert exact.max() - exact.min() > 0.5  # the weights are strong enough to tell images apart


@pytest.mark.parametrize("tiny", ["bernoulli", "softmax"], indirect=True)
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

    @jax.jit
    def by_quadrature(nodes):
        mean, log_var = model.posterior(variables, images)
        at = lambda e: model.log_likelihood(variables, images, mean + jnp.exp(0.5 * log_var) * e)  # noqa: E731
        return (weights() * jax.vmap(at)(nodes)).sum(0) - gaussian_kl(mean, log_var)

    elbo = by_quadrature(prior_nodes())
    assert (elbo < exact).all()
    draws = draws_of(lambda key: model.log_prob(variables, images, key), KEY, 2000)
    error = 5 * draws.std(0) / math.sqrt(len(draws)) + 1e-5
    assert (jnp.abs(draws.mean(0) - elbo) < error).all()


def test_with_many_samples_the_importance_bound_is_the_likelihood(tiny, exact):
    model, variables, images = tiny
    many = jax.jit(lambda key: model.iwae_bound(variables, images, key, 20_000))(KEY)
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


def trained_on_black_and_white(**settings):
    """A tiny VAE after 300 steps on images all black or all white, half each, and these."""
    import optax

    model = VAE(shape=(2, 2, 1), levels=2, latent=1, hidden=(8,), **settings)
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
    return model, variables, images


def test_a_trained_tiny_vae_meets_the_entropy_of_its_data():
    """Bound and likelihood come near −log 2 and keep their order.

    The bound stays further away: one Gaussian per image cannot be the half of a Gaussian that the posterior is. Without
    the KL term posteriors are points beside the way between them: what is given back, all that the loss then sees,
    is certain, and the ELBO worse than that of noise.
    """
    model, variables, images = trained_on_black_and_white()
    bound = draws_of(lambda key: model.log_prob(variables, images, key), KEY, 200).mean()
    exact = log_prob_by_quadrature(model, variables, images).mean()
    assert -1.25 < bound < exact - 0.1
    assert -0.9 < exact < -math.log(2)
    _, others, _ = trained_on_black_and_white(beta=0.0)

    @jax.jit
    def seen(variables):
        code, scores = model.encode(variables, images), model.scores(variables, {"image": images}, KEY)
        apart = jnp.abs(code[0] - code[-1])[0]
        return model.reconstruct(variables, images), scores["posterior_std"].mean() / apart, scores

    back, width, _ = seen(variables)
    np.testing.assert_array_equal(back, images)
    _, narrow, scores = seen(others)
    assert 4 * narrow < width
    assert scores["log_likelihood"].mean() > -0.01
    assert scores["nats"].mean() > 4 * math.log(2)
    np.testing.assert_allclose(scores["nats"], scores["kl"] - scores["log_likelihood"], rtol=1e-6)


def test_reconstruction_is_the_rounded_mean(tiny):
    """Of a channel given those before it as they were rounded."""
    model, variables, images = tiny

    @jax.jit
    def both(images):
        (outputs,) = model.decoder.apply({"params": variables["params"]["decoder"]}, model.encode(variables, images))
        outputs = outputs.reshape(*images.shape[:3], *model.head.shape)
        back = model.reconstruct(variables, images)
        return back, jnp.exp(model.head.log_pmf(outputs, back / jnp.float32(model.levels - 1)))

    back, pmf = (np.asarray(a, np.float64) for a in both(images))
    mean = (pmf * np.arange(model.levels)).sum(-1)
    clear = np.abs(mean % 1 - 0.5) > 1e-4
    assert clear.mean() > 0.9
    assert (back == np.round(mean))[clear].all()


# The loss


def loss_of(model, variables, images):
    """The loss at a key, and its metrics."""
    loss, aux = model.objectives()[0].loss(variables, {"image": images}, KEY)
    return loss, aux.metrics


def test_beta_and_free_bits_change_the_loss_and_not_the_figures():
    plain = VAE(shape=(2, 2, 1), levels=2, latent=3, hidden=(6,))
    held = dataclasses.replace(plain, beta=0.5, free_bits=0.3)
    images = everything(plain)

    @jax.jit
    def both(key):
        variables = jax.tree.map(lambda a: 1.5 * a, plain.init(key, {}))
        mean, log_var = plain.posterior(variables, images)
        each = 0.5 * (mean**2 + jnp.exp(log_var) - 1 - log_var).mean(axis=0)
        log_probs = [model.log_prob(variables, images, KEY) for model in (plain, held)]
        return each, log_probs, loss_of(plain, variables, images), loss_of(held, variables, images)

    each, log_probs, (loss, metrics), (other, figures) = jax.device_get(both(KEY))
    np.testing.assert_allclose(loss, metrics["nats"], rtol=1e-6)
    np.testing.assert_allclose(loss, metrics["kl"] - metrics["log_likelihood"], rtol=1e-6)
    np.testing.assert_allclose(each.sum(), metrics["kl"], rtol=1e-5)
    assert each.min() < 0.3 < each.max()  # some are held, some are not
    np.testing.assert_allclose(other, -metrics["log_likelihood"] + 0.5 * np.maximum(0.3, each).sum(), rtol=1e-5)
    assert figures == metrics
    np.testing.assert_array_equal(*log_probs)


def test_bits_that_are_free_pull_no_posterior():
    """With more free than is used, the gradient is that of the likelihood alone, which β = 0 leaves."""
    models = [dataclasses.replace(TINY["bernoulli"], **knobs) for knobs in (dict(free_bits=10.0), dict(beta=0.0))]
    images = everything(models[0])

    @jax.jit
    def gradients(key):
        variables = models[0].init(key, {})
        return [jax.grad(lambda v, m=m: loss_of(m, v, images)[0])(variables) for m in models]

    for a, b in zip(*map(jax.tree.leaves, gradients(KEY)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


# The condition


def test_a_conditional_vae_is_a_distribution_for_each_class():
    """Both nets are told the class: images of each sum to one, and codes of an image differ; −1 is no label."""
    model = VAE(shape=(1, 3, 1), levels=2, latent=1, hidden=(5,), condition=Classes(2, dropout=0.5))
    images, draw = everything(model), np.random.default_rng(0)
    fresh = jax.jit(model.init)(KEY, {})
    variables = jax.tree.map(lambda a: np.asarray(a) + 0.5 * draw.standard_normal(a.shape, np.float32), fresh)
    variables["params"]["encoder"] = jax.tree.map(lambda a: 0.3 * np.asarray(a), fresh["params"]["encoder"])
    label = lambda y: jnp.full((len(images),), y)  # noqa: E731

    @jax.jit
    def log_prob(y):
        at = lambda z: model.log_likelihood(variables, images, jnp.broadcast_to(z, (len(images), 1)), label(y))  # noqa: E731
        return jax.nn.logsumexp(jax.vmap(at)(prior_nodes()), 0, weights())

    exact = np.stack([log_prob(y) for y in (-1, 0, 1)])
    np.testing.assert_allclose(np.exp(exact).sum(axis=1), 1, atol=1e-5)
    assert (np.abs(np.diff(exact, axis=0)).max(axis=1) > 0.05).all()
    bound = jax.jit(lambda y: model.iwae_bound(variables, images, KEY, 5000, label(y)))
    np.testing.assert_allclose(np.stack([bound(0), bound(1)]), exact[1:], atol=0.05)
    encode = jax.jit(lambda y: model.encode(variables, images, y))
    codes = [encode(y) for y in (None, label(-1), label(0), label(1))]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert (jnp.abs(codes[2] - codes[3]) > 1e-3).all()


def test_a_conditional_vae_wants_its_labels():
    model = VAE(shape=(2, 2, 1), levels=2, latent=1, hidden=(5,), condition=Classes(2))
    images = everything(model)
    with pytest.raises(UsageError, match="VAE is conditional on labels"):
        model.log_prob({}, images, KEY)
    with pytest.raises(UsageError, match=re.escape("VAE knows the classes 0 to 1: got 2")):
        model.encode({}, images, np.full(len(images), 2))


def test_half_precision_computes_in_it_and_returns_float32():
    half = VAE(shape=(2, 2, 1), levels=2, latent=3, hidden=(16,), dtype="bfloat16")
    full = VAE(shape=(2, 2, 1), levels=2, latent=3, hidden=(16,))
    variables, images = jax.jit(half.init)(KEY, {}), everything(half)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(variables))
    coarse, fine = jax.jit(lambda v: [m.log_prob(v, images, KEY) for m in (half, full)])(variables)
    assert coarse.dtype == jnp.float32
    np.testing.assert_allclose(coarse, fine, atol=0.1)
    assert (coarse != fine).any()


def test_the_default_has_the_parameters_that_its_checkpoints_have():
    model = VAE(shape=(4, 4, 1), levels=2, latent=3, hidden=(8, 6))
    params = jax.eval_shape(model.init, KEY, {})["params"]
    dense = lambda i, o: {"kernel": (i, o), "bias": (o,)}  # noqa: E731
    encoder = {"layer_0": dense(16, 8), "layer_1": dense(8, 6), "mean": dense(6, 3), "log_var": dense(6, 3)}
    decoder = {"layer_0": dense(3, 6), "layer_1": dense(6, 8), "logits": dense(8, 16)}
    assert jax.tree.map(lambda a: a.shape, params) == {"encoder": encoder, "decoder": decoder}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (dict(latent=0), "VAE: latent must be at least 1, got 0."),
        (dict(hidden=(20, 0)), "VAE: hidden must be at least 1, got (20, 0)."),
        (dict(components=0), "VAE: components must be at least 1, got 0."),
        (dict(net="cnn"), "VAE: net must be one of dense, conv, got 'cnn'."),
        (dict(net="conv", hidden=()), "VAE: net='conv' wants at least one map in hidden, as (32, 64), got ()."),
        (dict(likelihood="gauss"), "VAE: likelihood must be one of bernoulli, softmax, logistic, got 'gauss'."),
        (dict(levels=3, likelihood="bernoulli"), "VAE: a Bernoulli head is for 2 levels, got 3"),
        (dict(beta=-1.0), "VAE: beta must be a number of at least 0, got -1.0."),
        (dict(free_bits=-0.1), "VAE: free_bits must be a number of at least 0, got -0.1."),
        (dict(beta=math.nan), "VAE: beta must be a number of at least 0, got nan."),
        (dict(condition=Map(1)), "VAE cannot be conditioned on Map(channels=1): it takes Classes or Vector."),
    ],
)
def test_settings_that_make_no_vae_are_refused(knobs, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        VAE(**{"shape": (2, 2, 1), "levels": 2, **knobs})
