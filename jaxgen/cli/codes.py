"""Latent codes that a user names on the command line: those of images, or draws of the prior."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxgen.cli.inputs import NamedImages, conditions, named_images
from jaxgen.core.capabilities import Decoder, Encoder, Latent, require, why_not
from jaxgen.core.errors import UsageError
from jaxgen.explore.inputs import code_shape
from jaxgen.explore.latent import check_bound, check_encodes, check_normal, same_numbers, truncated


@dataclasses.dataclass(frozen=True)
class Coded:
    """Codes, a name for each, what they are decoded by, and the images that they are of, None for draws."""

    code: np.ndarray
    names: list[str]
    condition: Any
    image: np.ndarray | None = None


def encodes_codes(model: Any) -> bool:
    """Whether what the model encodes an image as is a code that it decodes."""
    return isinstance(model, Encoder) and same_numbers(model)


def check_decodes(run: Any, images: bool, purpose: str, of_images: str) -> None:
    """Raises `UsageError` where the model decodes no codes, encodes no images as such where they are `images`, and has
    no prior to draw from where they are none. `purpose` and `of_images` are what was asked for."""
    model = require(run.model, Decoder, purpose)
    if images:
        require(model, Encoder, of_images)
        check_encodes(model)
    elif not isinstance(model, Latent):
        name = type(model).__name__
        raise UsageError(f"{name} has no prior to draw codes from ({why_not(model, Latent)}): name images.")


def of_images(run: Any, images: NamedImages, progress: Any = None) -> Coded:
    """The codes of images, in the shape in which they are decoded."""
    code = run.encode(images.image, images.condition, progress)
    code = np.asarray(code).reshape(len(code), *code_shape(run.model))
    return Coded(code, images.names, images.condition, images.image)


def drawn(run: Any, num: int, seed: int, truncation: float | None = None) -> np.ndarray:
    """Draws of the prior, cut off at ±truncation where there is one."""
    z: np.ndarray = run.prior(num, seed)
    return z if truncation is None else truncated(z, truncation)


def check_truncation(run: Any, truncation: float | None, images: str = "") -> None:
    """Raises `UsageError` unless draws of the run's prior can be cut off there, or where codes are those of images."""
    if truncation is None:
        return
    check_bound(truncation)
    if images:
        raise UsageError(f"--truncation is of draws of the prior, and these are codes of {images}: leave one out.")
    check_normal(run.model)


def of_draws(run: Any, num: int, seed: int, label: int | None, truncation: float | None = None) -> Coded:
    """Draws of the prior, all under the first condition that `conditions` gives or the model has as an example."""
    condition = conditions(run, 1, label)
    condition = run.model.example_condition(1) if condition is None else condition
    condition = None if condition is None else np.repeat(condition, num, 0)
    return Coded(drawn(run, num, seed, truncation), [f"draw {i}" for i in range(num)], condition)


def codes_named(
    run: Any, images: str, num: int, seed: int, label: int | None, truncation: float | None = None
) -> Coded:
    """`num` codes: those of images of that name, evenly spaced, or of the prior where there is none."""
    if images:
        return of_images(run, named_images(run, images, num, label))
    return of_draws(run, num, seed, label, truncation)


def way_of(model: Any, way: str, of_images: bool) -> tuple[str, str]:
    """A way by its name, and in words: of "auto" straight between images, as the prior asks between draws."""
    if way == "auto":
        way = "spherical" if model.spherical and not of_images else "straight"
    return way, "along a great circle" if way == "spherical" else "straight"
