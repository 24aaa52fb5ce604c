"""Conditionals and normalisation: whether the numbers that a model gives are probabilities."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from jaxgen.core.capabilities import Autoregressive
from jaxgen.verification.sensitivity import CHUNK, mixed_condition, same_condition, site, some_conditions, some_images
from jaxgen.verification.subject import FEW, Check, Subject, count, size

COUNTED = 5000, 70_000
"""Images of a tiny size at most, and at most where none is so tiny: 2^16 are those of 4×4 binary pixels."""


SEVERAL = 4
"""Conditions at most under which all images are counted and drawn."""


def conditionals(subject: Subject, key: Any) -> tuple[Check]:
    """At the model's own levels: they sum to one, multiply to log_prob, and are the softmax of the logits, whatever
    else is in the batch."""
    name = "conditionals"
    model = subject.model
    if not isinstance(model, Autoregressive):
        return (Check(name, None, "it has none"),)
    small = subject.small
    other = (
        small
        if small is not None and small.levels == model.levels
        else subject.first([*FEW, model.shape[:2]], model.levels)
    )
    if other is None:
        return (Check(name, None, subject.refused),)
    shape, weights, kinds = other.shape, subject.weights(other), some_conditions(other, CHUNK)
    routes = [route(other) for route in (subject.logits, subject.log_pmf, subject.log_prob)]
    image, mixed = some_images(other, jax.random.fold_in(key, 1), CHUNK), mixed_condition(other, kinds, CHUNK)
    logits, log_pmf, log_prob = (np.asarray(route(weights, image, mixed), np.float64) for route in routes)
    softmax = np.asarray(jax.nn.softmax(logits))
    pmf = np.exp(log_pmf)
    total = pmf.sum(axis=-1)
    at = np.unravel_index(np.abs(total - 1).argmax(), total.shape)
    where = site(np.ravel_multi_index(at[1:], shape), shape)
    if not abs(total[at] - 1) < 1e-4:
        text = f"the {other.levels} probabilities of {where} sum to {total[at]:.6g}"
        return (Check(name, False, text, (where,)),)
    scored = np.take_along_axis(log_pmf, np.asarray(image, int)[..., None], axis=-1).sum(axis=(1, 2, 3, 4))
    i = int(np.abs(scored - log_prob).argmax())
    if not _close(scored[i], log_prob[i]):
        text = f"log_prob is {log_prob[i]:.6g} nats where the conditionals multiply to {scored[i]:.6g}"
        return (Check(name, False, text),)
    apart = np.abs(softmax - pmf).max(axis=(0, 4))
    where = site(apart.argmax(), shape)
    if not apart.max() < 1e-4:
        text = f"log_pmf of {where} is not the log-softmax of its logits: {apart.max():.2g} apart"
        return (Check(name, False, text, (where,)),)
    other_mates, alike = jnp.concatenate([image[:1], jnp.zeros_like(image[1:])]), same_condition(other, CHUNK, kinds[0])
    again = float(routes[2](weights, other_mates, alike)[0])
    if not _close(again, log_prob[0]):
        text = f"log_prob of an image is {log_prob[0]:.6g} nats in one batch and {again:.6g} in another"
        return (Check(name, False, text),)
    return (Check(name, True, f"sum to one over {other.levels} levels and multiply to log_prob"),)


def _close(a: Any, b: Any) -> bool:
    return bool(abs(a - b) < 1e-3 + 1e-5 * abs(b))


def normalisation(subject: Subject, key: Any) -> tuple[Check]:
    """All images of a tiny size together have probability one: binary ones, and for more levels those of three."""
    name = "normalisation"
    tried = (
        subject.tiny(levels, COUNTED[0]) or subject.tiny(levels, COUNTED[1])
        for levels in sorted({2, min(3, subject.model.levels)})
    )
    cases = [case for case in tried if case is not None]
    if not cases:
        return (Check(name, None, f"no size is so tiny that all images can be counted: {subject.refused}"),)
    totals = []
    for case in cases:
        for which in some_conditions(case, SEVERAL if count(case) <= COUNTED[0] else 2):
            total = float(np.exp(enumerated(subject, case, which)).sum())
            totals.append((total, f"the {count(case):,} {size(case.shape)} images of {case.levels} levels"))
    total, images = max(totals, key=lambda pair: math.inf if math.isnan(pair[0]) else abs(pair[0] - 1))
    if not abs(total - 1) < 1e-4:
        return (Check(name, False, f"{images} sum to {total:.6g}"),)
    counted = " and ".join(dict.fromkeys(text for _, text in totals))
    return (Check(name, True, f"within {abs(total - 1):.0e} of one: {counted}"),)


def all_images(model: Any) -> UInt8[np.ndarray, "images h w c"]:
    """Every image, in the order of the number that its values write."""
    n = math.prod(model.shape)
    values = np.arange(count(model))[:, None] // model.levels ** np.arange(n - 1, -1, -1) % model.levels
    return values.astype(np.uint8).reshape(-1, *model.shape)


def enumerated(subject: Subject, model: Any, which: int) -> Float[np.ndarray, " images"]:
    """log_prob of every image with random weights, under the model's example condition number `which`."""

    def make() -> np.ndarray:
        images = all_images(model)
        piece = min(len(images), 4096)
        condition, log_prob = same_condition(model, piece, which), subject.log_prob(model)
        filled = np.concatenate([images, np.repeat(images[:1], -len(images) % piece, axis=0)])
        parts = [log_prob(subject.weights(model), part, condition) for part in filled.reshape(-1, piece, *model.shape)]
        return np.concatenate([np.asarray(part, np.float64) for part in parts])[: len(images)]

    log_probs: np.ndarray = subject.once(("enumerated", id(model), which), make)
    return log_probs
