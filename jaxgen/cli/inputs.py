"""Images, masks and conditions that a user names on the command line."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from jaxtyping import Bool

from jaxgen.core.conditions import Classes, Map, Text, Vector, array_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import requantise
from jaxgen.data.arrays import read_npz
from jaxgen.data.dataset import checked_conditions, split_arrays, take, whole_images
from jaxgen.data.picture_folder import SUFFIXES, picture_files, read_picture
from jaxgen.engine.evaluate import example_condition
from jaxgen.explore.inputs import checked_condition

IMAGES = (
    "A split of the run's data (test, valid, train), an .npz with the images as `image`, a picture, a folder of "
    "pictures, or a data set as `jaxgen data list` names them; with :N behind it, the one image of that number, from 0."
)
Images = Annotated[str, tyro.conf.arg(help=IMAGES)]
OfPrior = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="IMAGES", help=IMAGES, help_behavior_hint="(default: draws of the prior)"),
]
"""Images whose codes a command takes, or draws of the prior."""


def slug(name: str) -> str:
    """A name of images as part of a file's name."""
    return re.sub(r"[^\w.=-]+", "_", name).strip("_")[-60:] or "images"


SPLITS = ("test", "valid", "train")


@dataclasses.dataclass(frozen=True)
class NamedImages:
    """Images `uint8[b,h,w,c]` with the model's levels, a name for each, what the model is conditioned on, and the
    labels that they have, whether the model knows of them or not."""

    image: np.ndarray
    names: list[str]
    condition: np.ndarray | None
    label: np.ndarray | None = None

    def repeated(self, num: int) -> NamedImages:
        """A single image so many times, others as they are."""
        if len(self.image) > 1:
            return self
        condition, label = (None if x is None else x.repeat(num, 0) for x in (self.condition, self.label))
        return NamedImages(self.image.repeat(num, 0), self.names * num, condition, label)


def mask(keep: str, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w"]:
    """True where pixels are given: a half by its name, or the light part of a picture of the model's size.

    Raises `UsageError` for a picture of another size, and where everything or nothing is given.
    """
    h, w, _ = shape
    given = np.zeros((h, w), bool)
    halves: dict[str, Any] = {
        "top-half": np.s_[: h // 2],
        "bottom-half": np.s_[h - h // 2 :],
        "left-half": np.s_[:, : w // 2],
        "right-half": np.s_[:, w - w // 2 :],
    }
    if keep in halves:
        given[halves[keep]] = True
    else:
        light = read_picture(Path(keep), 1)
        if light.shape[:2] != (h, w):
            raise UsageError(
                f"mask {keep} is {light.shape[0]}×{light.shape[1]}, the model's images are {h}×{w}: resize it."
            )
        given = light[..., 0] >= 128
    if given.all():
        raise UsageError(f"--keep {keep} gives every pixel, so that nothing is left to draw: leave some dark.")
    if not given.any():
        raise UsageError(f"--keep {keep} gives no pixel: `jaxgen sample` draws whole images.")
    return given


def named_images(run: Any, name: str, num: int | None = None, label: int | None = None) -> NamedImages:
    """Images of a split of the run's data, of an .npz that a command wrote (`saved`), of one picture, of a folder of
    pictures, or of another data set's test split: all, or `num` of them, evenly spaced, or the one that a name such as
    `test:5` says.

    Pictures are requantised to the model's levels. Conditions are the images' own, or `label` for all. Raises
    `UsageError` for another size, levels of a data set, and conditions that are missing or of another kind.
    """
    name, chosen = _one_of(name, num)
    path = Path(name)
    if name not in SPLITS and path.is_file() and path.suffix.lower() in SUFFIXES:
        _spaced(1, chosen)
        images = _read(run, [path], [name])
    elif name not in SPLITS and path.is_dir() and (files := picture_files(path)):
        files = [files[i] for i in _spaced(len(files), chosen)]
        images = _read(run, files, [str(file.relative_to(path)) for file in files])
    else:
        images = saved(run, name, chosen, label) or _of_data(run, name, chosen, with_labels=label is None)
    if label is not None:
        return dataclasses.replace(images, condition=labels(run.model, label, len(images.image)))
    kind = run.model.condition
    if images.condition is None and isinstance(kind, Classes) and not kind.dropout:
        raise UsageError(
            f"{name} has no labels, and {type(run.model).__name__} is conditional on them: give one with --label."
        )
    return images


def saved(run: Any, name: str, num: int | range | None = None, label: int | None = None) -> NamedImages | None:
    """Images of an .npz as `jaxgen sample` and `jaxgen decompress` write it, with the array `image`, at the model's
    levels: all, or `num` of them, evenly spaced, or a range. None for any other name, that of a split among them.

    Conditions are the file's `label` or `condition`, or `label` for all. Raises `UsageError` for what does not fit.
    """
    path = Path(name)
    if name in SPLITS or path.suffix.lower() != ".npz" or not path.is_file():
        return None
    arrays = read_npz(path)
    if "image" not in arrays:
        return None
    image = whole_images(arrays["image"], f"{name}: its images")
    if image.ndim != 4 or not len(image):
        raise UsageError(f"{name}: wanted images uint8[n, height, width, channels], got {image.dtype}{[*image.shape]}.")
    run.check(image.shape[1:], max(int(image.max()) + 1, run.model.levels), name)
    index = _spaced(len(image), num)
    named = arrays.get("label", np.empty(0))
    own = named[index] if named.shape == image.shape[:1] and np.issubdtype(named.dtype, np.integer) else None
    images = NamedImages(image[index], [f"{path.stem} {i}" for i in index], None, own)
    if label is not None:
        return dataclasses.replace(images, condition=labels(run.model, label, len(index)))
    if "condition" in arrays:
        arrays["condition"] = checked_conditions(arrays["condition"], f"{name}, array 'condition'")
    condition = run.model.condition_of(arrays) if _has_condition(run.model, arrays) else None
    if condition is None:
        return images
    try:
        return dataclasses.replace(images, condition=checked_condition(run.model, condition, len(image))[index])
    except UsageError as error:
        raise UsageError(f"{name}: {error}.") from error


def labels(model: Any, label: int, num: int) -> np.ndarray:
    """One label for all images. Raises `UsageError` where the model is unconditional or does not know it."""
    if abs(label) > np.iinfo(np.int32).max:
        raise UsageError(f"--label {label}: class out of range, no model has so many.")
    try:
        return np.asarray(checked_condition(model, np.full(num, label, np.int32), num))
    except UsageError as error:
        raise UsageError(f"--label {label}: {error}.") from error


def conditions(run: Any, num: int, label: int | None = None, file: str = "") -> np.ndarray | None:
    """What `num` images are drawn by: one label for all, the array `condition` of an .npz, again and again where it has
    fewer, or, of a model of vectors, maps or sentences, `example_condition` of the run's data. None leaves it to the
    model.

    Raises `UsageError` for a file without that array, and for conditions that are not of the model's kind.
    """
    if label is not None:
        return labels(run.model, label, num)
    kind = run.model.condition
    if not file:
        return example_condition(run.model, run.dataset, num) if isinstance(kind, Vector | Map | Text) else None
    if kind is not None and not isinstance(kind, Vector | Map | Text):
        raise UsageError(f"--condition {file}: {type(run.model).__name__} is conditional on classes: give a --label.")
    arrays = read_npz(Path(file))
    if "condition" not in arrays or not len(np.atleast_1d(arrays["condition"])):
        contents = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
        raise UsageError(f"--condition {file}: wanted an array named condition with a row or more, found {contents}.")
    given = checked_conditions(arrays["condition"], f"--condition {file}")
    try:
        return np.asarray(checked_condition(run.model, given[np.arange(num) % len(given)], num))
    except UsageError as error:
        raise UsageError(f"--condition {file}: {error}.") from error


def _one_of(name: str, num: int | None) -> tuple[str, int | range | None]:
    """A name of images without the number behind it, and that number's place, or `num` where there is none."""
    numbered = re.fullmatch(r"(.+):(\d+)", name)
    if numbered is None or Path(name).exists():
        return name, num
    return numbered[1], range(int(numbered[2]), int(numbered[2]) + 1)


def _spaced(count: int, num: int | range | None) -> np.ndarray:
    """Places of `num` of `count` things, evenly spaced, since files are often sorted; all for None, a range as it is.

    Raises `UsageError` for a range beyond them.
    """
    if isinstance(num, range):
        if num.stop > count:
            raise UsageError(f"there is no image {num[-1]}: they are {count:,}, numbered from 0 to {count - 1:,}.")
        return np.array(num)
    return np.linspace(0, count - 1, count if num is None else min(num, count)).astype(int)


def _read(run: Any, files: list[Path], names: list[str]) -> NamedImages:
    """Pictures as the model's images."""
    h, w, c = run.model.shape
    if c not in (1, 3):
        raise UsageError(f"a picture can be read for 1 or 3 channels, the model has {c}: give an npz.")
    image = np.empty((len(files), h, w, c), np.uint8)
    for i, file in enumerate(files):
        picture = read_picture(file, c)
        run.check(picture.shape, run.model.levels, str(file))
        image[i] = requantise(picture, 256, run.model.levels)
    return NamedImages(image, names, None)


def _of_data(run: Any, name: str, num: int | range | None, with_labels: bool) -> NamedImages:
    if name in SPLITS:
        dataset, split, label = run.dataset, getattr(run.dataset, name), name
        if split is None:
            raise UsageError(f"{dataset.name} has no {name} split: give valid, or another data set.")
    else:
        dataset = run.other_data(name)
        split, label = (dataset.valid, "valid") if dataset.test is None else (dataset.test, "test")
    run.check(dataset.shape, dataset.levels, dataset.name)
    index = _spaced(len(split), num)
    batch = split_arrays(take(split, index))
    if dataset.transform is not None:
        import jax

        batch = jax.jit(functools.partial(_seen, dataset.transform))(batch, jax.random.key(0))
    condition = run.model.condition_of(batch) if with_labels and _has_condition(run.model, batch) else None
    if condition is not None:
        condition = np.asarray(checked_condition(run.model, condition, len(index)))
    own = np.asarray(batch["label"]) if "label" in batch else None
    return NamedImages(np.asarray(batch["image"]), [f"{label} {i}" for i in index], condition, own)


def _has_condition(model: Any, arrays: Mapping[str, Any]) -> bool:
    """Whether images bring what the model is conditioned on, among whatever else they bring."""
    return model.condition is not None and array_of(model.condition) in arrays


def _seen(transform: Any, batch: Any, key: Any) -> Any:
    return transform(batch, key, False)
