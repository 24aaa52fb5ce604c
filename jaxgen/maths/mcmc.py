"""Markov chains by the gradient of a log-density: unadjusted Langevin and the Metropolis-adjusted Langevin algorithm.

Of π(z), known up to a factor, with steps of size α and ξ ~ N(0, I):

    z'          = z + α ∇log π(z) + √(2α) ξ                                   (Langevin; Roberts and Tweedie 1996)
    log q(z'|z) = −‖z' − z − α ∇log π(z)‖² / 4α, up to a constant
    a(z → z')   = min(1, π(z') q(z|z') / π(z) q(z'|z))                        (MALA accepts z' with it, or stays)

With π = exp(−E) the gradient is −∇E. Unadjusted, a chain is always on its way and has a bias that shrinks with α: of
N(0, 1) its variance is 1/(1 − α/2), and from α = 2 on it runs away. MALA leaves π as it is for every α; with a large
one it hardly moves, and its acceptance says so (.574 is the best rate in many dimensions: Roberts and Rosenthal 1998).

All chains run side by side, and a chain of any number of steps is one compiled `lax.scan`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxgen.core.errors import UsageError, nearest
from jaxgen.core.model import PRNGKey

LogDensity = Callable[[Any], Any]
"""Points [b,…] to log π [b], in nats up to a constant: of each point by itself."""

Points = Float[Array | np.ndarray, "b ..."]


class Chain(NamedTuple):
    """Where each of b chains is at the start and behind every step, and whether it took that step."""

    z: Float[Array, "steps1 b ..."]
    accepted: Bool[Array, "steps b"]


def langevin(log_density: LogDensity, z: Points, key: PRNGKey, steps: int, step_size: float) -> Chain:
    """Unadjusted Langevin chains from the points z. Raises `UsageError` for less than one step and a step size that is
    no number above 0.

    >>> chain = langevin(lambda z: -0.5 * (z**2).sum(axis=1), jnp.zeros((3, 2)), jax.random.key(0), 10, 0.1)
    >>> chain.z.shape, bool(chain.accepted.all())
    ((11, 3, 2), True)
    """

    def step(state: _State, key: PRNGKey) -> tuple[_State, Array]:
        moved = _proposed(state, key, step_size)
        return _state(log_density, moved), jnp.ones(len(moved), bool)

    return _run(log_density, z, key, steps, step_size, step)


def mala(log_density: LogDensity, z: Points, key: PRNGKey, steps: int, step_size: float) -> Chain:
    """Metropolis-adjusted Langevin chains from the points z. Raises `UsageError` as `langevin` does.

    A proposal whose density is zero or no number is not accepted, so that a chain stays where the density is positive.

    >>> chain = mala(lambda z: -0.5 * (z**2).sum(axis=1), jnp.zeros((3, 2)), jax.random.key(0), 10, 0.01)
    >>> float(chain.accepted.mean())
    1.0
    """

    def step(state: _State, key: PRNGKey) -> tuple[_State, Array]:
        noise_key, accept_key = jax.random.split(key)
        moved = _state(log_density, _proposed(state, noise_key, step_size))
        log_ratio = _log_ratio(state, moved, step_size)
        accepted = jnp.log(jax.random.uniform(accept_key, log_ratio.shape, log_ratio.dtype)) < log_ratio
        return jax.tree.map(lambda new, old: jnp.where(_beside(accepted, new), new, old), moved, state), accepted

    return _run(log_density, z, key, steps, step_size, step)


def log_proposal(log_density: LogDensity, to: Points, at: Points, step_size: float) -> Float[Array, " b"]:
    """log q(to|at) of one step, in nats up to a constant that the step size alone decides."""
    return _log_proposal(to, _state(log_density, at), step_size)


def log_acceptance(log_density: LogDensity, at: Points, to: Points, step_size: float) -> Float[Array, " b"]:
    """log a(at → to) of MALA, 0 at most.

    >>> standard = lambda z: -0.5 * (z**2).sum(axis=1)
    >>> log_acceptance(standard, jnp.ones((1, 2)), -jnp.ones((1, 2)), 0.5).tolist()
    [0.0]
    """
    return jnp.minimum(_log_ratio(_state(log_density, at), _state(log_density, to), step_size), 0.0)


CHAINS: Mapping[str, Callable[..., Chain]] = MappingProxyType({"mala": mala, "langevin": langevin})
"""The chains by name, each `(log_density, z, key, steps, step_size) -> Chain`."""


def chain(name: str) -> Callable[..., Chain]:
    """The chain of that name. Raises `UsageError` with the known names otherwise."""
    if name not in CHAINS:
        raise UsageError(f"chain: wanted one of {', '.join(CHAINS)}, got {name!r}.{nearest(name, CHAINS)}")
    return CHAINS[name]


def check_chain(steps: int, step_size: float) -> None:
    """Raises `UsageError` unless a chain can take so many steps of this size."""
    if steps < 1:
        raise UsageError(f"a chain takes at least 1 step, got {steps}: without any, its points are those it starts at.")
    if not 0 < step_size < math.inf:
        raise UsageError(f"the step size of a chain must be a number above 0, got {step_size:g}.")


class _State(NamedTuple):
    """Points with the density and its gradient there, so that a step asks for each once."""

    z: Array
    log_density: Array
    gradient: Array


def _state(log_density: LogDensity, z: Any) -> _State:
    def total(z: Array) -> tuple[Array, Array]:
        each = log_density(z)
        return each.sum(), each

    z = jnp.asarray(z)
    (_, each), gradient = jax.value_and_grad(total, has_aux=True)(z)
    return _State(z, each, gradient)


def _proposed(state: _State, key: PRNGKey, step_size: float) -> Array:
    noise = jax.random.normal(key, state.z.shape, state.z.dtype)
    return state.z + step_size * state.gradient + math.sqrt(2.0 * step_size) * noise


def _log_proposal(to: Any, at: _State, step_size: float) -> Array:
    away = jnp.asarray(to) - at.z - step_size * at.gradient
    return -(away.reshape(len(to), -1) ** 2).sum(axis=1) / (4.0 * step_size)


def _log_ratio(at: _State, to: _State, step_size: float) -> Array:
    """log of π(z') q(z|z') / π(z) q(z'|z)."""
    back, forth = _log_proposal(at.z, to, step_size), _log_proposal(to.z, at, step_size)
    return to.log_density - at.log_density + back - forth


def _beside(mask: Array, x: Array) -> Array:
    """A value for each point, shaped to go with x [b,…]."""
    return mask.reshape(len(mask), *[1] * (x.ndim - 1))


def _run(log_density: LogDensity, z: Any, key: PRNGKey, steps: int, step_size: float, step: Any) -> Chain:
    check_chain(steps, step_size)

    def one(state: _State, key: PRNGKey) -> tuple[_State, tuple[Array, Array]]:
        state, accepted = step(state, key)
        return state, (state.z, accepted)

    _, (path, accepted) = jax.lax.scan(one, _state(log_density, z), jax.random.split(key, steps))
    return Chain(jnp.concatenate([jnp.asarray(z)[None], path]), accepted)
