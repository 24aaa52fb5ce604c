"""Verifying a model with exact likelihood: that it is the distribution that it says it is. `verify(model)`.

    order            the declared context can be read in some order, each sub-pixel after all that it sees
    causality        logits move with nothing outside of the declared context, on a small image, under any condition
    coverage         and with everything inside of it: no blind spot but a declared one
    full size        causality of some sub-pixels at the model's own size, with trained variables where there are any
    conditionals     they sum to one at the model's own levels and multiply to `log_prob`, whatever else is in the batch
    normalisation    Σ exp(log_prob) over all images of a tiny size is one
    as trained       a pixel's likelihood in training, dropout drawn, moves with nothing outside of the declared context
    objective        Σ exp(−nats) of what is trained over all images of a tiny size is one, with any key
    frequencies      draws of tiny images follow their enumerated probabilities (χ²), under each of some conditions
    calibration      the values drawn at the small size are as likely as the model says on the way
    independence     images drawn together are alike by chance alone
    cached = naive   completion with memory draws the pixels that full passes draw with the same keys

The networks are the model's own in width and depth, of other sizes and fewer levels where that is wanted, with random
weights everywhere. Nothing here knows a family: only `core.Density`, `Autoregressive`, `Sampler` and `Completer`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from jaxgen.core.capabilities import Autoregressive, Density, models_with
from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Model, Variables, with_field
from jaxgen.verification.causality import causality, full_size
from jaxgen.verification.picture import LEGEND as LEGEND
from jaxgen.verification.picture import picture
from jaxgen.verification.probability import conditionals, normalisation
from jaxgen.verification.sampling import cached, calibration, frequencies, independence
from jaxgen.verification.sensitivity import View
from jaxgen.verification.subject import Check, Subject, reason
from jaxgen.verification.training import training

CHECKS = {
    causality: ("order", "causality", "coverage"),
    full_size: ("full size",),
    conditionals: ("conditionals",),
    normalisation: ("normalisation",),
    training: ("as trained", "objective"),
    frequencies: ("frequencies",),
    calibration: ("calibration",),
    independence: ("independence",),
    cached: ("cached = naive",),
}
"""`check(subject, key) -> (Check, …)` of these names, in the order in which they are made."""

MARKS = {True: "passed", False: "FAILED", None: "not offered"}


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """All checks of a model; `report["coverage"]` is one of them."""

    model: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(check.passed is not False for check in self.checks)

    @property
    def view(self) -> View | None:
        """That of the first failed check that has one, else of the first that has."""
        failed_first = sorted(self.checks, key=lambda check: check.passed is not False)
        return next((check.view for check in failed_first if check.view is not None), None)

    def picture(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """Leaks and blind spots of the worst sub-pixel, or what the middle one sees; None without a context."""
        return None if self.view is None else picture(self.view)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = (f"{MARKS[check.passed]:<11}  {check.name:<{width}}  {check.detail}" for check in self.checks)
        return "\n".join([f"{self.model}: {'passed' if self.ok else 'FAILED'}", *lines])


def verify(
    model: Model, variables: Variables | None = None, *, seed: int = 0, progress: Callable[[str], None] | None = None
) -> Report:
    """Check a model by what it can do; `progress` hears the name of each check before it is made.

    `variables`, where given, are trained ones of this very model, looked at in full size beside random ones. A size at
    which the model raises is not looked at. Raises `UsageError` for a model without an exact likelihood.
    """
    density = _exact(model)
    check_seed(seed)
    # The mathematics is checked, not its rounding.
    subject, checks = Subject(with_field(density, "dtype", "float32"), variables, seed), list[Check]()
    for number, check in enumerate(CHECKS):
        if progress is not None:
            progress(check.__name__.replace("_", " "))
        checks += checked(subject, check, jax.random.fold_in(subject.key, number))
    return Report(type(model).__name__, tuple(checks))


def checked(subject: Subject, check: Callable[..., tuple[Check, ...]], key: Any = None) -> tuple[Check, ...]:
    """A check. Where it raises it is made again without the sizes at which the model has no likelihood; if there are
    none of those, it has failed."""
    key = subject.key if key is None else key
    while True:
        try:
            checks = check(subject, key)
        except Exception as error:
            if not subject.without_refusing():
                return tuple(Check(name, False, f"it raised {reason(error)}") for name in CHECKS[check])
        else:
            return checks


def _exact(model: Model) -> Density:
    """The model itself. Raises `UsageError` where it has no exact likelihood, and says which models have."""
    if isinstance(model, Density) and model.exact:
        return model
    name, why = type(model).__name__, model.lacks.get("Density", "it is no Density")
    if isinstance(model, Density):
        why = "its log_prob is a bound, which need not sum to one"
    names = models_with(Autoregressive)  # type: ignore[type-abstract]
    raise UsageError(
        f"{name} cannot be verified by its likelihood: {why}. Models that can: {', '.join(names) or 'none imported'}, "
        "and any other Density whose log_prob is exact."
    )
