"""What several rooms refuse alike."""

from __future__ import annotations

import math
import operator
from typing import Any

from jaxgen.core.errors import UsageError, nearest

LEAST_TEMPERATURE = 1e-6
"""By what log-probabilities are divided at least: quotients stay far inside float32, where 1e-40 is zero."""


def at_least(owner: Any, *, why: str = "", **least: int) -> None:
    """Raises `UsageError` unless each of these settings of the owner is as large; of a tuple, each of its numbers.

    `why` says what makes the bound, in words that stand behind ": ".
    """
    for name, bound in least.items():
        value = getattr(owner, name)
        if min(value, default=bound) < bound if isinstance(value, tuple) else value < bound:
            because = f": {why}" if why else ""
            raise UsageError(f"{type(owner).__name__}: {name} must be at least {bound}, got {value}{because}.")


def one_of(owner: Any, **known: tuple[str, ...]) -> None:
    """Raises `UsageError` unless each of these settings of the owner is one of the words that it knows."""
    for name, words in known.items():
        word = getattr(owner, name)
        if word not in words:
            near = nearest(str(word), words)
            raise UsageError(f"{type(owner).__name__}: {name} must be one of {', '.join(words)}, got {word!r}.{near}")


def check_count(num: int) -> None:
    """Raises `UsageError` unless there is an image to work on."""
    if num < 1:
        raise UsageError(f"wanted at least 1 image, got {num}.")


SEEDS = 2**32
"""How many seeds there are: a key is made of 32 bits, of which larger numbers would lose the rest without a word."""


def check_seed(seed: Any) -> None:
    """Raises `UsageError` unless a key can be made of all of the seed."""
    try:
        fits = not isinstance(seed, bool) and 0 <= operator.index(seed) < SEEDS
    except TypeError:
        fits = False
    if not fits:
        raise UsageError(f"seed must be a whole number from 0 to {SEEDS - 1}, got {seed!r}: give one of these.")


def check_temperature(temperature: float) -> None:
    """Raises `UsageError` unless log-probabilities can be divided by it."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(f"temperature must be a number above 0 (1 is the model itself), got {temperature:g}.")
    if temperature < LEAST_TEMPERATURE:
        raise UsageError(
            f"temperature must be at least {LEAST_TEMPERATURE:g}, got {temperature:g}: 0.01 draws the likeliest values "
            "almost always."
        )
