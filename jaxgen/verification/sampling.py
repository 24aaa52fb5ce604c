"""Frequencies, calibration, independence, cached = naive: whether what is drawn follows the probabilities."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.core.capabilities import Autoregressive, Completer, Incremental, Sampler
from jaxgen.core.model import Variables, with_field
from jaxgen.verification.full_passes import complete_by_full_passes
from jaxgen.verification.probability import SEVERAL, all_images, enumerated
from jaxgen.verification.reading_order import reading_rank
from jaxgen.verification.sensitivity import (
    CHUNK,
    LABELS,
    mixed_condition,
    named,
    same_condition,
    site,
    some_conditions,
    some_images,
)
from jaxgen.verification.subject import CACHED, Check, Subject, count, size

DRAWN = 10_000
"""Draws that are held against an enumeration; under several conditions here and below twice as many."""

BATCH = 2500
"""How many of them are drawn at once."""

IMAGES = 64
"""Images drawn at the size on which it is looked who sees whom."""

ERRORS = 5.0
"""Standard errors by which a figure that draws may be off."""

HOTTEST = 16.0
"""Temperature up to which it is asked what a check would notice."""


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Draws of one size: `image` number b under the condition number `kinds[b % len(kinds)]`."""

    model: Any
    kinds: list[int]
    image: Int[np.ndarray, "num h w c"]

    @property
    def fault(self) -> str:
        """What is wrong with the values by themselves, or nothing."""
        most = int(self.image.max())
        return f"a value {most} was drawn, but levels are 0 to {self.model.levels - 1}" * (most >= self.model.levels)

    def turn(self) -> Int[np.ndarray, " num"]:
        """The place among `kinds` of each image's condition."""
        return np.arange(len(self.image)) % len(self.kinds)


def _tiny_draws(subject: Subject) -> Draws | None:
    """Draws at a size of which all images can be counted, None where there is none."""
    case = subject.tiny(min(3, subject.model.levels), DRAWN // 2)
    return None if case is None else subject.once("tiny draws", lambda: _drawn(subject, case, SEVERAL, BATCH))


def _small_draws(subject: Subject) -> Draws | None:
    """Draws at the size on which it is looked who sees whom."""
    case = subject.small
    return None if case is None else subject.once("small draws", lambda: _drawn(subject, case, LABELS, IMAGES))


def _drawn(subject: Subject, case: Any, most: int, num: int) -> Draws:
    kinds, key = some_conditions(case, most), jax.random.fold_in(subject.key, num)
    num = num // len(kinds) * len(kinds)
    batches = (1 if num <= IMAGES else DRAWN // BATCH) * min(len(kinds), 2)
    sample = jax.jit(lambda weights, key, condition: case.sample(weights, key, num, condition))
    weights, condition = subject.weights(case), mixed_condition(case, kinds, num)
    parts = [np.asarray(sample(weights, jax.random.fold_in(key, i), condition)) for i in range(batches)]
    return Draws(case, kinds, np.concatenate(parts).astype(int))


def frequencies(subject: Subject, key: Any) -> tuple[Check]:
    """Draws of tiny images against their enumerated probabilities, under each of some conditions, by χ²."""
    name = "frequencies"
    if not isinstance(subject.model, Sampler):
        return (Check(name, None, "it is no Sampler"),)
    draws = _tiny_draws(subject)
    if draws is None:
        return (Check(name, None, f"no size is so tiny that all images can be counted: {subject.refused}"),)
    if draws.fault:
        return (Check(name, False, draws.fault),)
    case, kinds = draws.model, draws.kinds
    probability = np.exp([enumerated(subject, case, which) for which in kinds])
    numbers = draws.turn() * count(case) + _numbers(draws)
    counts = np.bincount(numbers, minlength=probability.size)
    each = len(numbers) / len(kinds)
    law = Law(each * probability.reshape(-1))
    errors, likely = law.chi_square(counts), law.likely(counts)
    images = f"{len(numbers):,} draws of the {count(case):,} {size(case.shape)} images of {case.levels} levels"
    images += f" under {len(kinds)} conditions" if len(kinds) > 1 else ""
    text = f"χ² {errors:+.1f} standard errors from what {law.freedom} degrees of freedom give, "
    text += f"log-probabilities {likely:+.1f} from their mean: {images}"
    if max(abs(errors), abs(likely)) < ERRORS:
        order = _drawing_order(case)

        def power(temperature: float) -> float:
            axes = (case.levels,) * len(order)
            hot = np.concatenate([tempered(p.reshape(axes), order, temperature).reshape(-1) for p in probability])
            return max(law.chi_square(each * hot, mean=True), abs(law.likely(each * hot)))

        return (Check(name, True, f"{text}; {_noticed(power)}"),)
    expected = each * probability.reshape(-1)
    i = int((np.abs(counts - expected) / np.sqrt(expected + 1)).argmax())
    image = all_images(case)[i % count(case)].reshape(-1).tolist()
    worst = f"worst: {image}{named(case, kinds[i // count(case)])} came {counts[i]:,} times, not {expected[i]:.4g}"
    return (Check(name, False, f"{text}; {worst}"),)


def _numbers(draws: Draws) -> Int[np.ndarray, " num"]:
    """The number of each image among `all_images`."""
    flat = draws.image.reshape(len(draws.image), -1)
    numbers: np.ndarray = flat @ draws.model.levels ** np.arange(flat.shape[1] - 1, -1, -1)
    return numbers


class Law:
    """Expected counts of cells, and how far others are from them in standard errors."""

    def __init__(self, expected: Float[np.ndarray, " cells"]):
        self.expected, self._kept = expected, expected >= 5
        wanted = self._pool(expected)
        self._some, self.freedom = wanted > 1e-3, max(int((wanted > 1e-3).sum()) - 1, 1)

    def _pool(self, counts: np.ndarray) -> np.ndarray:
        """Counts, where cells with fewer than five expected count as one."""
        return np.append(counts[self._kept], counts[~self._kept].sum())

    def chi_square(self, counts: np.ndarray, mean: bool = False) -> float:
        """χ² of counts, by Wilson and Hilferty's cube root, or its mean where they are the means of counts."""
        wanted, observed = self._pool(self.expected).clip(1e-3), self._pool(counts)
        some = self._some | (observed > 1e-3)
        wanted, observed = wanted[some], observed[some]
        noise = observed * (1 - observed / observed.sum()) if mean else 0
        total, spread = (((observed - wanted) ** 2 + noise) / wanted).sum(), 2 / (9 * self.freedom)
        return float(((total / self.freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))

    def likely(self, counts: np.ndarray) -> float:
        """The sum of log-probabilities of what was drawn: what a temperature moves first."""
        nats = np.log(self.expected.clip(1e-12))
        mean = (self.expected * nats).sum() / self.expected.sum()
        variance = (self.expected * (nats - mean) ** 2).sum()
        return float((counts * (nats - mean)).sum() / math.sqrt(variance + 1e-6))


def _drawing_order(model: Any) -> list[int]:
    """The numbers of the sub-pixels as they are drawn: in raster order where a model has no other."""
    h, w, c = model.shape
    rank = model.drawing_rank() if isinstance(model, Autoregressive) else np.arange(h * w)
    return [int(pixel) * c + k for pixel in np.argsort(np.asarray(rank).reshape(-1)) for k in range(c)]


def tempered(
    pmf: Float[np.ndarray, "*levels"], order: Sequence[int], temperature: float
) -> Float[np.ndarray, "*levels"]:
    """What is drawn at a temperature that divides the log-probabilities of each sub-pixel given those before it.

    An axis of the pmf is a sub-pixel; `order` are the axes as they are drawn.
    """
    turned, hot = pmf.transpose(order), np.ones(())
    for place in range(1, len(order) + 1):
        known = turned.reshape(*turned.shape[:place], -1).sum(axis=-1)
        given = known / known.sum(axis=-1, keepdims=True).clip(1e-300)
        warm = given ** (1 / temperature)
        hot = hot[..., None] * (warm / warm.sum(axis=-1, keepdims=True).clip(1e-300))
    tempered: np.ndarray = hot.transpose(np.argsort(order))
    return tempered


def _noticed(power: Callable[[float], float]) -> str:
    """The temperature at which a check's figure is expected where it begins to fail, by bisection."""
    low, high = 1.0, HOTTEST
    if abs(power(high)) < ERRORS:
        return f"would not notice a temperature of {high:g}"
    while high - low > 0.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if abs(power(middle)) >= ERRORS else (middle, high)
    return f"would notice a temperature of {math.ceil(high * 100) / 100:.2f}"


def calibration(subject: Subject, key: Any) -> tuple[Check]:
    """Given what came before, the probability of the value drawn is Σp² on average, under conditions in turn.

    A sampler that draws from anything else is off, be it on larger images only. The sums over draws are martingales:
    their total is normal, and that of one sub-pixel has Freedman's bound, P(|S| ≥ t) ≤ 2·exp(−t²/2(V+t/3)) (1975).
    """
    name = "calibration"
    if not (isinstance(subject.model, Sampler) and isinstance(subject.model, Autoregressive)):
        return (Check(name, None, "it is no Sampler with conditionals"),)
    draws = _small_draws(subject)
    if draws is None:
        return (Check(name, None, subject.refused),)
    if draws.fault:
        return (Check(name, False, draws.fault),)
    other, image, p = draws.model, draws.image, _probabilities(subject, draws)
    chosen = np.take_along_axis(p, image[..., None], axis=-1)[..., 0]
    mean = (p**2).sum(axis=-1)
    off, variance = (chosen - mean).sum(axis=0), ((p**3).sum(axis=-1) - mean**2).clip(0).sum(axis=0)
    spread = math.sqrt(variance.sum() + 1e-9)
    errors = off.sum() / spread
    images = f"{len(image)} {size(other.shape)} images"
    images += f" under {len(draws.kinds)} conditions" if len(draws.kinds) > 1 else ""
    text = f"the values drawn are {errors:+.1f} standard errors from their probabilities: {images}"
    told = _label_errors(subject, draws, p)
    text += f", and {told:+.1f} from what their own conditions say beside others" if len(draws.kinds) > 1 else ""
    if not abs(told) < ERRORS:
        return (Check(name, False, f"{text}: they are drawn under others"),)
    surprise = off**2 / (2 * (variance + np.abs(off) / 3) + 1e-9) - math.log(2 * off.size)
    if abs(errors) < ERRORS and surprise.max() < math.log(1e6):

        def power(temperature: float) -> float:
            warm = p ** (1 / temperature)
            return float(((warm * p).sum(axis=-1) / warm.sum(axis=-1) - mean).sum() / spread)

        return (Check(name, True, f"{text}; {_noticed(power)}"),)
    at = site(surprise.argmax(), other.shape)
    chance, wanted = (float(a[(slice(None), *at)].mean()) for a in (chosen, mean))
    worst = f"those for {at} have probability {chance:.3f} on average, not {wanted:.3f}"
    return (Check(name, False, f"{text}; worst: {worst}", (at,)),)


def _label_errors(subject: Subject, draws: Draws, p: np.ndarray) -> float:
    """How much less the draws speak for their own conditions, beside the next ones, than they should: a martingale too,
    the sum of log p(x|own) − log p(x|next) less its mean. In standard errors; 0 where there is one condition."""
    if len(draws.kinds) == 1:
        return 0.0
    other = _probabilities(subject, draws, 1)
    ratio = np.log(p.clip(1e-12)) - np.log(other.clip(1e-12))
    mean = (p * ratio).sum(axis=-1)
    variance = (p * (ratio - mean[..., None]) ** 2).sum()
    chosen = np.take_along_axis(ratio, draws.image[..., None], axis=-1)[..., 0]
    return float((chosen - mean).sum() / math.sqrt(variance + 1e-9))


def _probabilities(subject: Subject, draws: Draws, ahead: int = 0) -> Float[np.ndarray, "num h w c levels"]:
    """Those of every value of each sub-pixel, given what was drawn before it, under the condition of the image that is
    so far ahead."""

    def make() -> np.ndarray:
        model, image = draws.model, draws.image.astype(np.uint8)
        num = -(-len(image) // CHUNK) * CHUNK
        filled = np.concatenate([image, np.repeat(image[:1], num - len(image), axis=0)])
        condition, weights = mixed_condition(model, np.roll(draws.kinds, -ahead).tolist(), num), subject.weights(model)
        pieces = [slice(first, first + CHUNK) for first in range(0, num, CHUNK)]
        on = [jax.tree.map(functools.partial(_rows, piece), condition) for piece in pieces]
        log_pmf = subject.log_pmf(model)
        parts = [log_pmf(weights, filled[piece], one) for piece, one in zip(pieces, on)]
        return np.exp(np.concatenate(parts).astype(np.float64))[: len(image)]

    pmf: np.ndarray = subject.once(("probabilities", ahead), make)
    return pmf


def independence(subject: Subject, key: Any) -> tuple[Check]:
    """The images of one batch, and of batches with other keys, have nothing to do with each other.

    Two images agree by chance alone: with e the one-hot values less their probabilities, Σ⟨e_b, e_b+l⟩ over a batch is
    zero on average for each lag l, with variance Σ tr(C_b·C_b+l), C being the covariance of e. Looked at for all lags:
    in tiny images with what the enumeration says of each, in small ones with what is known of a sub-pixel given those
    before it.
    """
    name = "independence"
    if not isinstance(subject.model, Sampler):
        return (Check(name, None, "it is no Sampler"),)
    cases = [(_tiny_draws(subject), _tiny_lags)]
    cases += [(_small_draws(subject), _small_lags)] if isinstance(subject.model, Autoregressive) else []
    lagged = [(lags(subject, draws), draws) for draws, lags in cases if draws is not None and not draws.fault]
    if not lagged:
        return (Check(name, None, f"nothing is known of what it draws: {subject.refused}"),)
    looked = " and ".join(f"{len(draws.image):,} of {size(draws.model.shape)}" for _, draws in lagged)
    errors, draws = max(lagged, key=lambda pair: float(np.abs(pair[0]).max()))
    lag = int(np.abs(errors).argmax())
    # The largest of thousands of lags may be an error further off than a single figure.
    if abs(errors[lag]) < ERRORS + 1:
        return (Check(name, True, f"images are alike by chance alone at all distances in a batch: {looked}"),)
    much = "more" if errors[lag] > 0 else "less"
    text = f"{lag + 1:,} apart in a batch are {much} alike than by chance, by {abs(errors[lag]):.0f} standard errors"
    return (Check(name, False, f"images of {size(draws.model.shape)} that are {text}"),)


def _tiny_lags(subject: Subject, draws: Draws) -> Float[np.ndarray, " lags"]:
    """Standard errors of each lag from 1 to half of all draws, by the enumerated law of an image."""
    levels, every = draws.model.levels, _one_hot(all_images(draws.model), draws.model.levels)
    law = np.exp([enumerated(subject, draws.model, which) for which in draws.kinds])
    mean = law @ every
    covariance = np.einsum("kx,xi,xj->kij", law, every, every, optimize=True) - mean[:, :, None] * mean[:, None]
    flat = covariance.reshape(len(law), -1)
    variance = flat @ flat.T  # tr(C_k·C_l): both are symmetric
    residual = _one_hot(draws.image, levels) - mean[draws.turn()]
    num, kinds = len(residual), np.arange(len(law))
    # All lags at once: the autocorrelation is the transform of the spectrum's squares.
    agreed = np.fft.irfft((np.abs(np.fft.rfft(residual, axis=0)) ** 2).sum(axis=1), n=num)
    pairs = np.array([variance[kinds, (kinds + lag) % len(law)].mean() for lag in kinds])
    lags = np.arange(1, num // 2 + 1)
    return agreed[lags] / np.sqrt(num * pairs[lags % len(law)] * _twice(lags, num) + 1e-9)


def _twice(lag: Any, num: int) -> Any:
    """At a lag of half of the images each pair comes twice, and the variance is twice as large."""
    return np.where(2 * lag == num, 2, 1)


def _small_lags(subject: Subject, draws: Draws) -> Float[np.ndarray, " lags"]:
    """The same by the law of each sub-pixel given those before it."""
    p = _probabilities(subject, draws).reshape(len(draws.image), -1, draws.model.levels)
    residual = _one_hot(draws.image, draws.model.levels).reshape(p.shape) - p
    num = len(p)
    errors = []
    for lag in range(1, num // 2 + 1):
        other = np.roll(p, -lag, axis=0)
        both = (p * other).sum(axis=-1)
        trace = both - (p**2 * other).sum(axis=-1) - (p * other**2).sum(axis=-1) + both**2
        agreed = (residual * np.roll(residual, -lag, axis=0)).sum()
        errors.append(agreed / math.sqrt(trace.clip(0).sum() * _twice(lag, num) + 1e-9))
    return np.array(errors)


def _rows(piece: slice, leaf: Array) -> Array:
    return leaf[piece]


def _one_hot(image: np.ndarray, levels: int) -> Float[np.ndarray, "num values"]:
    return (image.reshape(len(image), -1, 1) == np.arange(levels)).reshape(len(image), -1).astype(float)


def cached(subject: Subject, key: Any) -> tuple[Check]:
    """`complete` draws the pixels that full passes draw with the same keys, and keeps what is given.

    To the last pixel where the model computes in float64. In float32 a draw on a boundary may tip, which is so rare
    that two trials in a row are taken for a difference.
    """
    name = "cached = naive"
    if not isinstance(subject.model, Completer) or not isinstance(subject.model, Incremental):
        return (Check(name, None, "it completes no images by walks with memory"),)
    other: Any = subject.first([*CACHED, subject.model.shape[:2]], subject.model.levels)
    if other is None:
        return (Check(name, None, subject.refused),)
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
        for route in (model.complete, functools.partial(complete_by_full_passes, model))
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
