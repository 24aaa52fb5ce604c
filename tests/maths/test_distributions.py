"""The heads: probabilities that sum to one whatever the net puts out, held against formulas in float64."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.maths.distributions import (
    LEAST_LOG_SCALE,
    LogisticMixture,
    Softmax,
    bernoulli_log_prob,
    categorical_log_prob,
)

heads = pytest.mark.parametrize(
    "head", [kind(levels, c) for kind in (LogisticMixture, Softmax) for c in (1, 3) for levels in (2, 5, 256)], ids=str
)
mixtures = pytest.mark.parametrize(
    "head", [LogisticMixture(levels, c, 4) for c in (1, 3) for levels in (2, 5, 256)], ids=str
)


@functools.cache
def compiled(head, method):
    """A method of a head, `(outputs, value or x[, channel])`."""
    return jax.jit(getattr(head, method), static_argnums=(2,) if method.endswith("_at") else ())


def outputs_and_values(head, num=200, seed=0, scale=1.0):
    """Ordinary outputs of a net, and pixels. The logistics are made narrower than an image is wide."""
    draw = np.random.default_rng(seed)
    outputs = scale * draw.normal(size=(num, *head.shape))
    if isinstance(head, LogisticMixture):
        outputs[:, (1 + head.channels) * head.components : (1 + 2 * head.channels) * head.components] -= 1.5
    return outputs.astype(np.float32), draw.integers(0, head.levels, (num, head.channels)).astype(np.uint8)


def extreme_outputs(head):
    """Outputs [n,o] with every pair of: means far outside, at the edges and inside; scales from none to endless."""
    c, k = head.channels, head.components
    draw, actual = np.random.default_rng(0), []
    for mean, log_scale, lopsided in itertools.product(
        (-1e4, -30.0, -1.0, 0.3, 1.0, 30.0, 1e4), (-100.0, -7.0, -3.0, 0.0, 5.0, 40.0, 100.0), (False, True)
    ):
        parts = np.zeros((1 + 2 * c + c * (c - 1) // 2, k))
        parts[0] = np.linspace(-1e3, 1e3, k) if lopsided else 0
        parts[1 : 1 + c] = mean * (1 + 0.01 * draw.normal(size=(c, k)))
        parts[1 + c : 1 + 2 * c] = log_scale
        parts[1 + 2 * c :] = 50 * draw.normal(size=parts[1 + 2 * c :].shape)
        actual.append(parts.reshape(-1))
        parts[1 : 1 + c, ::2] *= -1  # components that disagree
        parts[1 + c : 1 + 2 * c, ::2] *= -1
        actual.append(parts.reshape(-1))
    return np.array(actual, np.float32)


def reference(head, outputs, value):
    """Σ_k w_k Π_j (F(b) − F(a)) in float64 (1701.05517, eq. 2 and 3), with log(F(b) − F(a)) = a + log(e^{b−a} − 1) −
    log(1 + e^a) − log(1 + e^b), which is stable for any a < b."""
    c, k, half = head.channels, head.components, 1 / (head.levels - 1)
    actual = []
    for y, v in zip(outputs.astype(np.float64), value.astype(int)):
        logits, means, scales, coefficients = np.split(y, np.cumsum([k, c * k, c * k]))
        means, scales = means.reshape(c, k).copy(), np.exp(np.maximum(scales.reshape(c, k), LEAST_LOG_SCALE))
        pairs, x = iter(np.tanh(coefficients.reshape(-1, k))), 2 * v / (head.levels - 1) - 1
        for j in range(c):
            for i in range(j):
                means[j] += next(pairs) * x[i]
        log_mass = logits - np.logaddexp.reduce(logits)
        for j in range(c):
            a, b = (x[j] - half - means[j]) / scales[j], (x[j] + half - means[j]) / scales[j]
            up_to_b, from_a = -np.logaddexp(0, -b), -np.logaddexp(0, a)
            inside = a + (b - a) + np.log(-np.expm1(a - b)) - np.logaddexp(0, a) - np.logaddexp(0, b)
            log_mass += up_to_b if v[j] == 0 else from_a if v[j] == head.levels - 1 else inside
        actual.append(np.logaddexp.reduce(log_mass))
    return np.array(actual)


@heads
def test_every_conditional_sums_to_one(head):
    outputs, value = outputs_and_values(head, scale=3.0)
    log_pmf = compiled(head, "log_pmf")(jnp.asarray(outputs), jnp.asarray(value / np.float32(head.levels - 1)))
    assert log_pmf.shape == (200, head.channels, head.levels)
    assert log_pmf.dtype == jnp.float32
    np.testing.assert_allclose(jnp.exp(log_pmf).sum(axis=-1), 1, atol=1e-5)


@heads
def test_log_prob_is_the_chain_of_the_conditionals(head):
    outputs, value = outputs_and_values(head)
    x = jnp.asarray(value / np.float32(head.levels - 1))
    chain = sum(
        np.take_along_axis(np.asarray(compiled(head, "log_pmf_at")(outputs, x, j)), value[:, j, None].astype(int), 1)
        for j in range(head.channels)
    )
    np.testing.assert_allclose(compiled(head, "log_prob")(outputs, value), chain[:, 0], rtol=1e-5, atol=1e-5)
    each = np.stack([compiled(head, "log_pmf_at")(jnp.asarray(outputs), x, j) for j in range(head.channels)], axis=1)
    np.testing.assert_allclose(compiled(head, "log_pmf")(jnp.asarray(outputs), x), each, rtol=1e-5, atol=1e-5)
    scores = [compiled(head, "scores_at")(jnp.asarray(outputs), x, j) for j in range(head.channels)]
    np.testing.assert_allclose(jax.nn.log_softmax(jnp.stack(scores, axis=1)), each, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", [LogisticMixture(5, 3, 4), Softmax(5, 3), LogisticMixture(2, 3, 4)], ids=str)
def test_a_channel_does_not_look_at_itself_or_later_ones(head):
    """Neither by its value nor by a gradient, in `log_pmf_at` as in `log_pmf`; of those before it, the mixture does."""
    outputs, value = outputs_and_values(head, num=5)
    x = jnp.asarray(value / np.float32(head.levels - 1))
    jacobian = functools.partial(jax.jacrev, argnums=1)
    whole = jax.jit(jax.vmap(jacobian(head.log_pmf)))(outputs, x)  # [n, c, levels, c]
    each = [jax.jit(jax.vmap(jacobian(lambda y, x, j=j: head.log_pmf_at(y, x, j))))(outputs, x) for j in range(3)]
    for seen in (np.asarray(whole), np.stack(each, axis=1)):
        moved = (seen != 0).any(axis=(0, 2))
        expected = np.tril(np.ones((3, 3), bool), -1) & isinstance(head, LogisticMixture)
        np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("head", [LogisticMixture(5, 3, 4), LogisticMixture(2, 3, 1), Softmax(5, 3)], ids=str)
def test_the_values_of_a_pixel_sum_to_one(head):
    outputs, _ = outputs_and_values(head, num=20, scale=3.0)
    values = np.array(list(itertools.product(range(head.levels), repeat=3)), np.uint8)
    shape = (len(values), *outputs.shape)
    log_prob = compiled(head, "log_prob")(
        jnp.broadcast_to(outputs, shape), np.broadcast_to(values[:, None], (*shape[:2], 3))
    )
    np.testing.assert_allclose(jnp.exp(log_prob).sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("head", [LogisticMixture(7, 3, 4), Softmax(7, 1), Softmax(2, 3)], ids=str)
def test_draws_follow_the_probabilities(head):
    """χ² of 50,000 draws of the last channel against its probabilities: within five standard errors."""
    outputs, value = outputs_and_values(head, num=1)
    x, last = jnp.asarray(value / np.float32(head.levels - 1)), head.channels - 1
    log_pmf = compiled(head, "log_pmf_at")(jnp.asarray(outputs), x, last)[0]
    noise = jax.random.gumbel(jax.random.key(0), (50_000, head.levels))  # as the samplers draw
    counts = np.bincount(np.asarray(jnp.argmax(log_pmf + noise, axis=-1)), minlength=head.levels)
    if isinstance(head, LogisticMixture):
        each = np.repeat(value, head.levels, axis=0)
        each[:, last] = np.arange(head.levels)
        joint = np.exp(reference(head, np.repeat(outputs, head.levels, axis=0), each))
        expected = 50_000 * joint / joint.sum()
    else:
        logits = np.asarray(outputs[0, last], np.float64)
        logits = np.append(0, logits) if head.levels == 2 else logits
        expected = 50_000 * np.exp(logits) / np.exp(logits).sum()
    chi2, freedom = ((counts - expected) ** 2 / expected).sum(), head.levels - 1
    assert expected.min() > 5
    assert abs(chi2 - freedom) < 5 * np.sqrt(2 * freedom)


# The mixture


@mixtures
def test_mixture_is_the_formula_of_the_paper(head):
    outputs, value = outputs_and_values(head, num=300, scale=2.0)
    wanted = reference(head, outputs, value)
    np.testing.assert_allclose(compiled(head, "log_prob")(outputs, value), wanted, rtol=2e-5, atol=2e-5)
    with jax.enable_x64(True):
        exact = compiled(head, "log_prob")(jnp.asarray(outputs, jnp.float64), value)
        assert exact.dtype == jnp.float64
        np.testing.assert_allclose(exact, wanted, rtol=1e-11, atol=1e-11)


@mixtures
def test_mixture_is_a_difference_of_sigmoids(head):
    """The same by the plainest of routes, where that is stable: wide logistics inside the image."""
    outputs, value = outputs_and_values(head, num=100)
    c, k, levels = head.channels, head.components, head.levels
    actual = []
    for y, v in zip(outputs.astype(np.float64).reshape(100, -1, k), value.astype(int)):
        x, edge = 2 * v / (levels - 1) - 1, 1 / (levels - 1)
        mass = np.exp(y[0]) / np.exp(y[0]).sum()
        for j in range(c):
            mean = y[1 + j] + sum(np.tanh(y[1 + 2 * c + j * (j - 1) // 2 + i]) * x[i] for i in range(j))
            below, up_to = (1 / (1 + np.exp(-(x[j] + e - mean) * np.exp(-y[1 + c + j]))) for e in (-edge, edge))
            mass = mass * ((1 if v[j] == levels - 1 else up_to) - (0 if v[j] == 0 else below))
        actual.append(np.log(mass.sum()))
    np.testing.assert_allclose(compiled(head, "log_prob")(outputs, value), actual, rtol=2e-5, atol=2e-5)


@mixtures
def test_extreme_parameters_still_sum_to_one(head):
    outputs = jnp.asarray(extreme_outputs(head))
    for level in (0, head.levels // 2, head.levels - 1):
        x = jnp.full((len(outputs), head.channels), level / (head.levels - 1), jnp.float32)
        log_pmf = compiled(head, "log_pmf")(outputs, x)
        assert jnp.isfinite(log_pmf).all()
        np.testing.assert_allclose(jnp.exp(log_pmf).sum(axis=-1), 1, atol=2e-5)


@mixtures
def test_extreme_parameters_have_exact_probabilities(head):
    """Where the mass is all but nothing too. Places in the image are exact to 1e-7 in float32, times 1/scale ≤ 1100."""
    outputs = extreme_outputs(head)
    for level in (0, head.levels // 2, head.levels - 1):
        value = np.full((len(outputs), head.channels), level, np.uint8)
        got = compiled(head, "log_prob")(outputs, value)
        np.testing.assert_allclose(got, reference(head, outputs, value), rtol=1e-5, atol=5e-4)


@mixtures
def test_extreme_parameters_have_finite_gradients(head):
    outputs = jnp.asarray(extreme_outputs(head))
    by_outputs = jax.jit(jax.grad(lambda y, v: compiled(head, "log_prob")(y, v).sum()))
    by_both = jax.jit(jax.grad(lambda y, x: compiled(head, "log_pmf")(y, x).sum(), argnums=(0, 1)))
    for level in (0, head.levels // 2, head.levels - 1):
        value = jnp.full((len(outputs), head.channels), level, jnp.uint8)
        assert jnp.isfinite(by_outputs(outputs, value)).all()
        assert all(jnp.isfinite(g).all() for g in by_both(outputs, value / jnp.float32(head.levels - 1)))


def test_the_gradient_of_the_mixture_is_that_of_its_formula():
    """Against central differences of the reference, for every one of its outputs."""
    head = LogisticMixture(256, 3, 2)
    outputs, value = outputs_and_values(head, num=6)
    got = np.asarray(jax.jit(jax.grad(lambda y: head.log_prob(y, value).sum()))(outputs))
    step = 1e-6 * np.eye(outputs.shape[1])
    y = outputs.astype(np.float64)
    wanted = np.stack([(reference(head, y + s, value) - reference(head, y - s, value)) / 2e-6 for s in step], axis=1)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)


def test_scales_below_the_least_are_the_least():
    head = LogisticMixture(256, 1, 1)
    outputs = jnp.array([[0.0, 0.1, s] for s in (LEAST_LOG_SCALE, LEAST_LOG_SCALE - 1, -100.0)])
    log_pmf = np.asarray(compiled(head, "log_pmf")(outputs, jnp.zeros((3, 1))))
    np.testing.assert_array_equal(log_pmf[1:], log_pmf[:1].repeat(2, axis=0))
    assert np.exp(log_pmf).max() > 0.85  # three to four scales to each side of the mean are in its bin


def test_likelihoods_of_half_precision_outputs_are_float32():
    for head in (LogisticMixture(256, 3, 2), Softmax(256, 3), Softmax(2, 1)):
        outputs, value = outputs_and_values(head, num=3)
        half = jnp.asarray(outputs, jnp.bfloat16)
        assert compiled(head, "log_prob")(half, value).dtype == jnp.float32
        assert compiled(head, "log_pmf_at")(half, jnp.asarray(value, jnp.float32), 0).dtype == jnp.float32


# Softmax and Bernoulli


def test_two_levels_are_a_bernoulli():
    outputs, value = outputs_and_values(Softmax(2, 3))
    p = 1 / (1 + np.exp(-outputs[..., 0].astype(np.float64)))
    log_prob = compiled(Softmax(2, 3), "log_prob")(outputs, value)
    np.testing.assert_allclose(log_prob, np.where(value == 1, np.log(p), np.log1p(-p)).sum(axis=1), rtol=1e-5)


def test_the_gradient_of_a_categorical_is_one_hot_minus_softmax():
    logits, value = jax.random.normal(jax.random.key(0), (7, 5)) * 30, jnp.arange(7) % 5
    gradient = jax.jit(jax.grad(lambda a: categorical_log_prob(a, value).sum()))(logits)
    np.testing.assert_allclose(gradient, jax.nn.one_hot(value, 5) - jax.nn.softmax(logits), atol=1e-6)


@pytest.mark.parametrize("head", [Softmax(256, 1), Softmax(256, 3), Softmax(2, 1), Softmax(2, 3)], ids=str)
def test_extreme_logits_still_sum_to_one(head):
    """In float32, of logits of 1e4 that agree, that differ, and of which one stands out: exact to float64, with finite
    gradients that sum to zero."""
    draw, shape = np.random.default_rng(0), (20, *head.shape)
    lonely = np.where(np.arange(head.shape[-1]) == 0, 1e4, -1e4) * np.ones(shape)
    outputs = np.concatenate([1e4 * draw.normal(size=shape), np.full(shape, 1e4), np.full(shape, -1e4), lonely])
    outputs = outputs.astype(np.float32)
    value = draw.integers(0, head.levels, (len(outputs), head.channels)).astype(np.uint8)
    log_pmf = compiled(head, "log_pmf")(outputs, value / np.float32(head.levels - 1))
    assert log_pmf.dtype == jnp.float32
    np.testing.assert_allclose(np.exp(log_pmf).sum(axis=-1, dtype=np.float32), 1, atol=1e-5)
    logits = outputs.astype(np.float64)
    logits = np.concatenate([0 * logits, logits], axis=-1) if head.levels == 2 else logits
    wanted = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    np.testing.assert_allclose(log_pmf, wanted, rtol=1e-6, atol=5e-3)  # a float32 near 3e4 is exact to 2e-3
    chosen = np.take_along_axis(wanted, value[..., None].astype(int), -1)[..., 0].sum(axis=-1)
    np.testing.assert_allclose(compiled(head, "log_prob")(outputs, value), chosen, rtol=1e-6, atol=5e-3)
    gradient = np.asarray(jax.jit(jax.grad(lambda y: head.log_prob(y, value).sum()))(outputs))
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient) <= 1).all()
    if head.levels > 2:
        np.testing.assert_allclose(gradient.sum(axis=-1), 0, atol=1e-5)


def test_a_bernoulli_is_the_softmax_over_two_levels_and_so_is_its_gradient():
    """Also for sizes without a divisor, one value, and logits that no float32 exponential holds."""
    draw = np.random.default_rng(0)
    for size in (1, 6, 7, 37, 64):
        logits = (
            jnp.asarray(8.0 * draw.standard_normal((3, size)), jnp.float32).at[0, 0].set(-300.0).at[1, 0].set(300.0)
        )
        value = draw.integers(0, 2, (3, size))

        def by_softmax(logits, value=value):
            return categorical_log_prob(jnp.stack([jnp.zeros_like(logits), logits], axis=-1), value).sum(axis=-1)

        ours = bernoulli_log_prob(logits, value)
        np.testing.assert_allclose(ours, by_softmax(logits), rtol=2e-6, atol=1e-5)
        slope = jax.grad(lambda logits, value=value: bernoulli_log_prob(logits, value).sum())(logits)
        np.testing.assert_allclose(slope, jax.grad(lambda x: by_softmax(x).sum())(logits), atol=1e-6)
    head = Softmax(2, 3)
    outputs = jnp.asarray(draw.standard_normal((2, 4, 5, 3, 1)), jnp.float32)
    image = jnp.asarray(draw.integers(0, 2, (2, 4, 5, 3)))
    each = head.log_prob(outputs, image)
    np.testing.assert_allclose(head.image_log_prob(outputs, image), each.sum(axis=(1, 2)), rtol=1e-6)
    log_pmf = head.log_pmf(outputs, image.astype(jnp.float32))
    want = jnp.take_along_axis(log_pmf, image[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(each, want.sum(axis=-1), rtol=1e-5, atol=1e-6)
