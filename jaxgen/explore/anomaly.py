"""How well a model tells images of its own data from others: by its energy, or by its likelihood.

The more surprising an image is, the higher its `strangeness`: E(x) where there is an energy, else −log p(x). The figure
is the area under the ROC curve: the probability that an image of other data is stranger than one of its own, .5 for a
guess. Likelihoods of natural images are known to fail at this: simpler images are likelier (1810.09136).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxgen.core.capabilities import Density, Energy, models_with
from jaxgen.core.errors import UsageError
from jaxgen.explore.trained import Images, Trained


def check_strangeness(model: Any) -> str:
    """By what the model tells how strange an image is, in words. Raises `UsageError` where it has nothing."""
    if isinstance(model, Energy):
        return "energy"
    if isinstance(model, Density):
        return "−log p" if model.exact else "a bound of −log p"
    kinds: tuple[type[Any], ...] = (Energy, Density)
    others = ", ".join(sorted({name for kind in kinds for name in models_with(kind)}))
    raise UsageError(
        f"{type(model).__name__} cannot tell strange images: it has neither an energy nor a likelihood. Models that "
        f"can: {others}."
    )


def strangeness(
    run: Trained, image: Images, seed: int = 0, condition: Any = None, progress: Callable[[int], None] | None = None
) -> Float[np.ndarray, " b"]:
    """E(x) of each image, or −log p(x) in nats; of a bound, one draw by `seed`."""
    check_strangeness(run.model)
    if isinstance(run.model, Energy):
        return run.energy(image, progress)
    return -run.log_prob(image, seed, condition, progress)


def auroc(ours: Float[np.ndarray, " n"], other: Float[np.ndarray, " m"]) -> float:
    """The probability that one of the others is larger, ties counted half: the area under the ROC curve.

    Raises `UsageError` where one of them is empty or a value is no finite number.

    >>> auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    0.875
    """
    if not (len(ours) and len(other)):
        raise UsageError(
            f"an AUROC compares images of two kinds, got {len(ours)} of one and {len(other)} of the other."
        )
    values = np.concatenate([ours, other]).astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("an AUROC is of finite figures, and some of these images have none: train the model anew.")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([0, 1], [len(ours), len(other)]), values))
