"""Mixtures of Gaussians, p(x) = Σ_k w_k N(x; μ_k, Σ_k), and their fit by expectation-maximisation on the device.

A step of EM (Dempster et al. 1977; Bishop 2006, eq. 9.23–9.27), N_k being the sum of the responsibilities r_nk:

    r_nk = w_k N(x_n; μ_k, Σ_k) / p(x_n)
    w_k = N_k/n,   μ_k = Σ_n r_nk x_n / N_k,   Σ_k = Σ_n r_nk (x_n − μ_k)(x_n − μ_k)ᵀ / N_k + floor·I

The floor is what scikit-learn calls `reg_covar`: without it the log-likelihood never falls and is unbounded, as a
component can shrink onto a point; with it no variance is smaller, and the likelihood can fall by as little as the floor
moves it. A component without points stays where it was, with weight 0.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

from jaxgen.core.dtypes import accumulator
from jaxgen.core.errors import UsageError, nearest

COVARIANCES = ("full", "diagonal", "tied")
"""A matrix for each component, a variance for each axis of each component, or one matrix for all of them."""

Points = Num[Array | np.ndarray, "n d"]


class Mixture(NamedTuple):
    """Weights [k], which sum to one, means [k,d], and covariances: [k,d,d] where full, [k,d] where diagonal, [1,d,d]
    where tied."""

    weights: Array
    means: Array
    covariances: Array


def fit(
    key: Key[Array, ""],
    x: Points,
    components: int,
    covariance: str = "full",
    steps: int = 100,
    floor: float = 1e-6,
) -> tuple[Mixture, Float[Array, " steps"]]:
    """A mixture fitted to points by `steps` of `em` from a `start` by k-means++, and the mean log-likelihood (nats)
    before each step: one compiled program, in float32 or the points' own wider type.

    Raises `UsageError` for points that are no finite matrix, fewer than one component or more than there are points, an
    unknown covariance, fewer than one step, a negative floor, and a fit that is not finite, whose floor was too small
    for the rounding of its type.

    >>> x = np.concatenate([np.full((6, 2), 0.0), np.full((2, 2), 8.0)]) + 0.1 * np.eye(8, 2)
    >>> mixture, _ = fit(jax.random.key(0), x, components=2, steps=5, floor=1e-3)
    >>> np.sort(mixture.weights).round(2)
    array([0.25, 0.75], dtype=float32)
    """
    x = np.asarray(x)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise UsageError(f"a mixture is fitted to finite points [n, d], got {x.dtype}{list(x.shape)}.")
    if not 1 <= components <= len(x):
        raise UsageError(f"a mixture of {len(x)} points has 1 to {len(x)} components, got {components}.")
    if covariance not in COVARIANCES:
        hint = nearest(covariance, COVARIANCES)
        raise UsageError(f"a mixture's covariance is one of {', '.join(COVARIANCES)}, got {covariance!r}.{hint}")
    if steps < 1 or not floor >= 0:
        raise UsageError(f"a fit takes at least 1 step and a floor of at least 0, got {steps} and {floor:g}.")
    mixture, log_likelihood = _fit(key, _wide(x), components, covariance, steps, floor)
    if not np.isfinite(log_likelihood).all():
        raise UsageError(
            f"the mixture's covariances became singular with a floor of {floor:g}: give a larger one, or fewer "
            "components."
        )
    return mixture, log_likelihood


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _fit(key: Any, x: Any, components: int, covariance: str, steps: int, floor: float) -> Any:
    return em(start(key, x, components, covariance, floor), x, steps, floor)


def start(key: Key[Array, ""], x: Points, components: int, covariance: str, floor: float = 1e-6) -> Mixture:
    """The means of the points nearest to each of the centres that k-means++ draws (Arthur and Vassilvitskii 2007), a
    centre with probability proportional to its squared distance from those before it. All begin with the covariance
    within these clusters, so that a centre on an outlier is not a component of its own from the beginning."""
    x = _wide(x)
    keys = jax.random.split(key, components)

    def draw(i: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        centres, far = state
        centre = x[jax.random.categorical(keys[i], jnp.log(far))]
        return centres.at[i].set(centre), jnp.minimum(far, ((x - centre) ** 2).sum(axis=1))

    first = x[jax.random.randint(keys[0], (), 0, len(x))]
    centres = jnp.zeros((components, x.shape[1]), x.dtype).at[0].set(first)
    centres, _ = jax.lax.fori_loop(1, components, draw, (centres, ((x - first) ** 2).sum(axis=1)))
    distance = jax.lax.map(lambda centre: ((x - centre) ** 2).sum(axis=1), centres)
    r = jax.nn.one_hot(distance.argmin(axis=0), components, axis=0, dtype=x.dtype)
    d = x.shape[1]
    shape = (components, d) if covariance == "diagonal" else (1, d, d)
    unit = Mixture(jnp.full(components, 1.0 / components, x.dtype), centres, jnp.zeros(shape, x.dtype))
    weights, means, within = _maximised(unit, x, r, floor)
    if covariance == "diagonal":
        within = jnp.broadcast_to((weights[:, None] * within).sum(axis=0), shape)
    elif covariance == "full":
        within = jnp.broadcast_to(within, (components, d, d))
    return Mixture(weights, means, within)


def em(mixture: Mixture, x: Points, steps: int, floor: float = 1e-6) -> tuple[Mixture, Float[Array, " steps"]]:
    """The mixture after so many steps, its covariances of the kind they were, and the mean log-likelihood (nats) before
    each of them."""
    x = _wide(x)

    def step(mixture: Mixture, _: None) -> tuple[Mixture, Array]:
        joint = _joint(mixture, x)
        log_prob = jax.nn.logsumexp(joint, axis=0)
        return _maximised(mixture, x, jnp.exp(joint - log_prob), floor), log_prob.mean()

    return cast(Any, jax.lax.scan(step, Mixture(*(a.astype(x.dtype) for a in mixture)), None, steps))


def log_prob(mixture: Mixture, x: Points) -> Float[Array, " n"]:
    """Log-density (nats) of each point.

    >>> standard = Mixture(jnp.ones(1), jnp.zeros((1, 2)), jnp.ones((1, 2)))
    >>> round(float(log_prob(standard, jnp.zeros((1, 2)))[0]), 4)  # −log 2π
    -1.8379
    """
    return jax.nn.logsumexp(_joint(mixture, _wide(x)), axis=0)


def responsibilities(mixture: Mixture, x: Points) -> Float[Array, "n k"]:
    """The probability of each component given each point."""
    return jax.nn.softmax(_joint(mixture, _wide(x)), axis=0).T


def sample(mixture: Mixture, key: Key[Array, ""], num: int) -> Float[Array, "num d"]:
    """Independent draws; the same key gives the same ones."""
    weights, means, covariances = mixture
    component_key, noise_key = jax.random.split(key)
    component = jax.random.categorical(component_key, jnp.log(weights), shape=(num,))
    noise = jax.random.normal(noise_key, (num, means.shape[1]), means.dtype)
    if covariances.ndim == 2:
        return means[component] + jnp.sqrt(covariances)[component] * noise
    factor = jnp.broadcast_to(jnp.linalg.cholesky(covariances), (len(means), *covariances.shape[1:]))
    return means[component] + jnp.einsum("nij,nj->ni", factor[component], noise, precision="highest")


def _wide(x: Any) -> Array:
    x = jnp.asarray(x)
    return x.astype(accumulator(x.dtype))


def _joint(mixture: Mixture, x: Array) -> Array:
    """log w_k + log N(x_n; μ_k, Σ_k), [k,n]: a component at a time, so that no array has n·k·d numbers."""
    weights, means, covariances = mixture
    constant = x.shape[1] * math.log(2.0 * math.pi)

    def diagonal(part: tuple[Array, Array]) -> Array:
        mean, variance = part
        return -0.5 * (constant + jnp.log(variance).sum() + ((x - mean) ** 2 / variance).sum(axis=1))

    def full(part: tuple[Array, Array]) -> Array:
        mean, inverse = part
        white = jnp.matmul(x - mean, inverse.T, precision="highest")
        return -0.5 * (constant + (white**2).sum(axis=1)) + jnp.log(jnp.diagonal(inverse)).sum()

    if covariances.ndim == 2:
        log_density = jax.lax.map(diagonal, (means, covariances))
    else:
        factor, unit = jnp.linalg.cholesky(covariances), jnp.eye(x.shape[1], dtype=covariances.dtype)
        # Inverted once: on a CPU to solve for every point takes twelve times as long as a product with the inverse.
        inverse = jax.vmap(lambda one: jax.scipy.linalg.solve_triangular(one, unit, lower=True))(factor)
        log_density = jax.lax.map(full, (means, jnp.broadcast_to(inverse, (len(means), *inverse.shape[1:]))))
    return jnp.log(weights)[:, None] + log_density


def _maximised(mixture: Mixture, x: Array, r: Array, floor: float) -> Mixture:
    """The mixture that maximises the expected log-likelihood under responsibilities r [k,n]."""
    count = r.sum(axis=1)
    alive = count > 10 * jnp.finfo(x.dtype).eps
    over = jnp.where(alive, count, 1.0)
    means = jnp.where(alive[:, None], jnp.matmul(r, x, precision="highest") / over[:, None], mixture.means)
    if mixture.covariances.ndim == 2:
        spread = jax.lax.map(lambda part: part[0] @ (x - part[1]) ** 2, (r, means))
        covariances = jnp.where(alive[:, None], spread / over[:, None] + floor, mixture.covariances)
        return Mixture(count / len(x), means, covariances)

    def outer(part: tuple[Array, Array]) -> Array:
        weight, mean = part
        return jnp.matmul((weight[:, None] * (x - mean)).T, x - mean, precision="highest")

    ridge = floor * jnp.eye(x.shape[1], dtype=x.dtype)
    spread = jax.lax.map(outer, (r, means))
    if len(mixture.covariances) == 1:
        return Mixture(count / len(x), means, spread.sum(axis=0, keepdims=True) / len(x) + ridge)
    covariances = spread / over[:, None, None] + ridge
    return Mixture(count / len(x), means, jnp.where(alive[:, None, None], covariances, mixture.covariances))
