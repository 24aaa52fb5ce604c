"""Chains among the latent codes of a trained model, by the gradient of its energy of codes (2003.06060, algorithm 1).

A chain begins at a draw of the prior, that of `Trained.prior` by the same seed and number, and goes where images have
a lower energy; how far it goes from the prior is `maths.mcmc`'s to balance. The images of its codes are
`Trained.decode`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxgen.core.capabilities import LatentEnergy, require
from jaxgen.engine.devices.mesh import sharded
from jaxgen.explore.chunks import CHUNK, in_chunks
from jaxgen.explore.trained import Trained
from jaxgen.maths import mcmc

APART = 2**32 - 1
"""What sets the keys of chains apart from those of their first codes: no row has this number."""


class Chains(NamedTuple):
    """Codes of each chain at its start and behind every step, and whether it took that step."""

    z: Float[np.ndarray, "num steps1 ..."]
    accepted: Bool[np.ndarray, "num steps"]


def check_chains(model: Any, kind: str, steps: int, step_size: float) -> None:
    """Raises `UsageError` unless the model has an energy of codes and there is such a chain."""
    require(model, LatentEnergy, "draw by a chain among its codes")
    mcmc.chain(kind)
    mcmc.check_chain(steps, step_size)


def chains(
    run: Trained,
    num: int = 10,
    steps: int = 100,
    step_size: float = 0.05,
    kind: str = "mala",
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Callable[[int], None] | None = None,
) -> Chains:
    """`num` chains, "mala" or "langevin", `chunk` side by side. A chain depends on the seed and its number, not on
    `num` or `chunk`. `progress` is told how many are done.

    Raises `UsageError` for a model without an energy of codes, and for what makes no chain (`mcmc.check_chain`).
    """
    check_chains(run.model, kind, steps, step_size)
    key = jax.random.fold_in(jax.random.key(seed), APART)

    def one(variables: Any, row: Any, z: Any) -> Any:
        log_density = lambda z: -run.model.code_energy(variables, z)  # noqa: E731
        chain = mcmc.chain(kind)(log_density, z[None], jax.random.fold_in(key, row), steps, step_size)
        return chain.z[:, 0], chain.accepted[:, 0]

    program, accepted = jax.jit(jax.vmap(one, (None, 0, 0))), []

    def some(rows: dict[str, Any]) -> Any:
        rows = jax.device_put(rows, sharded(run.mesh))
        z, taken = program(run.variables, rows["row"], rows["z"])
        accepted.append(np.asarray(taken))
        return z

    z = in_chunks(some, {"z": run.prior(num, seed)}, num, chunk, run.mesh.devices.size, progress)
    return Chains(z, np.concatenate(accepted)[:num])
