"""What optax lacks: a Muon that knows how jaxgen's nets lay out their parameters, and the recipes' schedule."""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers
from optax.contrib import muon as _muon

from jaxgen.core.errors import UsageError

SCANNED = "layers"
"""The subtree whose parameters are stacked, one entry per layer, along their first axis."""


def muon(
    learning_rate: optax.ScalarOrSchedule,
    adam_learning_rate: optax.ScalarOrSchedule | None = None,
    beta: float = 0.95,
    weight_decay: float = 0.0,
    by_adam: tuple[str, ...] = ("logits",),
) -> optax.GradientTransformation:
    """Muon: momentum whose matrices are orthogonalised (Jordan et al. 2024; optax.contrib.muon), for kernels.

    A kernel [taps, in, out] is one matrix from all of its inputs to its outputs; a stack of layers, streams or both is
    as many matrices. Updates are scaled to the root mean square .2 of Adam's (2502.16982). Biases, learned first states
    and the maps `by_adam` are moved by Nadam, with `adam_learning_rate` (default: the same).

    Each step shrinks the matrices by `weight_decay` times the learning rate. The size of an update does not depend on
    the gradient's, so that without decay the matrices of a long run keep growing.

    Raises `UsageError` for a rate or decay that is a number below 0.
    """
    rates = {"learning_rate": learning_rate, "adam_learning_rate": adam_learning_rate, "weight_decay": weight_decay}
    for name, value in rates.items():
        if isinstance(value, int | float) and value < 0:
            raise UsageError(f"muon wants a {name} of at least 0, got {value}.")

    def axes(path: Any, leaf: Any) -> MuonDimensionNumbers | None:
        names = [str(getattr(key, "key", key)) for key in path]
        stacked = 1 if SCANNED in names else 0
        axes = leaf.ndim - stacked
        if axes < 2 or set(names) & set(by_adam) or not ("kernel" in names[-1] or names[-1] == "state_to_state"):
            return None
        first = leaf.ndim - axes if names[-1] == "kernel" else leaf.ndim - 2
        return MuonDimensionNumbers(tuple(range(first, leaf.ndim - 1)), leaf.ndim - 1)

    return _muon(
        learning_rate,
        beta=beta,
        weight_decay=weight_decay,
        consistent_rms=0.2,
        adam_learning_rate=learning_rate if adam_learning_rate is None else adam_learning_rate,
        muon_weight_dimension_numbers=lambda params: jax.tree_util.tree_map_with_path(axes, params),
    )


def warmup_cosine(peak: float, steps: int, warmup: int) -> optax.Schedule:
    """A rate that rises from 0 to `peak` in `warmup` steps, at most half of `steps`, and falls to 0 by a cosine.

    Raises `UsageError` for a peak or a warm-up below 0.
    """
    if peak < 0 or warmup < 0:
        raise UsageError(f"the schedule wants a rate and a warm-up of at least 0, got {peak} and {warmup} steps.")
    return optax.warmup_cosine_decay_schedule(0.0, peak, min(warmup, steps // 2), steps)
