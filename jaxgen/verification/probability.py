"""Conditionals and normalisation: whether the numbers that a model gives are probabilities."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Autoregressive
from jaxgen.core.images import to_float
from jaxgen.core.model import Variables
from jaxgen.verification.sensitivity import is_conditional, same_condition, site, some_images
from jaxgen.verification.subject import FEW, Check, Subject, count, size

COUNTED = 5000, 70_000
"""Images of a tiny size at most, and at most where none is so tiny: 2^16 are those of 4×4 binary pixels."""


def conditionals(subject: Subject, key: Any) -> tuple[Check]:
    """At the model's own levels: they sum to one, multiply to log_prob, and are the softmax of the logits, whatever
    else is in the batch."""
    name = "conditionals"
    model = subject.model
    other = subject.first([*FEW, model.shape[:2]], model.levels) if isinstance(model, Autoregressive) else None
    if other is None:
        return (Check(name, None, "it has none, or takes none of the sizes tried"),)
    shape, weights = other.shape, subject.weights(other)
    image, condition = some_images(other, jax.random.fold_in(key, 1), 4), same_condition(other, 4)

    @jax.jit
    def figures(weights: Variables, image: Array) -> tuple[Array, Array, Array]:
        logits = other.logits(weights, to_float(image, other.levels), condition)
        log_pmf = other.log_pmf(weights, image, condition)
        return jax.nn.softmax(logits), log_pmf, other.log_prob(weights, image, key, condition)

    softmax, log_pmf, log_prob = (np.asarray(a, np.float64) for a in figures(weights, image))
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
    other_mates = jnp.concatenate([image[:1], jnp.zeros_like(image[1:])])
    again = float(figures(weights, other_mates)[2][0])
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
        return (Check(name, None, "it takes no size so tiny that all images can be counted"),)
    found = []
    for case in cases:
        for which in range(1 + is_conditional(case)):
            total = float(np.exp(enumerated(subject, case, which)).sum())
            found.append((total, f"the {count(case):,} {size(case.shape)} images of {case.levels} levels"))
    total, images = max(found, key=lambda pair: math.inf if math.isnan(pair[0]) else abs(pair[0] - 1))
    if not abs(total - 1) < 1e-4:
        return (Check(name, False, f"{images} sum to {total:.6g}"),)
    counted = " and ".join(dict.fromkeys(text for _, text in found))
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
        condition = same_condition(model, piece, which)
        log_prob = jax.jit(lambda weights, image: model.log_prob(weights, image, subject.key, condition))
        filled = np.concatenate([images, np.repeat(images[:1], -len(images) % piece, axis=0)])
        parts = [log_prob(subject.weights(model), part) for part in filled.reshape(-1, piece, *model.shape)]
        return np.concatenate([np.asarray(part, np.float64) for part in parts])[: len(images)]

    found: np.ndarray = subject.once(("enumerated", id(model), which), make)
    return found
