"""Order, causality and coverage: whether each sub-pixel sees what the model declares, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgen.core.capabilities import Autoregressive
from jaxgen.verification import sensitivity
from jaxgen.verification.reading_order import circle, reading_rank
from jaxgen.verification.sensitivity import LABELS, View, named, site, some_conditions
from jaxgen.verification.subject import Check, Subject, size

LARGEST = 13_000
"""Sub-pixels of the largest image whose context, their square, is looked at in full size."""

NO_PRODUCT = "its likelihood is no product over sub-pixels"


def causality(subject: Subject, key: Any) -> tuple[Check, ...]:
    """Order, causality and coverage on a small image: the declared context, and nothing outside of it, is seen."""
    names = ("order", "causality", "coverage")
    product = isinstance(subject.model, Autoregressive)
    if not product or subject.small is None:
        return tuple(Check(name, None, subject.refused if product else NO_PRODUCT) for name in names)
    other = subject.small
    context = np.asarray(other.context())
    order, rank = _order(context)
    n = rank.size
    probes = subject.slope(other), sensitivity.steps(other, subject.logits(other))
    seen = sensitivity.sensitivity(other, subject.networks, context.reshape(n, n), key, *probes)
    where = f"{seen.networks} random networks, {size(other.shape)}{_counted(seen.conditions)}"
    leaks = _leaks("causality", seen.strength, context, rank, np.arange(n), where, _under(other, seen.under))
    return order, leaks, _holes(seen.strength, context, rank)


def full_size(subject: Subject, key: Any) -> tuple[Check]:
    """Causality of some sub-pixels at the model's own size, where trained variables can be looked at too, under each of
    some conditions."""
    model, variables = subject.model, subject.variables
    name = "full size" if variables is None else "full size, trained"
    n = math.prod(model.shape)
    if not isinstance(model, Autoregressive):
        return (Check(name, None, NO_PRODUCT),)
    if n > LARGEST:
        return (Check(name, None, f"{n:,} sub-pixels have too large a context to be looked at"),)
    context = np.asarray(model.context())
    rows = np.union1d([0, _middle(model.shape), n - 1], np.random.default_rng(0).integers(0, n, 3))
    slope = subject.slope(model, len(rows))
    strength = slope(subject.networks(model, key), rows, key, 0)
    under, kinds = np.zeros(strength.shape, int), [0]
    if variables is not None:
        kinds = some_conditions(model, LABELS)
        for which in kinds:
            slopes = slope(variables, rows, key, which)
            under = np.where(slopes > strength, which, under)
            strength = np.maximum(strength, slopes)
    where = f"{len(rows)} sub-pixels of {size(model.shape)}{_counted(len(kinds))}"
    return (_leaks(name, strength, context, _order(context)[1], rows, where, _under(model, under)),)


def _counted(conditions: int) -> str:
    return f", {conditions} conditions" if conditions > 1 else ""


def _under(model: Any, under: np.ndarray) -> Callable[[int, int], str]:
    """The condition under which the logits of a row moved with a column, in words."""
    return lambda i, j: named(model, int(under[i, j]))


def _order(context: np.ndarray) -> tuple[Check, np.ndarray]:
    """Whether the context can be read in an order, and the place of each sub-pixel in it (raster if there is none)."""
    shape, n = context.shape[:3], math.prod(context.shape[:3])
    rank = reading_rank(context)
    if rank is None:
        one, other = circle(context)
        text = f"{one} is declared to see {other}, which depends on it: no order of sub-pixels allows that"
        return Check("order", False, text, (one, other)), np.arange(n).reshape(shape)
    hole = rank.reshape(n) - context.reshape(n, n).sum(axis=1)
    text = "declared to see all earlier sub-pixels"
    if hole.any():
        pairs = f"{hole.sum():,} of {n * (n - 1) // 2:,} pairs, at most {hole.max():,} of one sub-pixel"
        text += f" but for a hole ({pairs})"
    return Check("order", True, f"{text}: {size(shape)}"), rank


def _leaks(
    name: str,
    strength: np.ndarray,
    context: np.ndarray,
    rank: np.ndarray,
    rows: np.ndarray,
    where: str,
    under: Callable[[int, int], str],
) -> Check:
    """Whether nothing outside of the context has moved the logits of the sub-pixels numbered `rows`."""
    shape, n = rank.shape, rank.size
    leak = np.where(context.reshape(n, n)[rows], 0, np.nan_to_num(strength, nan=np.inf))
    if not leak.any():
        i = int(np.abs(rows - _middle(shape)).argmin())
        return Check(name, True, f"no leak: {where}", (), _view(strength[i], context, rank, rows[i]))
    i, j = (int(x) for x in np.unravel_index(leak.argmax(), leak.shape))
    one, other = site(rows[i], shape), site(j, shape)
    worst = f"the logits of {one} move with {other}, by {leak[i, j]:.2g} per unit{under(i, j)}"
    text = f"{np.count_nonzero(leak):,} pairs leak ({where}); worst: {worst}"
    return Check(name, False, text, (one, other), _view(strength[i], context, rank, rows[i]))


def _holes(strength: np.ndarray, context: np.ndarray, rank: np.ndarray) -> Check:
    """Whether all of the context has moved the logits; the worst is the sub-pixel that misses most, and the nearest."""
    shape, n = rank.shape, rank.size
    declared = context.reshape(n, n)
    unseen = declared & (strength == 0)
    if not unseen.any():
        return Check("coverage", True, f"all of the {int(declared.sum()):,} declared pairs were seen to act")
    i = int(unseen.sum(axis=1).argmax())
    missed = np.flatnonzero(unseen[i])
    places = np.stack(np.unravel_index(missed, shape), axis=1)
    j = missed[np.abs(places - np.array(site(i, shape))).sum(axis=1).argmin()]
    one, other = site(i, shape), site(j, shape)
    worst = f"the logits of {one} miss {len(missed):,}, the nearest {other}"
    text = f"{int(unseen.sum()):,} of {int(declared.sum()):,} declared pairs never act; worst: {worst}"
    return Check("coverage", False, text, (one, other), _view(strength[i], context, rank, i))


def _middle(shape: tuple[int, ...]) -> int:
    h, w, c = shape
    return int(np.ravel_multi_index((h // 2, w // 2, c - 1), shape))


def _view(strength: np.ndarray, context: np.ndarray, rank: np.ndarray, number: Any) -> View:
    at = site(number, rank.shape)
    return View(at, context[at], (strength != 0).reshape(rank.shape), rank < rank[at])
