"""Sums of latent codes: what sets one concept apart from another, added to a third (1511.06434, §6.3.2).

Single codes did not add up in the paper; means over three codes of a concept did: smiling woman − woman + man gave a
smiling man. The paper shows the sum in the middle of eight near it, each number moved by uniform noise of ±.25.

The paper judges by eye. Here classifiers are asked: `score` is how often one takes images for the class that the sum
should give, held against its share among all codes; of one of another attribute, `kept` is how often it says of an
image what it said before the sum, held against how often it says the same of two images.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core.capabilities import Classifier, require
from jaxgen.core.errors import UsageError
from jaxgen.explore.quality import at_levels_of, check_net
from jaxgen.explore.trained import Trained

Codes = Float[Array | np.ndarray, "n ..."]
Code = Float[Array | np.ndarray, "*d"]

AROUND = 8
"""Codes near a sum that are shown around it."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Percent of `trials` images that were taken for the class that was wanted, and what it would be by chance."""

    percent: float
    chance: float
    trials: int

    @property
    def stderr(self) -> float:
        """The standard error of `percent`, of independent trials."""
        return float(np.sqrt(self.percent * (100 - self.percent) / self.trials))


def of_class(classes: Int[np.ndarray, " n"], wanted: int, num: int) -> Int[np.ndarray, " num"]:
    """The places of the first `num` of a class, from 0. Raises `UsageError` where there are fewer.

    >>> of_class(np.array([3, 1, 3, 3]), 3, 2).tolist()
    [0, 2]
    """
    places = np.flatnonzero(classes == wanted)
    if len(places) < num:
        raise UsageError(
            f"a concept of class {wanted} wants {num} codes, and {len(places)} of {len(classes):,} are of it: look at "
            "more codes, take the mean of fewer, or name another class."
        )
    return places[:num]


def summed(z: Codes, a: Any, b: Any, c: Any) -> Float[np.ndarray, "*d"]:
    """mean(z_a) − mean(z_b) + mean(z_c), where a, b and c are the places of the codes of three concepts.

    >>> summed(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [7.0, 7.0]]), [0, 1], [2], [3]).tolist()
    [9.0, 2.0]
    """
    z = np.asarray(z)
    first, second, third = (z[np.asarray(places)].mean(axis=0) for places in (a, b, c))
    return np.asarray(first - second + third)


def around(code: Code, noise: float, seed: int = 0) -> Float[np.ndarray, "9 ..."]:
    """Nine codes, of which the middle one is `code` and the others have uniform noise of −noise … noise on each number.

    The same seed gives the same noise. Raises `UsageError` for noise that is no number from 0 on.
    """
    if not 0 <= noise < np.inf:
        raise UsageError(f"noise must be a number from 0 on, got {noise:g}.")
    code = np.asarray(code, np.float32)
    moved = np.random.default_rng(seed).uniform(-noise, noise, (AROUND + 1, *code.shape)).astype(np.float32)
    moved[AROUND // 2] = 0.0
    return code + moved


def check_classes(net: Trained, sampler: Trained) -> None:
    """Raises `UsageError` unless the net tells classes of such images as the sampler makes."""
    require(net.model, Classifier, "tell the concepts of images")
    check_net(net, sampler.model.shape, sampler.model.levels)


def taken_for(net: Trained, image: UInt8[np.ndarray, "b h w c"], levels: int) -> Int[np.ndarray, " b"]:
    """The class that a classifier finds likeliest of each image of so many levels."""
    return np.asarray(net.class_log_probs(at_levels_of(net, image, levels)).argmax(axis=1))


def kept(before: Int[np.ndarray, " t"], after: Int[np.ndarray, " t"]) -> Score:
    """How often an image has the class that it had before its code was moved; by chance it would have that of any
    image of before.

    >>> kept(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    Score(percent=75.0, chance=62.5, trials=4)
    """
    share = np.bincount(before) / len(before)
    return Score(float(100 * np.mean(before == after)), float(100 * (share**2).sum()), len(before))


def score(classes: Int[np.ndarray, " t"], before: Int[np.ndarray, " n"], wanted: int) -> Score:
    """How often images of sums were taken for the class that they should be of; `before` are the classes of all codes.

    Raises `UsageError` where there is no sum.

    >>> score(np.array([2, 2, 1, 2]), np.array([0, 1, 2, 1, 0]), 2)
    Score(percent=75.0, chance=20.0, trials=4)
    """
    if not len(classes):
        raise UsageError("a score wants an image of a sum or more, got none.")
    percent, chance = (float(100 * np.mean(x == wanted)) for x in (classes, before))
    return Score(percent, chance, len(classes))
