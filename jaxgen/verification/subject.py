"""What a check says, and the sizes on which checks are made."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.verification.sensitivity import Networks, Site, View

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

    What several checks need is made once: `small`, `tiny`, and the `weights` of each.
    """

    def __init__(self, model: Any, variables: Variables | None = None, seed: int = 0):
        self.model, self.variables, self.key = model, variables, jax.random.key(seed)
        self.networks = Networks()
        self._made: dict[Any, Any] = {}

    def first(self, sizes: Iterable[tuple[int, int]], levels: int) -> Any:
        """The model at the first of some sizes (h, w) that it takes, None if it takes none."""
        for h, w in sizes:
            try:
                other = dataclasses.replace(self.model, shape=(h, w, self.model.shape[2]), levels=levels)
                self.weights(other)
            except UsageError:
                continue
            return other
        return None

    @functools.cached_property
    def small(self) -> Any:
        """At the size and levels on which it is looked who sees whom; its own if it takes no other."""
        sizes, levels = [*SMALL, self.model.shape[:2]], self.model.levels
        return self.first(sizes, min(levels, LEVELS)) or self.first(sizes, levels)

    def tiny(self, levels: int, most: int) -> Any:
        """At a size of which at most so many images exist, None if it takes none."""
        c = self.model.shape[2]
        sizes = [(h, w) for h, w in TINY if levels ** (h * w * c) <= most]
        return self.once(("tiny", levels, most), lambda: self.first(sizes, levels))

    def weights(self, model: Any) -> Variables:
        """Random ones."""
        made: Variables = self.once(("weights", id(model)), lambda: (model, self.networks(model, self.key)))[1]
        return made

    def once(self, name: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made when it is first asked for by that name."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def count(model: Any) -> int:
    """How many images there are."""
    return int(model.levels ** math.prod(model.shape))


def size(shape: tuple[int, ...]) -> str:
    """9×10×1."""
    return "×".join(map(str, shape))
