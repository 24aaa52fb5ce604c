"""Training: whether what is trained is the likelihood that is declared, with the dropout of training."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array

from jaxgen.core.capabilities import Autoregressive
from jaxgen.core.model import Variables
from jaxgen.verification.probability import COUNTED, all_images
from jaxgen.verification.sensitivity import (
    CHUNK,
    View,
    batch_of,
    moved_from,
    named,
    same_condition,
    site,
    some_conditions,
    some_images,
)
from jaxgen.verification.subject import Check, Subject, count, reason, size

PIECE = 1024
"""Images of a tiny size whose loss is taken at once."""


@runtime_checkable
class TrainedPixels(Protocol):
    """A model that says what each pixel adds to the likelihood, in training too."""

    def pixel_log_prob(self, variables: Any, image: Any, condition: Any = None, key: Any = None) -> Any:
        """Nats of each pixel given those before it, [b,h,w]. With a key, as in training: dropout draws with it."""


def training(subject: Subject, key: Any) -> tuple[Check, Check]:
    """As in training, with one key for all images: a pixel's likelihood moves with nothing outside of its context, and
    over all images of a tiny size exp(−nats) of the objective has the sum one."""
    return _causality(subject, key), _normalisation(subject, key)


def _causality(subject: Subject, key: Any) -> Check:
    """Another value of one pixel against the likelihood of all others, pixel by pixel."""
    name = "as trained"
    if not (isinstance(subject.model, Autoregressive) and isinstance(subject.model, TrainedPixels)):
        return Check(name, None, "it has no pixel_log_prob, which would say what a pixel adds to the loss")
    other: Any = subject.small
    if other is None:
        return Check(name, None, subject.refused)
    h, w, c = other.shape
    n, kinds = h * w, some_conditions(other, 2)
    declared = np.asarray(other.context()).any(axis=(2, 5)).reshape(n, n) | np.eye(n, dtype=bool)
    log_prob = jax.jit(lambda v, image, on, key: other.pixel_log_prob(v, image, on, key))
    strength, under = np.zeros((n, n)), np.zeros((n, n), int)
    for number in range(2):
        which = kinds[number % len(kinds)]
        for_weights, for_image, for_net = jax.random.split(jax.random.fold_in(key, number), 3)
        weights, condition = subject.networks(other, for_weights), same_condition(other, CHUNK, which)
        image, change = np.asarray(some_images(other, for_image, 2)).reshape(2, n, c)
        plain, change = np.tile(image, (CHUNK, 1, 1)), change % (other.levels - 1) + 1

        def run(pixels: np.ndarray, given: tuple[Any, Any, Any] = (weights, condition, for_net)) -> np.ndarray:
            variables, on, key = given
            return np.asarray(log_prob(variables, pixels.reshape(CHUNK, h, w, c), on, key))

        moved = moved_from(run, plain, n)
        for first in range(0, n, CHUNK):
            columns = np.arange(first, first + CHUNK) % n
            changed = plain.copy()
            changed[np.arange(CHUNK), columns] = (image[columns].astype(int) + change[columns]) % other.levels
            movement = moved(changed).T
            under[:, columns] = np.where(movement > strength[:, columns], which, under[:, columns])
            strength[:, columns] = np.maximum(strength[:, columns], movement)
    leak = np.where(declared, 0, strength)
    if not leak.any():
        text = f"with dropout drawn no pixel's likelihood moves with what it must not see: {size(other.shape)}"
        return Check(name, True, text)
    i, j = (int(x) for x in np.unravel_index(leak.argmax(), leak.shape))
    one, seen = site(i * c, other.shape), site(j * c, other.shape)
    by = f"{leak[i, j]:.2g} nats{named(other, int(under[i, j]))}"
    worst = f"the likelihood of {one[:2]} moves with {seen[:2]}, by {by}"
    text = f"{np.count_nonzero(leak):,} pairs of pixels leak in training; worst: {worst}"
    others = np.arange(n) != i
    before, moves = (np.repeat((mask & others).reshape(h, w, 1), c, axis=2) for mask in (declared[i], strength[i] != 0))
    return Check(name, False, text, (one, seen), View(one, before, moves, before))


def _normalisation(subject: Subject, key: Any) -> Check:
    """The objectives' nats, of each by itself or of all together, where one key is everybody's."""
    name = "objective"
    case = subject.tiny(min(3, subject.model.levels), COUNTED[0])
    if case is None:
        return Check(name, None, f"no size is so tiny that all images can be counted: {subject.refused}")
    objectives = case.objectives()
    if not objectives:
        return Check(name, None, "it has no objective")
    images = all_images(case)

    def of_one(weights: Variables, image: Array, condition: Any) -> Any:
        batch = batch_of(case, image[None], condition)
        return [objective.loss(weights, batch, key)[1].metrics.get("nats") for objective in objectives]

    nats_of = jax.jit(jax.vmap(of_one, in_axes=(None, 0, None)))
    filled = np.concatenate([images, np.repeat(images[:1], -len(images) % PIECE, axis=0)])
    weights, totals = subject.weights(case), list[tuple[float, str]]()
    for which in some_conditions(case, 2):
        condition = same_condition(case, 1, which)
        try:
            parts = [nats_of(weights, part, condition) for part in filled.reshape(-1, PIECE, *case.shape)]
        except Exception as error:
            return Check(name, None, f"its loss takes no batch of one image: {reason(error)}")
        if any(nats is None for nats in parts[0]):
            return Check(name, None, 'its objectives log no "nats"')
        nats = np.concatenate([np.stack(part, axis=1) for part in parts])[: len(images)].astype(np.float64)
        each, together = np.exp(-nats).sum(axis=0), float(np.exp(-nats.sum(axis=1)).sum())
        worst = max(
            (float(total) for total in each), key=lambda total: math.inf if math.isnan(total) else abs(total - 1)
        )
        totals.append((together if abs(together - 1) < abs(worst - 1) else worst, named(case, which)))
    total, where = max(totals, key=lambda pair: math.inf if math.isnan(pair[0]) else abs(pair[0] - 1))
    what = f"the {count(case):,} {size(case.shape)} images of {case.levels} levels"
    if not abs(total - 1) < 1e-4:
        text = f"with one key exp(−nats) of {what} sum to {total:.6g}{where}: the loss sees what it predicts"
        return Check(name, False, text)
    return Check(name, True, f"with one key exp(−nats) of {what} sum to one, within {abs(total - 1):.0e}")
