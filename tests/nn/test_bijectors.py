"""Bijectors: the inverse gives back what went in, and the log-determinant is that of the Jacobian."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.maths.distributions import gaussian_log_prob
from jaxgen.nn.bijectors.base import Chain, summed
from jaxgen.nn.bijectors.coupling import LEAST_SCALE, Coupling
from jaxgen.nn.bijectors.dequantise import ConvNet
from jaxgen.nn.bijectors.elementwise import Logit, Sigmoid
from jaxgen.nn.bijectors.linear import ActNorm, InvertibleConv, LearnedPrior, Scaling, TriangularConv, rotation
from jaxgen.nn.bijectors.squeeze import Alternate, FactorOut, Flatten, Squeeze

NET = functools.partial(ConvNet, features=3)
BIJECTORS = {
    "additive": (Coupling(NET, kind="additive"), (2, 3, 3)),
    "affine": (Coupling(NET, flipped=True), (2, 3, 3)),
    "affine-checkerboard": (Coupling(NET, "checkerboard", conditional=True), (3, 2, 1)),
    "rescaled-checkerboard": (Coupling(NET, "checkerboard", flipped=True, kind="rescaled"), (3, 2, 2)),
    "scaling": (Scaling(), (5,)),
    "actnorm": (ActNorm(), (2, 2, 3)),
    "plain": (InvertibleConv(), (2, 2, 3)),
    "plu": (TriangularConv(3), (2, 2, 3)),
    "prior": (LearnedPrior(), (2, 2, 2)),
    "logit": (Logit(), (2, 2, 1)),
    "sigmoid": (Sigmoid(), (2, 2, 1)),
    "alternate": (Chain((Flatten((1, 5, 1)), Alternate())), (1, 5, 1)),
    "scales": (
        Chain((Squeeze(), ActNorm(), FactorOut((1, 2, 8), Chain((TriangularConv(), Flatten((1, 2, 4))))))),
        (2, 4, 2),
    ),
}
B, LABELS = 3, jnp.eye(2)[jnp.array([0, 1, 1])][:, None, None]


def condition_of(name, shape):
    """Features of each pixel for a coupling that is conditional, of each example for a prior."""
    if name == "prior":
        return LABELS
    return jnp.broadcast_to(LABELS, (B, *shape[:2], 2)) if name == "affine-checkerboard" else None


def random_params(bijector, x, condition=None):
    draw = np.random.default_rng(0)
    like = jax.eval_shape(bijector.init, jax.random.key(0), x, condition)
    return jax.tree.map(lambda a: jnp.asarray(0.5 * draw.standard_normal(a.shape), jnp.float32), like)


def there_and_back(bijector, params, x):
    y, log_det = bijector.forward(params, x)
    return y, log_det, bijector.inverse(params, y)


@pytest.mark.parametrize("name", BIJECTORS)
def test_round_trip_and_log_det_of_the_jacobian(name):
    """Of each example by itself, in float64; and in float32 the way back is exact to rounding."""
    bijector, shape = BIJECTORS[name]
    x = np.random.default_rng(1).uniform(0.1, 0.9, (B, *shape))
    condition = condition_of(name, shape)
    params = random_params(bijector, jnp.asarray(x), condition)

    double = bijector
    if isinstance(bijector, Coupling):
        double = dataclasses.replace(bijector, net=functools.partial(NET, dtype="float64"))

    def one(x, condition):
        y, log_det = double.forward(params, x[None], None if condition is None else condition[None])
        return y[0], (y[0], log_det[0])

    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, params)
        derived = jax.jit(jax.vmap(jax.jacfwd(one, has_aux=True)))
        jacobian, (y, log_det) = derived(jnp.asarray(x), None if condition is None else jnp.float64(condition))
        square = np.asarray(jacobian).reshape(B, x[0].size, x[0].size)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(square)[1], atol=1e-10)
        y = np.asarray(y)
    single = jax.tree.map(jnp.float32, params)
    back = jax.jit(bijector.inverse)(single, jnp.asarray(y, jnp.float32), condition)
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_what_a_coupling_leaves_and_moves():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((B, 4, 4, 2)), jnp.float32)
    board = np.indices((4, 4)).sum(0)[..., None] % 2 == 0
    for mask, passes in (("halves", np.array([True, False])), ("checkerboard", board)):
        ways = [Coupling(NET, mask, flipped) for flipped in (False, True)]
        params = [random_params(way, x) for way in ways]
        for flipped, y in enumerate(jax.jit(lambda p, x: [w.forward(q, x)[0] for w, q in zip(ways, p)])(params, x)):  # noqa: B023
            np.testing.assert_array_equal(np.asarray(y == x).all(0), np.broadcast_to(passes != flipped, (4, 4, 2)))


def test_no_scale_of_an_affine_coupling_falls_below_the_least():
    coupling = Coupling(functools.partial(ConvNet, features=1))
    x = jnp.ones((B, 1, 1, 2))
    params = random_params(coupling, x)
    params["net"]["output"]["bias"] = jnp.array([0.0, -100.0])
    np.testing.assert_allclose(jax.jit(coupling.forward)(params, x)[1], np.log(LEAST_SCALE), rtol=1e-5)


def test_activations_are_normalised_by_the_first_batch():
    draw = np.random.default_rng(0).standard_normal((16, 4, 4, 3))
    x = jnp.asarray(5.0 + 3.0 * draw * [0.1, 1.0, 20.0], jnp.float32)
    y, _ = jax.jit(lambda x: ActNorm().forward(ActNorm().init(jax.random.key(1), x), x))(x)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-4)


def test_triangular_factors_are_the_whole_kernel_and_begin_as_a_rotation():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((B, 2, 2, 4)), jnp.float32)
    triangular, whole = TriangularConv(7), InvertibleConv()
    np.testing.assert_allclose(rotation(4, 7) @ rotation(4, 7).T, np.eye(4), atol=1e-12)
    assert not np.allclose(rotation(4, 7), rotation(4, 8))

    @jax.jit
    def both(params, zeros):
        kernel = {"kernel": triangular.kernel(params)}
        ways = there_and_back(triangular, params, x), there_and_back(whole, kernel, x)
        return triangular.kernel(zeros), ways

    params = random_params(triangular, x)
    start, (factors, kernels) = both(params, triangular.init(jax.random.key(0), x))
    np.testing.assert_allclose(start, rotation(4, 7), atol=1e-6)
    for a, b in zip(factors, kernels):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_learned_prior_is_a_gaussian_of_each_class():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((B, 2, 1, 2)), jnp.float32)
    params = random_params(LearnedPrior(), x, LABELS)
    y, log_det = jax.jit(LearnedPrior().forward)(params, x, LABELS)
    standard = summed(-0.5 * (y**2 + np.log(2 * np.pi)))
    mean, s = (params[n] + LABELS @ params[f"{n}_kernel"] for n in ("mean", "log_scale"))
    expected = gaussian_log_prob(x.reshape(B, -1), *(jnp.tile(a.reshape(B, 2), 2) for a in (mean, 2 * s)))
    np.testing.assert_allclose(standard + log_det, expected, rtol=1e-5)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="unknown mask 'stripes': choose halves or checkerboard"):
        Coupling(NET, "stripes")
    with pytest.raises(UsageError, match="unknown coupling 'cubic': choose additive, rescaled or affine"):
        Coupling(NET, kind="cubic")
