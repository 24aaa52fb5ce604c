"""A folder of pictures as a data set: cropped or resized on request, classes from nested folders.

Modes: all gray files give one channel, otherwise three (RGB). Transparency is composited on white. Files are taken in
the order of their relative paths; hidden files and what is no picture by its suffix are passed over. EXIF rotation is
not applied.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import listing
from jaxgen.data.cache import Allocate, cached, stamp
from jaxgen.data.dataset import TENTH, Dataset, Source, Split, finish, held_out

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What these are, told by content: others need not be tried, of which one would run PostScript."""

GRAY, COLOUR = ("1", "L"), ("RGB", "RGBA", "LA", "La", "P", "PA", "CMYK", "YCbCr", "RGBa", "RGBX", "HSV", "LAB")
SPLITS = {"train": ("train",), "valid": ("valid", "validation", "val"), "test": ("test",)}

Size = int | tuple[int, int]
"""One number for a square, or (height, width), in pixels."""


def folder(path: str | os.PathLike[str], crop: Size | str | None = None, resize: Size | None = None) -> Source:
    """All pictures below a folder.

    A folder with a subfolder `train` (and `valid`, `test`) states its splits; otherwise all pictures are training
    pictures, of which a seeded tenth validates. A `valid` or `test` without `train` is refused. Where every picture of
    a split lies in a subfolder, the first level of subfolders gives the labels, numbered in alphabetical order. `crop`
    cuts a centred window, or the largest centred square ("square"); `resize` then scales to exactly that size (bicubic,
    antialiased). Without either, all pictures must have one size. Raises `UsageError` naming the file that is corrupt,
    too small, or of another size.
    """
    root = Path(path).expanduser()
    crop_to, resize_to = crop if isinstance(crop, str) else pair(crop), pair(resize)

    def load() -> Dataset:
        if not root.is_dir():
            raise UsageError(f"{root}: wanted a folder of pictures, {listing(root)}")
        homes = {key: root / name for key, names in SPLITS.items() for name in names if (root / name).is_dir()}
        official = "train" in homes
        if not official:
            _check_splits(root)
        homes = homes if official else {"train": root}
        files = {key: picture_files(home) for key, home in homes.items()}
        for key, found in files.items():
            if not found:
                raise UsageError(f"{homes[key]}: no pictures ({', '.join(SUFFIXES)}) there, {listing(homes[key])}")
        labels, classes = _classes(files, homes)
        if "valid" not in files and len(files["train"]) > 1:
            keep, out = held_out(len(files["train"]))
            names, numbers = np.array(files["train"], object), labels["train"]
            files |= {"train": list(names[keep]), "valid": list(names[out])}
            labels |= {"train": numbers if numbers is None else numbers[keep]}
            labels |= {"valid": numbers if numbers is None else numbers[out]}
            tenth = TENTH
        else:
            tenth = ""
        every = [file for found in files.values() for file in found]

        def fill(allocate: Allocate) -> None:
            channels, size = _survey(every, crop_to, resize_to)
            for key, found in files.items():
                image = allocate(key, (len(found), *size, channels), np.uint8)
                for i, file in enumerate(found):
                    image[i] = read_picture(file, channels, crop_to, resize_to)

        identity = [{key: stamp(*found) for key, found in files.items()}, crop_to, resize_to]
        arrays = cached(root.resolve().name, identity, fill)
        splits = {key: Split(arrays[key], labels[key]) for key in files}
        protocol = f"pictures of a folder{', split by its subfolders' if official else ''}{said(crop_to, resize_to)}"
        protocol += tenth + (f"; {len(classes)} classes: {', '.join(classes[:12])}" if classes else "")
        return finish(root.resolve().name, splits, 256, protocol)

    return Source(f"folder:{root}", load)


def pair(size: Size | None) -> tuple[int, int] | None:
    """(height, width) of a size given as one number or two. Raises `UsageError` for sizes below 1."""
    if size is None:
        return None
    h, w = (size, size) if isinstance(size, int) else size
    if h < 1 or w < 1:
        raise UsageError(f"picture sizes must be at least 1 pixel, got {h}x{w}")
    return h, w


def picture_files(root: Path) -> list[Path]:
    """Picture files below a folder, sorted by relative path, hidden ones left out."""
    found = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def read_picture(file: Path, channels: int, crop: Any = None, resize: tuple[int, int] | None = None) -> np.ndarray:
    """One picture as uint8[h,w,channels]. Raises `UsageError` naming a file that cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as opened:
            picture: Image.Image = opened
            if picture.mode.endswith(("A", "a")) or "transparency" in picture.info:
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            picture = fitted(picture.convert("L" if channels == 1 else "RGB"), crop, resize, str(file))
            return np.asarray(picture, np.uint8).reshape(picture.height, picture.width, channels)
    except UsageError:
        raise
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise UsageError(f"{file}: cannot be decoded as a picture: {error or type(error).__name__}") from error


def fitted(picture: Any, crop: Any, resize: tuple[int, int] | None, what: str) -> Any:
    """A PIL picture cropped about its centre, then resized. `what` names it if it is smaller than the crop."""
    from PIL import Image

    if crop is not None:
        h, w = (min(picture.size),) * 2 if crop == "square" else crop
        if h > picture.height or w > picture.width:
            raise UsageError(f"{what}: {picture.height}x{picture.width} pixels are too few for crop={h}x{w}")
        top, left = (picture.height - h) // 2, (picture.width - w) // 2
        picture = picture.crop((left, top, left + w, top + h))
    if resize is not None and picture.size != (resize[1], resize[0]):
        picture = picture.resize((resize[1], resize[0]), Image.Resampling.BICUBIC)
    return picture


def _check_splits(root: Path) -> None:
    """Raises `UsageError` where a folder without `train` has a split's subfolder, which would be trained on."""
    known = {name for names in SPLITS.values() for name in names}
    found = sorted(p.name for p in root.iterdir() if p.name.lower() in known and p.is_dir())
    if found:
        raise UsageError(
            f"{root}: its subfolder {found[0]!r} names a split, but there is none named 'train', so that its pictures "
            f"would be trained on: name the folder of training pictures 'train'; {listing(root)}"
        )


def _survey(files: list[Path], crop: Any, resize: tuple[int, int] | None) -> tuple[int, tuple[int, int]]:
    """Channels and size (h, w) that the pictures share, from their headers alone."""
    from PIL import Image

    modes: set[str] = set()
    first: tuple[Path, tuple[int, int]] | None = None
    for file in files:
        try:
            with Image.open(file, formats=FORMATS) as picture:
                size, mode = (picture.height, picture.width), picture.mode
                clear = "transparency" in picture.info
        except Exception as error:
            raise UsageError(f"{file}: cannot be decoded as a picture: {error or type(error).__name__}") from error
        if mode not in GRAY + COLOUR:
            raise UsageError(f"{file}: wanted 8 bits per channel, found picture mode {mode}")
        modes.add("RGB" if clear else mode)
        size = resize or ((min(size),) * 2 if crop == "square" else crop) or size
        first = first or (file, size)
        if size != first[1]:
            raise UsageError(
                f"pictures differ in size: {first[0]} gives {first[1][0]}x{first[1][1]}, {file} {size[0]}x{size[1]} "
                "(height x width). Ask for one size: crop=square,resize=32"
            )
    assert first is not None
    return (1 if modes <= set(GRAY) else 3), first[1]


def _classes(files: dict[str, list[Path]], homes: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Labels by split (None without nested folders) and the class names, over all splits together."""
    parents = {key: [p.relative_to(homes[key]).parts[:-1] for p in found] for key, found in files.items()}
    if not all(p for found in parents.values() for p in found):
        return dict.fromkeys(files), []
    classes = sorted({p[0] for found in parents.values() for p in found})
    number = {name: i for i, name in enumerate(classes)}
    return {key: np.array([number[p[0]] for p in found], np.int32) for key, found in parents.items()}, classes


def said(crop: Any, resize: Any) -> str:
    """How a crop and a size read in a protocol."""
    text = "" if crop is None else f", cropped to {crop if crop == 'square' else 'x'.join(map(str, crop))}"
    return text + ("" if resize is None else f", resized to {resize[0]}x{resize[1]}")
