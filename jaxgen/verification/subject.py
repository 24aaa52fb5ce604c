"""What a check says, and the sizes on which checks are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.verification.sensitivity import (
    CHUNK,
    Logits,
    Networks,
    Probe,
    Site,
    View,
    jacobian,
    logits_of,
    same_condition,
)

SMALL = ((9, 10), (12, 12), (16, 16))
"""Sizes on which it is looked who sees whom, the first that the model takes: holes do not show on less than 9."""

LEVELS = 16
"""Levels at most on which it is looked who sees whom, if the model takes so few: the layers are the same."""

FEW = ((4, 5), (8, 8), (12, 12), (16, 16))
"""Sizes on which conditionals are looked at with all levels, the first that the model takes."""

TINY = ((3, 3), (2, 2), (1, 2), (2, 1), (4, 4))
"""Sizes on which all images are counted, the first that the model takes and that is small enough."""

CACHED = ((6, 7), (9, 10), (12, 12), (16, 16))
"""Sizes on which drawing with memory is held against full passes, the first that the model takes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """One check: `passed` is None where the model does not offer what it needs.

    `worst` is the worst offender: of causality and coverage a pair, the sub-pixel whose logits and the one that moves
    them or should; elsewhere a sub-pixel or nothing. `view` is what the first of them sees.
    """

    name: str
    passed: bool | None
    detail: str
    worst: tuple[Site, ...] = ()
    view: View | None = None


class Subject:
    """The model under check, its trained variables if there are any, and at other sizes random ones.

    What several checks need is made once: models of other sizes, their `weights` and compiled programs.
    """

    def __init__(self, model: Any, variables: Variables | None = None, seed: int = 0):
        self.model, self.variables, self.key = model, variables, jax.random.key(seed)
        self.networks = Networks()
        self._made: dict[Any, Any] = {}
        self._refusal = ""

    def first(self, sizes: Iterable[tuple[int, int]], levels: int) -> Any:
        """The model at the first of some sizes (h, w) that it takes, None if it takes none: then `refused` says why."""
        self._refusal = ""
        for h, w in sizes:
            other = self.once(("model", h, w, levels), lambda h=h, w=w: self._at(h, w, levels))  # type: ignore[misc]
            if not isinstance(other, str):
                return other
            self._refusal = other
        return None

    def _at(self, h: int, w: int, levels: int) -> Any:
        """The model at a size, or what stands against it: whatever a constructor or an init raises is no fault here."""
        shape = h, w, self.model.shape[2]
        try:
            other = dataclasses.replace(self.model, shape=shape, levels=levels)
            self.weights(other)
        except Exception as error:
            return f"{size(shape)}, {levels} levels: {reason(error)}"
        return other

    def without_refusing(self) -> bool:
        """Whether, of the models of other sizes, some raise when they are to give a likelihood: they are not offered
        any more. Asked only where a check has raised, since it costs a trace of each."""
        refusing = False
        for name, model in list(self._made.items()):
            if name[0] != "model" or isinstance(model, str):
                continue
            image, on = jax.ShapeDtypeStruct((2, *model.shape), np.uint8), same_condition(model, 2)
            try:
                jax.eval_shape(model.log_prob, self.weights(model), image, self.key, on)
            except Exception as error:
                self._made[name] = f"{size(model.shape)}, {model.levels} levels: {reason(error)}"
                refusing = True
        return refusing

    @property
    def refused(self) -> str:
        """Why there was no size, by the last one that `first` tried."""
        return f"it takes none of the sizes tried ({self._refusal})" if self._refusal else "all have too many images"

    @property
    def small(self) -> Any:
        """At the size and levels on which it is looked who sees whom; its own if it takes no other."""
        sizes, levels = [*SMALL, self.model.shape[:2]], self.model.levels
        return self.first(sizes, min(levels, LEVELS)) or self.first(sizes, levels)

    def tiny(self, levels: int, most: int) -> Any:
        """At a size of which at most so many images exist, None if it takes none."""
        c = self.model.shape[2]
        sizes = [(h, w) for h, w in TINY if levels ** (h * w * c) <= most]
        return self.first(sizes, levels)

    def weights(self, model: Any) -> Variables:
        """Random ones."""
        variables: Variables = self.once(("weights", id(model)), lambda: (model, self.networks(model, self.key)))[1]
        return variables

    def logits(self, model: Any) -> Logits:
        """`logits_of` a model, compiled once."""
        logits: Logits = self.once(("logits", id(model)), lambda: logits_of(model))
        return logits

    def slope(self, model: Any, chunk: int = CHUNK) -> Probe:
        """`jacobian` of a model, compiled once for one that is as large as the small one."""
        if self.small is not None and (model.shape, model.levels) == (self.small.shape, self.small.levels):
            model, chunk = self.small, CHUNK
        probe: Probe = self.once(("jacobian", id(model)), lambda: jacobian(model, chunk))
        return probe

    def log_pmf(self, model: Any) -> Callable[[Variables, Any, Any], Array]:
        """`model.log_pmf(variables, image, condition)`, compiled once."""
        return self.once(("log_pmf", id(model)), lambda: jax.jit(lambda v, image, on: model.log_pmf(v, image, on)))

    def log_prob(self, model: Any) -> Callable[[Variables, Any, Any], Array]:
        """`model.log_prob(variables, image, key, condition)` with a key of the subject's, compiled once."""
        return self.once(
            ("log_prob", id(model)), lambda: jax.jit(lambda v, image, on: model.log_prob(v, image, self.key, on))
        )

    def once(self, name: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made when it is first asked for by that name."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def count(model: Any) -> int:
    """How many images there are."""
    return int(model.levels ** math.prod(model.shape))


def reason(error: Exception) -> str:
    """An exception in a few words: its kind, unless it speaks to users, and the first line that it says."""
    said = next(iter(str(error).splitlines()), "").rstrip(".")[:120]
    return said if isinstance(error, UsageError) else f"{type(error).__name__}{said and ': '}{said}"


def size(shape: tuple[int, ...]) -> str:
    """9×10×1."""
    return "×".join(map(str, shape))
