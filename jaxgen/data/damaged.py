"""Pictures to restore: as they are, or whole ones damaged here, in the four ways of Deep Image Prior (1711.10925, §3).

    denoise    Gaussian noise of standard deviation sigma, of 255, rounded and clipped
    superres   a factor-th of the sides, by the Lanczos window of two lobes (`maths.resample`)
    inpaint    pixels missing: each with a probability, or those that a mask has dark
    jpeg       artefacts of JPEG at a quality

All arrays are at the size of the restored image. "image" is the damaged one: of a small image its bicubic enlargement,
and gray where pixels are missing. "small" is what is to be enlarged, "mask" 1 where pixels are known, "original" what
is to come out, where it is known, and "number" which image a row is.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.data.picture_folder import picture_files, read_picture, survey
from jaxgen.maths.resample import lanczos_weights
from jaxgen.pictures.grid import HOLE

Task = Literal["denoise", "superres", "inpaint", "jpeg"]
FACTORS = (2, 4, 8)
"""By which images are enlarged."""

DARK = 128
"""Pixels of a mask below that are missing."""


def pictures(path: str, crop: int = 0) -> UInt8[np.ndarray, "n h w c"]:
    """A picture, or all of a folder, which must have one size: gray ones with one channel, if all are gray. `crop` is
    the side of a centred square. "" is a photograph that comes with scikit-learn.

    Raises `UsageError` for what is no picture, has more than 8 bits per channel, or another size.
    """
    sides = (crop, crop) if crop else None
    if not path:
        from sklearn.datasets import load_sample_image

        photograph = np.asarray(load_sample_image("china.jpg"))
        h, w, _ = photograph.shape
        top, left = (h - crop) // 2, (w - crop) // 2
        return (photograph[top : top + crop, left : left + crop] if crop else photograph)[None]
    root = home_path(path)
    if not root.exists():
        raise UsageError(f"there is no picture {path}: give a picture's file, or a folder of pictures of one size.")
    files = [root] if root.is_file() else picture_files(root)
    if not files:
        raise UsageError(f"{path}: there are no pictures in this folder.")
    channels, _ = survey(files, sides, None)
    return np.stack([read_picture(file, channels, sides) for file in files])


def damaged(
    image: UInt8[np.ndarray, "n h w c"],
    task: Task,
    *,
    sigma: float = 25.0,
    factor: int = 4,
    missing: float = 0.5,
    quality: int = 10,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Whole images, damaged: "small" for super-resolution, else "image", with "mask" for inpainting, and "original". To
    be made smaller, they are cut to multiples of the factor at the right and at the bottom.

    >>> found = damaged(np.full((1, 8, 9, 1), 128, np.uint8), "superres", factor=2)
    >>> found["original"].shape, found["small"].shape
    ((1, 8, 8, 1), (1, 4, 4, 1))
    """
    draw = np.random.Generator(np.random.Philox(key=[seed, len(image)]))
    if task == "denoise":
        noise = draw.normal(0.0, sigma, image.shape)
        return {"image": _rounded(image + noise), "original": image}
    if task == "inpaint":
        mask = (draw.random(image.shape[1:3]) >= missing).astype(np.uint8)
        return {"image": image, "mask": np.broadcast_to(mask, image.shape[:3]), "original": image}
    if task == "jpeg":
        return {"image": np.stack([_compressed(one, quality) for one in image]), "original": image}
    h, w = (side - side % factor for side in image.shape[1:3])
    image = image[:, :h, :w]
    rows, columns = lanczos_weights(h, factor), lanczos_weights(w, factor)
    small = np.einsum("ih,jw,bhwc->bijc", rows, columns, image, optimize=True)  # one side after the other
    return {"small": _rounded(small), "original": image}


def to_restore(
    image: str,
    task: Task,
    *,
    original: str = "",
    mask: str = "",
    damage: bool = False,
    crop: int = 0,
    sigma: float = 25.0,
    factor: int = 4,
    missing: float = 0.5,
    quality: int = 10,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The arrays of pictures to restore, by the names above. With `damage` the pictures are whole, and damaged first;
    without a picture, scikit-learn's is, in any case.

    Raises `UsageError` for a factor that is not 2, 4 or 8, a mask or an original of another size, a mask that gives no
    pixel or all of them, and inpainting without a mask.
    """
    damage = damage or not image
    _check(task, sigma, factor, missing, quality, original, mask, damage)
    picture = pictures(image, crop)
    given = {"sigma": sigma, "factor": factor, "missing": missing, "quality": quality, "seed": seed}
    if mask and damage:
        arrays = {"image": picture, "original": picture}
    elif damage:
        arrays = damaged(picture, task, **given)  # type: ignore[arg-type]
    else:
        arrays = {"small" if task == "superres" else "image": picture}
    if mask:
        arrays["mask"] = np.broadcast_to(_mask(mask, picture.shape[1:3], crop), picture.shape[:3])
    if task == "superres":
        arrays["image"] = enlarged(arrays["small"], factor)
    if original:
        arrays["original"] = _original(original, arrays["image"].shape, crop * (factor if task == "superres" else 1))
    if "mask" in arrays:
        known = arrays["mask"]
        if not known.any(axis=(1, 2)).all():
            raise UsageError("all pixels are missing, and there is nothing to restore from: let some be known.")
        if known.all():
            raise UsageError("no pixel is missing: a mask is dark where pixels are to be filled in.")
        arrays["image"] = np.where(known[..., None] > 0, arrays["image"], np.uint8(HOLE))
    return arrays | {"number": np.arange(len(picture), dtype=np.int32)}


def restoration(name: str, arrays: dict[str, np.ndarray], batch: int, protocol: str) -> Dataset:
    """Pictures to restore as a data set, whose training and validation are the same ones; for training each comes again
    until there are `batch` rows."""
    again = np.arange(batch) % len(arrays["image"])
    train = Split({key: np.ascontiguousarray(array[again]) for key, array in arrays.items()})
    return Dataset(name, 256, train, Split(arrays), None, protocol)


def source_to_restore(batch: int, image: str, task: Task, **settings: object) -> Source:
    """The description of `to_restore`'s pictures as a data set."""
    name = Path(image).stem or "china"

    def load() -> Dataset:
        arrays = to_restore(image, task, **settings)  # type: ignore[arg-type]
        told = "damaged here" if settings.get("damage") or not image else "as it is"
        return restoration(name, arrays, batch, f"{task}, {told}; scored against the original where it is known")

    return Source(f"picture:{image or 'china'}", load)


def enlarged(image: UInt8[np.ndarray, "n h w c"], factor: int) -> UInt8[np.ndarray, "n h2 w2 c"]:
    """Images `factor` times as wide and high, by bicubic interpolation: what restoring is to be better than."""
    from PIL import Image

    h, w = factor * image.shape[1], factor * image.shape[2]

    def one(picture: np.ndarray) -> np.ndarray:
        planes = [
            Image.fromarray(plane).resize((w, h), Image.Resampling.BICUBIC) for plane in np.moveaxis(picture, 2, 0)
        ]
        return np.stack([np.asarray(plane) for plane in planes], axis=-1)

    return np.stack([one(picture) for picture in image])


def _check(
    task: str, sigma: float, factor: int, missing: float, quality: int, original: str, mask: str, damage: bool
) -> None:
    if task == "superres" and factor not in FACTORS:
        raise UsageError(f"superres enlarges by a factor of 2, 4 or 8, got {factor}.")
    if mask and task != "inpaint":
        raise UsageError(f"a mask says what is to be inpainted, and {task} takes none: leave it away.")
    if task == "inpaint" and not mask and not damage:
        raise UsageError("inpaint wants a mask of the picture's size, dark where pixels are missing: give --mask.")
    if original and damage:
        raise UsageError("a picture that is damaged here is its own original: leave --original or --damage away.")
    for name, value, low, high in (("sigma", sigma, 0, 255), ("missing", missing, 0, 1), ("quality", quality, 1, 95)):
        if not low <= value <= high:
            raise UsageError(f"{name} must be between {low} and {high}, got {value}.")


def _mask(path: str, sides: tuple[int, ...], crop: int) -> np.ndarray:
    """uint8[h,w], 1 where the mask is light."""
    light = read_picture(home_path(path), 1, (crop, crop) if crop else None)[..., 0]
    if light.shape != tuple(sides):
        raise UsageError(f"mask {path} is {_size(light.shape)}, the picture is {_size(sides)}: give one of its size.")
    known = (light >= DARK).astype(np.uint8)
    if not known.any():
        raise UsageError(f"mask {path} is dark all over, and no pixel is known: make it light where pixels are.")
    return known


def _original(path: str, shape: tuple[int, ...], crop: int) -> np.ndarray:
    """Originals of images of that shape, with as many channels."""
    root = home_path(path)
    files = [root] if root.is_file() else picture_files(root) if root.is_dir() else []
    if not files:
        raise UsageError(f"there is no picture {path}, the original: give its file.")
    originals = [read_picture(file, shape[3], (crop, crop) if crop else None) for file in files]
    wrong = next((one for one in originals if one.shape[:2] != shape[1:3]), None)
    if wrong is not None:
        raise UsageError(
            f"the original {path} is {_size(wrong.shape)}, what is restored is {_size(shape[1:])}: give the original "
            "of this very picture."
        )
    if len(originals) != shape[0]:
        raise UsageError(f"{path} holds {len(originals)} originals, for {shape[0]} pictures: give one of each.")
    return np.stack(originals)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]}"


def _rounded(x: np.ndarray) -> np.ndarray:
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """An image through JPEG and back."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=("JPEG",))).reshape(image.shape)
