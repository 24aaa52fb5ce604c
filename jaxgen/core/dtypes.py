"""Types of numbers: sums and states are kept in float32 at least."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def accumulator(dtype: Any) -> Any:
    """The type in which cells and sums are kept: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)
