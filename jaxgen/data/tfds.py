"""Data sets prepared by tensorflow-datasets (TFDS), read through its random-access sources, without TensorFlow.

Nothing is downloaded here: what is not prepared is reported at once, with the command that prepares it. A prepared
folder describes itself (`features.json`), so the code of its builder is not needed. Pictures are decoded once into the
cache (`jaxgen.data.cache`); after that TFDS is not even imported.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.cache import Allocate, cached, stamp
from jaxgen.data.dataset import TENTH, Dataset, Source, Split, finish, held_out
from jaxgen.data.picture_folder import Size, fitted, pair, said
from jaxgen.data.split_names import by_split

ORIGINALS = {
    "mnist": "the four original .gz files",
    "fashion_mnist": "the four original .gz files",
    "binarized_mnist": "the three original .amat files",
    "cifar10": "cifar-10-binary.tar.gz",
}
"""What `jaxgen data prepare` knows, and the files that it wants."""

BLOCK = 1024  # examples decoded at a time


def tfds(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    image: str | None = None,
    label: str | None = None,
    crop: Size | str | None = None,
    resize: Size | None = None,
) -> Source:
    """A prepared TFDS data set `name[/config][:version]` with uint8 images; the latest version without one.

    `data_dir` defaults to $TFDS_DATA_DIR, else ~/tensorflow_datasets. `image` and `label` name the features where they
    are not called that or there are several. `crop` and `resize` as for a folder of pictures. The splits train,
    validation and test are used, by any of the names in `split_names`; without an official validation split a seeded
    tenth of the training set is held out.
    """
    match = re.fullmatch(r"(\w+)(?:/([\w.\-]+))?(?::(\d+\.\d+\.\d+))?", name)
    if match is None:
        raise UsageError(f"tfds:{name}: wanted NAME, NAME/CONFIG or NAME:1.2.3, as in tfds:mnist:3.0.1")
    base, config, version = match.groups()
    root = data_home(data_dir)
    crop_to, resize_to = crop if isinstance(crop, str) else pair(crop), pair(resize)

    def load() -> Dataset:
        home = _find(root, base, config, version)
        if home is None:
            raise UsageError(_missing(root, base, config, version, data_dir is not None))

        def fill(allocate: Allocate) -> None:
            with _quiet():
                _decode(home, image, label, crop_to, resize_to, allocate)

        files = sorted(p for p in home.iterdir() if p.is_file())
        arrays = cached(f"{base}-{home.name}", [stamp(*files), image, label, crop_to, resize_to], fill)
        parts = {"train": "train", "valid": "valid" if "valid.image" in arrays else "held_out", "test": "test"}
        splits = {
            key: Split(arrays[f"{part}.image"], arrays.get(f"{part}.label"))
            for key, part in parts.items()
            if f"{part}.image" in arrays
        }
        tenth = TENTH if parts["valid"] == "held_out" else ""
        protocol = f"TFDS {'/'.join(home.relative_to(root).parts)}, official split{said(crop_to, resize_to)}{tenth}"
        return finish(base, splits, None, protocol, dict.fromkeys(splits, home))

    return Source(f"tfds:{name}", load)


def data_home(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where TFDS keeps its data sets: the given folder, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return home_path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def library() -> Any:
    """The module `tensorflow_datasets`. Raises `UsageError` with the command that installs it."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UsageError(
            f"tensorflow-datasets cannot be imported ({error}): pip install tensorflow-datasets importlib_resources"
        ) from error
    return tensorflow_datasets


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without TFDS's advice to install OpenCV, which comes as a warning."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _homes(root: Path, base: str) -> list[Path]:
    """The folders of all prepared configurations and versions; not those of a preparation that was cut short."""
    homes = [p.parent for depth in ("*", "*/*") for p in (root / base).glob(f"{depth}/features.json")]
    return [p for p in homes if re.fullmatch(r"\d+\.\d+\.\d+", p.name)]


def _find(root: Path, base: str, config: str | None, version: str | None) -> Path | None:
    """The folder of the latest prepared version, or None. Raises `UsageError` where only a config can decide."""
    homes = [p for p in _homes(root, base) if version in (None, p.name)]
    if config is not None:
        homes = [p for p in homes if p.parent.name == config and p.parent.parent.name == base]
    parents = sorted({p.parent for p in homes})
    if len(parents) > 1:
        choices = ", ".join(f"tfds:{p.relative_to(root)}" for p in parents)
        raise UsageError(f"tfds:{base}: several configurations are prepared in {root}; choose one of {choices}")
    return max(homes, key=lambda p: [int(n) for n in p.name.split(".")], default=None)


def _missing(root: Path, base: str, config: str | None, version: str | None, chosen: bool) -> str:
    """Why a data set is not there and what to type, without a look at the network."""
    full = base + (f"/{config}" if config else "") + (f":{version}" if version else "")
    if folders := sorted("/".join(p.relative_to(root).parts) for p in _homes(root, base)):
        return f"tfds:{full} is not prepared in {root}; prepared there: {', '.join(folders)}"
    known = [*ORIGINALS] if base in ORIGINALS else library().list_builders(with_community_datasets=False)
    if base in known:
        return f"tfds:{full} is not prepared in {root}. {_command(full, str(root) if chosen else '')}"
    local = [p.name for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    near = difflib.get_close_matches(base.lower(), {*local, *known}, 3, 0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return f"tfds:{full}: TFDS knows no such data set, and none is prepared in {root}{hint}"


def _command(full: str, into: str) -> str:
    """What to type to prepare a data set, into a folder other than the usual one if `into` names it."""
    base = re.split("[/:]", full)[0]
    if base in ORIGINALS:
        to = f" --to {into}" if into else ""
        return f"With {ORIGINALS[base]} in a folder, run: jaxgen data prepare {base} --from FOLDER{to}"
    to = f", data_dir={into!r}" if into else ""
    return (
        "Preparing it downloads it, and most builders need TensorFlow (pip install tensorflow-cpu): "
        f'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder({full!r}{to}, file_format='array_record').download_and_prepare()\""
    )


def _decode(home: Path, image: str | None, label: str | None, crop: Any, resize: Any, allocate: Allocate) -> None:
    """Decodes all splits into arrays `SPLIT.image` and `SPLIT.label`; SPLIT is train, valid or held_out, and test."""
    sources, image_key, label_key = _open(home, image, label)
    shape: tuple[int, ...] | None = None
    for split, records in sources.items():
        parts = {split: np.arange(len(records))}
        if split == "train" and "valid" not in sources and len(records) > 1:
            parts["train"], parts["held_out"] = held_out(len(records))
        if len(records) == 0:
            raise UsageError(f"{home}: its {split} split is empty")
        images: dict[str, np.ndarray] = {}
        numbers: dict[str, np.ndarray] = {}
        for start, examples in _blocks(home, split, records):
            block = []
            for i, example in enumerate(examples, start):
                block.append(_pixels(example[image_key], f"{home}, {split} example {i}", crop, resize, shape))
                shape = shape or block[0].shape
            for part, index in parts.items():
                if part not in images:
                    images[part] = allocate(f"{part}.image", (len(index), *block[0].shape), np.uint8)
                    if label_key is not None:
                        numbers[part] = allocate(f"{part}.label", (len(index),), np.int32)
                low, high = np.searchsorted(index, (start, start + len(block)))
                chosen = index[low:high] - start
                if len(chosen):
                    images[part][low:high] = np.stack([block[i] for i in chosen])
                    if label_key is not None:
                        numbers[part][low:high] = [examples[i][label_key] for i in chosen]


def _open(home: Path, image: str | None, label: str | None) -> tuple[dict[str, Sequence[Any]], str, str | None]:
    """Random-access sources by split, and the names of the image and label features."""
    tfds_ = library()
    _check_features(home / "features.json")
    try:
        builder = tfds_.builder_from_directory(home)
        chosen = by_split(builder.info.splits, home)
        sources = {split: builder.as_data_source(name) for split, name in chosen.items()}
    except UsageError:
        raise
    except NotImplementedError as error:
        raise UsageError(
            f"{home}: holds {builder.info.file_format.value} files, which cannot be read at random access; it is to be "
            f"prepared anew into another folder. {_command(builder.name, 'ANOTHER')}"
        ) from error
    except Exception as error:  # whatever TFDS meets in a damaged folder
        raise UsageError(f"{home}: TFDS cannot read it: {first_line(error)}; delete and prepare it anew") from error
    if "train" not in sources:
        raise UsageError(f"{home}: wanted a split named train, found {', '.join(builder.info.splits) or 'none'}")
    features = dict(sorted(builder.info.features.items()))
    pictures = [key for key, f in features.items() if isinstance(f, tfds_.features.Image)]
    integers = [key for key, f in features.items() if f.shape == () and np.issubdtype(f.np_dtype, np.integer)]
    kinds = ", ".join(f"{key} ({type(f).__name__})" for key, f in features.items())
    if image is None and len(pictures) > 1 and "image" not in pictures:
        raise UsageError(f"{home}: several image features, {', '.join(pictures)}; choose one: image={pictures[0]}")
    if not pictures or (image is not None and image not in pictures):
        raise UsageError(f"{home}: wanted an image feature{f' {image!r}' if image else ''}, found {kinds}")
    if label is not None and label not in integers:
        raise UsageError(f"{home}: wanted an integer feature {label!r} for the label, found {kinds}")
    image_key = image or ("image" if "image" in pictures else pictures[0])
    if features[image_key].np_dtype != np.uint8:
        kind = np.dtype(features[image_key].np_dtype)
        raise UsageError(f"{home}: wanted images of uint8, found {kind} in feature {image_key!r}")
    return sources, image_key, label or ("label" if "label" in integers else None)


def _check_features(path: Path) -> None:
    """Raises `UsageError` for features that are not TFDS's own: it would import whatever module they name."""

    def check(entry: dict[str, Any]) -> None:
        for key in ("pythonClassName", "python_class_name"):
            if key in entry and not str(entry[key]).startswith("tensorflow_datasets."):
                raise UsageError(f"{path}: wanted features of TFDS, found {entry[key]!r}, which is not executed")

    try:
        json.loads(path.read_bytes(), object_hook=check)
    except UsageError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {first_line(error)}; delete and prepare it anew") from error


def _blocks(home: Path, split: str, records: Any) -> Iterator[tuple[int, Sequence[Any]]]:
    """(index of the first, decoded examples) of one block after the other."""
    for start in range(0, len(records), BLOCK):
        stop = min(start + BLOCK, len(records))
        try:
            examples = records.__getitems__(list(range(start, stop)))
        except Exception as error:  # record reader and picture decoders raise what they like
            raise UsageError(
                f"{home}: examples {start} to {stop - 1} of {split} cannot be read: {first_line(error)}"
            ) from error
        yield start, examples


def _pixels(value: Any, what: str, crop: Any, resize: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    """One image uint8[h,w,c], cropped and resized; `shape` is what the images before it have."""
    from PIL import Image

    pixels = np.asarray(value)
    if crop is not None or resize is not None:
        picture = fitted(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), crop, resize, what)
        pixels = np.asarray(picture).reshape(picture.height, picture.width, pixels.shape[2])
    if shape is not None and pixels.shape != shape:
        raise UsageError(
            f"{what}: its shape is {list(pixels.shape)}, others have {list(shape)}. "
            "Ask for one size: crop=square,resize=32"
        )
    return pixels
