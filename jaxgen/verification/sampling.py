"""Frequencies, calibration, cached = naive: whether what is drawn follows the probabilities."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxgen.core.capabilities import Autoregressive, Completer, Sampler
from jaxgen.core.model import Variables, with_field
from jaxgen.verification.probability import all_images, enumerated
from jaxgen.verification.reading_order import reading_rank
from jaxgen.verification.sensitivity import same_condition, site, some_images
from jaxgen.verification.subject import CACHED, Check, Subject, count, size

DRAWN = 10_000
"""Draws that are held against an enumeration."""

IMAGES = 64
"""Images drawn at the size on which it is looked who sees whom."""

ERRORS = 5.0
"""Standard errors by which a figure that draws may be off."""


@runtime_checkable
class FullPasses(Protocol):
    """A model that can also complete images by a full pass for each sub-pixel, with the same draws as `complete`."""

    def complete_by_full_passes(self, variables: Any, key: Any, image: Any, given: Any, condition: Any = None) -> Any:
        """As `Completer.complete`."""


def frequencies(subject: Subject, key: Any) -> tuple[Check]:
    """Draws of tiny images against their enumerated probabilities, by χ²."""
    name = "frequencies"
    if not isinstance(subject.model, Sampler):
        return (Check(name, None, "it is no Sampler"),)
    case = subject.tiny(min(3, subject.model.levels), DRAWN // 2)
    if case is None:
        return (Check(name, None, "it takes no size so tiny that all images can be counted"),)
    weights = subject.weights(case)
    probability = np.exp(enumerated(subject, case, 0))
    condition = same_condition(case, DRAWN // 4)
    sample = jax.jit(lambda weights, key: case.sample(weights, key, DRAWN // 4, condition))
    drawn = np.concatenate([np.asarray(sample(weights, jax.random.fold_in(key, i))) for i in range(4)]).astype(int)
    if drawn.max() >= case.levels:
        return (Check(name, False, f"a value {drawn.max()} was drawn, but levels are 0 to {case.levels - 1}"),)
    numbers = drawn.reshape(len(drawn), -1) @ case.levels ** np.arange(math.prod(case.shape) - 1, -1, -1)
    counts, expected = np.bincount(numbers, minlength=count(case)), len(drawn) * probability
    errors, freedom = _chi_square(counts, expected)
    images = f"{len(drawn):,} draws of the {count(case):,} {size(case.shape)} images of {case.levels} levels"
    text = f"χ² {errors:+.1f} standard errors from what {freedom} degrees of freedom give: {images}"
    if abs(errors) < ERRORS:
        return (Check(name, True, text),)
    i = int((np.abs(counts - expected) / np.sqrt(expected + 1)).argmax())
    image = all_images(case)[i].reshape(-1).tolist()
    return (Check(name, False, f"{text}; worst: {image} came {counts[i]:,} times, not {expected[i]:.4g}"),)


def _chi_square(counts: np.ndarray, expected: np.ndarray) -> tuple[float, int]:
    """χ² of counts in standard errors of a normal law (Wilson and Hilferty's cube root), and its degrees of freedom.

    Cells with fewer than five expected count as one.
    """
    kept = expected >= 5
    observed, wanted = np.append(counts[kept], counts[~kept].sum()), np.append(expected[kept], expected[~kept].sum())
    some = (wanted > 1e-3) | (observed > 0)
    observed, wanted = observed[some], wanted[some].clip(1e-3)
    freedom = max(len(wanted) - 1, 1)
    ratio, spread = ((observed - wanted) ** 2 / wanted).sum() / freedom, 2 / (9 * freedom)
    return float((ratio ** (1 / 3) - (1 - spread)) / math.sqrt(spread)), freedom


def calibration(subject: Subject, key: Any) -> tuple[Check]:
    """Given what came before, the probability of the value drawn is Σp² on average.

    A sampler that draws from anything else is off, be it on larger images only. The sums over draws are martingales:
    their total is normal, and that of one sub-pixel has Freedman's bound, P(|S| ≥ t) ≤ 2·exp(−t²/2(V+t/3)) (1975).
    """
    name = "calibration"
    both = isinstance(subject.model, Sampler) and isinstance(subject.model, Autoregressive)
    other = subject.small if both else None
    if other is None:
        return (Check(name, None, "it is no Sampler with conditionals, or takes none of the sizes tried"),)
    weights, condition = subject.weights(other), same_condition(other, IMAGES)

    @jax.jit
    def figures(weights: Variables) -> tuple[Array, Array]:
        image = other.sample(weights, key, IMAGES, condition)
        return image, other.log_pmf(weights, image, condition)

    image, log_pmf = (np.asarray(a) for a in figures(weights))
    p = np.exp(log_pmf.astype(np.float64))
    chosen = np.take_along_axis(p, image[..., None].astype(int).clip(max=other.levels - 1), axis=-1)[..., 0]
    mean = (p**2).sum(axis=-1)
    off, variance = (chosen - mean).sum(axis=0), ((p**3).sum(axis=-1) - mean**2).clip(0).sum(axis=0)
    errors = off.sum() / math.sqrt(variance.sum() + 1e-9)
    images = f"{IMAGES} {size(other.shape)} images"
    text = f"the values drawn are {errors:+.1f} standard errors from their probabilities: {images}"
    surprise = off**2 / (2 * (variance + np.abs(off) / 3) + 1e-9) - math.log(2 * off.size)
    if abs(errors) < ERRORS and surprise.max() < math.log(1e6):
        return (Check(name, True, text),)
    at = site(surprise.argmax(), other.shape)
    found, wanted = (float(a[(slice(None), *at)].mean()) for a in (chosen, mean))
    worst = f"those for {at} have probability {found:.3f} on average, not {wanted:.3f}"
    return (Check(name, False, f"{text}; worst: {worst}", (at,)),)


def cached(subject: Subject, key: Any) -> tuple[Check]:
    """`complete` draws the pixels that full passes draw with the same keys, and keeps what is given.

    To the last pixel where the model computes in float64. In float32 a draw on a boundary may tip, which is so rare
    that two trials in a row are taken for a difference.
    """
    name = "cached = naive"
    if not isinstance(subject.model, Completer) or not isinstance(subject.model, FullPasses):
        return (Check(name, None, "it has no complete_by_full_passes beside complete"),)
    other: Any = subject.first([*CACHED, subject.model.shape[:2]], subject.model.levels)
    if other is None:
        return (Check(name, None, "it takes none of the sizes tried"),)
    weights = subject.weights(other)
    with jax.enable_x64(True):
        weights = jax.tree.map(_widened, weights)
        return (_against_full_passes(with_field(other, "dtype", "float64"), weights, key),)


def _widened(a: Array) -> Array:
    return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


def _against_full_passes(model: Any, weights: Variables, key: Any) -> Check:
    name, num, exact = "cached = naive", 4, False
    image, condition = some_images(model, key, num), same_condition(model, num)
    given = np.random.default_rng(0).random(model.shape[:2]) < 0.25
    if isinstance(model, Autoregressive):
        x = jax.ShapeDtypeStruct((num, *model.shape), jnp.float32)
        exact = jax.eval_shape(lambda x: model.logits(weights, x, condition), x).dtype == jnp.float64
    routes = [
        jax.jit(lambda weights, key, route=route: route(weights, key, image, given, condition))
        for route in (model.complete, model.complete_by_full_passes)  # type: ignore[attr-defined]
    ]
    what = f"{num} {size(model.shape)} images in {'float64' if exact else 'float32'}"
    for trial in range(1 if exact else 2):
        quick, plain = (np.asarray(route(weights, jax.random.fold_in(key, trial))) for route in routes)
        if (quick[:, given] != np.asarray(image)[:, given]).any():
            return Check(name, False, "complete changes pixels that are given")
        if (quick == plain).all():
            return Check(name, True, f"the same pixels: {what}")
    rank = reading_rank(np.asarray(model.context())) if isinstance(model, Autoregressive) else None
    rank = np.arange(math.prod(model.shape)).reshape(model.shape) if rank is None else rank
    differ = (quick != plain).any(axis=0)
    at = site(np.where(differ, rank, rank.size).argmin(), model.shape)
    images = int((quick != plain).any(axis=(1, 2, 3)).sum())
    return Check(name, False, f"{images} of {what} differ, first at {at}", (at,))
