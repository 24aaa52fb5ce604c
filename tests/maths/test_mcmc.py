"""Chains against closed forms and quadrature; detailed balance to the last digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.maths.mcmc import chain, langevin, log_acceptance, log_proposal, mala

KEY = jax.random.key(5)
SIZES = (0.8, 0.2, 0.02)


def standard(z):
    return -0.5 * (z**2).sum(axis=1)


def skewed(z):
    """Of one number: two wells of unequal depth."""
    return (0.3 * z + z**2 / 2 - z**4 / 4)[:, 0]


def half(z):
    """Of one number: a normal's bell cut in the middle."""
    return jnp.where(z[:, 0] > 0, -0.5 * z[:, 0] ** 2, -jnp.inf)


def bent(z):
    """A banana with a quartic tail, in three dimensions of which two hang together."""
    x, y = z[:, 0, 0], z[:, 1, 0]
    return -0.5 * x**2 - 2.0 * (y - 0.5 * x**2) ** 2 - 0.1 * z[:, 2, 0] ** 4


@pytest.fixture(scope="module")
def chains():
    """Chains on N(0, I₈) from the origin by the size of their steps, unadjusted ones on it, skewed ones, and those of
    a half line: one program."""

    @jax.jit
    def program():
        origin = jnp.zeros((1000, 8))
        return (
            {size: mala(standard, origin, KEY, 80, size) for size in SIZES},
            langevin(standard, origin, KEY, 80, 0.5).z[20:],
            mala(skewed, jnp.zeros((1000, 1)), KEY, 400, 0.5).z[50:],
            mala(half, jnp.ones((400, 1)), KEY, 300, 0.3),
        )

    return jax.tree.map(np.asarray, program())


def test_mala_has_the_variance_of_its_target_and_langevin_that_of_its_bias(chains):
    adjusted, unadjusted, *_ = chains
    assert 0.98 < adjusted[0.8].z[20:].var() < 1.02
    assert unadjusted.var() == pytest.approx(1 / (1 - 0.5 / 2), rel=0.01)


def test_acceptance_goes_to_one_with_the_step_size_and_is_of_moves(chains):
    adjusted, *_ = chains
    rates = [adjusted[size].accepted.mean() for size in SIZES]
    assert rates == sorted(rates)
    assert rates[0] < 0.9
    assert rates[-1] > 0.995
    for actual in adjusted.values():
        np.testing.assert_array_equal((actual.z[1:] != actual.z[:-1]).any(axis=-1), actual.accepted)


def test_moments_of_a_target_that_is_not_gaussian_are_those_by_quadrature(chains):
    _, _, z, _ = chains
    at = np.linspace(-5, 5, 4001)
    density = np.exp(np.asarray(skewed(at[:, None])))
    for power in (1, 2, 3, 4):
        moment = (density * at**power).sum() / density.sum()
        assert (z**power).mean() == pytest.approx(moment, rel=0.03), power


def test_detailed_balance_holds_on_random_pairs():
    """π(z) q(z'|z) a(z → z') = π(z') q(z|z') a(z' → z), where some moves are certain and some are not."""
    with jax.enable_x64(True):
        a, b = jax.random.normal(KEY, (2, 500, 3, 1), "float64")

        @jax.jit
        def flow(z, to):
            return bent(z) + log_proposal(bent, to, z, 0.3) + log_acceptance(bent, z, to, 0.3)

        np.testing.assert_allclose(flow(a, b), flow(b, a), rtol=1e-12)
        certain = np.asarray(log_acceptance(bent, a, b, 0.3)) == 0
    assert 0.2 < certain.mean() < 0.8


def test_a_proposal_is_normal_around_a_step_along_the_gradient():
    """By hand, up to the constant of −n/2 log 4πα."""
    z, to = np.random.default_rng(0).normal(size=(2, 4, 3))
    mean = z - 0.3 * z
    with jax.enable_x64(True):
        np.testing.assert_allclose(log_proposal(standard, to, z, 0.3), -((to - mean) ** 2).sum(1) / 1.2, rtol=1e-12)


def test_a_chain_never_leaves_where_its_density_is(chains):
    """Of a half line, whose mean it has."""
    *_, actual = chains
    assert (actual.z > 0).all()
    assert not actual.accepted.all()
    assert actual.z[50:].mean() == pytest.approx((2 / np.pi) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("steps", "size", "said"), [(0, 0.1, "at least 1 step, got 0"), (1, 0.0, "above 0, got 0")])
def test_what_makes_no_chain_is_refused(steps, size, said):
    for name in ("mala", "langevin"):
        with pytest.raises(UsageError, match=said):
            chain(name)(standard, jnp.zeros((1, 2)), KEY, steps, size)


def test_an_unknown_chain_is_told_the_known_ones():
    with pytest.raises(UsageError, match=r"one of mala, langevin, got 'malla'. Did you mean 'mala'\?"):
        chain("malla")
