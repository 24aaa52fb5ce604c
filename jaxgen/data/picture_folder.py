"""A folder of pictures as a data set: cropped or resized on request, classes from nested folders.

Modes: all gray files (with alpha or a palette of grays, too) give one channel, otherwise three (RGB). Transparency is
composited on white, and a picture is turned as its EXIF orientation says. More than 8 bits per channel are refused.
Files are taken in the order of their relative paths, through links as well; hidden files and folders, and what is no
picture by its suffix, are passed over.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.arrays import listing
from jaxgen.data.cache import Allocate, cached, stamp
from jaxgen.data.dataset import TENTH, Dataset, Source, Split, finish, held_out
from jaxgen.data.split_names import by_split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What these are, told by content: others need not be tried, of which one would run PostScript."""

GRAY, PALETTE = ("1", "L", "LA", "La"), ("P", "PA")
COLOUR = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")

READING = 2
"""Part of a cached decoding's name: counted up when the same files begin to give other arrays."""

Size = int | tuple[int, int]
"""One number for a square, or (height, width), in pixels."""


def folder(path: str | os.PathLike[str], crop: Size | str | None = None, resize: Size | None = None) -> Source:
    """All pictures below a folder.

    A folder with a subfolder `train` (and `valid`, `test`, or what else `split_names` knows) states its splits;
    otherwise all pictures are training pictures, of which a seeded tenth validates. A `valid` or `test` without `train`
    is refused. Where the pictures of a split lie in subfolders, the first level of these gives the labels, numbered in
    alphabetical order, one without pictures too: what is missing from one copy of the data does not shift the others.
    `crop` cuts a centred window, or the largest centred square ("square"); `resize` then scales to exactly that size
    (bicubic, antialiased). Without either, all pictures must have one size. Raises `UsageError` naming the file that is
    corrupt, too small, of another size or of more than 8 bits per channel, and what lies beside the subfolders of
    splits or classes and would not be read.
    """
    root = home_path(path)
    crop_to, resize_to = crop if isinstance(crop, str) else pair(crop), pair(resize)

    def load() -> Dataset:
        if not root.is_dir():
            raise UsageError(f"{root}: wanted a folder of pictures, {listing(root)}")
        homes = _homes(root)
        official = homes["train"] != root
        files = {key: picture_files(home) for key, home in homes.items()}
        for key, paths in files.items():
            if not paths:
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
        every = [file for paths in files.values() for file in paths]

        def fill(allocate: Allocate) -> None:
            channels, size = survey(every, crop_to, resize_to)
            for key, paths in files.items():
                image = allocate(key, (len(paths), *size, channels), np.uint8)
                for i, file in enumerate(paths):
                    image[i] = read_picture(file, channels, crop_to, resize_to)

        identity = [READING, {key: stamp(*paths) for key, paths in files.items()}, crop_to, resize_to]
        arrays = cached(root.resolve().name, identity, fill)
        splits = {key: Split(arrays[key], labels[key]) for key in files}
        protocol = f"pictures of a folder{', split by its subfolders' if official else ''}{said(crop_to, resize_to)}"
        protocol += tenth + (f"; {len(classes)} classes: {', '.join(classes[:12])}" if classes else "")
        protocol += ", …" if len(classes) > 12 else ""
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
    """Picture files below a folder, sorted by relative path, hidden ones left out.

    Raises `UsageError` for a folder that cannot be listed, and for a link that leads nowhere.
    """
    return sorted(_below(root, frozenset()))


def _below(home: Path, above: frozenset[str]) -> Iterator[Path]:
    """Pictures below a folder; `above` are the real folders on the way to it, into which a link may lead back."""
    real = os.path.realpath(home)
    if real in above:
        return
    try:
        entries = sorted(os.scandir(home), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{home}: cannot be listed: {error.strerror}") from error
    for entry in entries:
        suffix = Path(entry.name).suffix.lower()
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(Path(entry), above | {real})
        elif suffix in SUFFIXES and entry.is_file():
            yield Path(entry)
        elif suffix in (*SUFFIXES, "") and entry.is_symlink() and not Path(entry).exists():
            raise UsageError(f"{entry.path}: this link leads nowhere: mend it, or take it away")


def read_picture(file: Path, channels: int, crop: Any = None, resize: tuple[int, int] | None = None) -> np.ndarray:
    """One picture as uint8[h,w,channels], upright. Raises `UsageError` naming a file that cannot be decoded, or that
    holds more than 8 bits per channel."""
    from PIL import Image, ImageOps

    with _opened(file) as opened:
        picture: Image.Image = ImageOps.exif_transpose(opened) if _orientation(opened) != 1 else opened
        if picture.mode.endswith(("A", "a")) or "transparency" in picture.info:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        picture = fitted(picture.convert("L" if channels == 1 else "RGB"), crop, resize, str(file))
        return np.asarray(picture, np.uint8).reshape(picture.height, picture.width, channels)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A picture of 8 bits per channel, opened; what goes wrong with it becomes a `UsageError` that names it."""
    from PIL import Image

    try:
        # By a stream: Pillow maps an uncompressed TIFF of a path into memory, and garbles it where it is turned.
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as picture:
            _check_bits(picture, file)
            yield picture
    except UsageError:
        raise
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise UsageError(f"{file}: cannot be decoded as a picture: {error or type(error).__name__}") from error


def _check_bits(picture: Any, file: Path) -> None:
    """Raises `UsageError` for a picture, not yet decoded, of more than 8 bits: Pillow clips some, and halves others."""
    known = picture.mode in GRAY + PALETTE + COLOUR
    if not known or any(_deep(*tile[::3]) for tile in getattr(picture, "tile", ())):
        mode = "16 bits" if known else f"picture mode {picture.mode}"
        raise UsageError(f"{file}: wanted 8 bits per channel, found {mode}: scale its values to 0 … 255 and save those")


def _deep(codec: str, layout: Any) -> bool:
    """Whether the stored bytes hold more than 8 bits per channel, by their raw mode, or a PPM's highest value."""
    parts = layout if isinstance(layout, tuple) else (layout,)
    high = codec.startswith("ppm") and any(isinstance(part, int) and part > 255 for part in parts)
    return high or any(re.search(";16[BLN]", part) for part in parts if isinstance(part, str))


def _orientation(picture: Any) -> int:
    """The EXIF orientation, 1 for upright and where it cannot be read. Only what stands before the pixels is looked at:
    of a PNG the rest would be decoded for it."""
    from PIL import Image

    try:
        orientation = Image.Image.getexif(picture).get(0x0112, 1)
    except Exception:  # a damaged record beside a sound picture, of which readers raise what they like
        return 1
    return orientation if orientation in range(1, 9) else 1


def _gray(picture: Any) -> bool:
    """Whether a picture has one channel of light, with or without alpha: a palette may be all gray."""
    if picture.mode not in PALETTE:
        return picture.mode in GRAY
    red, green, blue = np.array(picture.getpalette("RGB")).reshape(-1, 3).T
    return bool((red == green).all() and (green == blue).all())


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


def _homes(root: Path) -> dict[str, Path]:
    """The folder of each split. Raises `UsageError` where a folder names some splits and has pictures in none of them:
    those would be trained on, or left out."""
    inside = [p for p in root.iterdir() if not p.name.startswith(".")]
    names = by_split((p.name for p in inside if p.is_dir()), root)
    if not names:
        return {"train": root}
    if "train" not in names:
        raise UsageError(
            f"{root}: its subfolder {next(iter(names.values()))!r} names a split, but there is none named 'train', so "
            "that its pictures would be trained on: name the folder of training pictures 'train'; "
            f"{listing(root)}"
        )
    for path in sorted(p for p in inside if p.name not in names.values()):
        if picture_files(path) if path.is_dir() else path.suffix.lower() in SUFFIXES:
            raise UsageError(
                f"{path}: lies beside the folders of splits ({', '.join(names.values())}) and would not be read: move "
                f"it into one of them or away, or hide it by a dot before its name"
            )
    return {split: root / name for split, name in names.items()}


def survey(files: list[Path], crop: Any, resize: tuple[int, int] | None) -> tuple[int, tuple[int, int]]:
    """Channels and size (h, w) that the pictures share, from their headers alone unless they are to be turned or
    have a palette. Raises `UsageError` for pictures of several sizes."""
    from PIL import ImageOps

    gray = True
    first: tuple[Path, tuple[int, int]] | None = None
    for file in files:
        with _opened(file) as picture:
            upright = picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)
            size, gray = (upright.height, upright.width), gray and _gray(picture)
        size = resize or ((min(size),) * 2 if crop == "square" else crop) or size
        first = first or (file, size)
        if size != first[1]:
            raise UsageError(
                f"pictures differ in size: {first[0]} gives {first[1][0]}x{first[1][1]}, {file} {size[0]}x{size[1]} "
                "(height x width). Ask for one size: crop=square,resize=32"
            )
    assert first is not None
    return (1 if gray else 3), first[1]


def _classes(files: dict[str, list[Path]], homes: dict[str, Path]) -> tuple[dict[str, Any], list[str]]:
    """Labels by split (None without nested folders) and the class names, over all splits together.

    Raises `UsageError` where pictures of a split lie beside folders of them: whether those are classes could be guessed
    only.
    """
    nested = {}
    for key, paths in files.items():
        flat = [file for file in paths if file.parent == homes[key]]
        deep = next((file for file in paths if file.parent != homes[key]), None)
        if flat and deep:
            raise UsageError(
                f"{flat[0]}: lies beside folders of pictures such as {deep.parent}, so that these cannot be classes: "
                "put all pictures into folders by class, or all into one, or hide this one by a dot before its name"
            )
        if deep:
            nested[key] = [file.relative_to(homes[key]).parts[0] for file in paths]
    inside = {p.name for key in nested for p in homes[key].iterdir() if p.is_dir() and not p.name.startswith(".")}
    number = {name: i for i, name in enumerate(sorted(inside))}
    labels = {key: np.array([number[name] for name in names], np.int32) for key, names in nested.items()}
    return {key: labels.get(key) for key in files}, list(number)


def said(crop: Any, resize: Any) -> str:
    """How a crop and a size read in a protocol."""
    text = "" if crop is None else f", cropped to {crop if crop == 'square' else 'x'.join(map(str, crop))}"
    return text + ("" if resize is None else f", resized to {resize[0]}x{resize[1]}")
