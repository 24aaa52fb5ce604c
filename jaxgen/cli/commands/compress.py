"""`jaxgen compress`: images stored without loss, by a model's likelihood."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError
from jaxgen.core.files import whole

MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA")
"""Pictures of 8 bits or less, whose pixels PIL turns into RGBA without loss."""


@dataclasses.dataclass(kw_only=True)
class Compress(OfRun):
    """Compress images without loss, into one file, by the likelihood that a trained model gives them.

    The file is read again with this run, the same version of jax and the same kind of device."""

    images: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES …", help_behavior_hint="(default: test)")
    ] = ("test",)
    """Each one a split of the run's data (test, valid, train) or a data set as `jaxgen data list` names them, as the
    model sees it; an .npz with the images as `image`, and their `label` or `condition` where the model wants one; a
    picture; or a folder of pictures."""
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images of each split, data set or folder, evenly spaced."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    batch: int = 500
    """Images coded side by side: more take less time and more memory, here and when the file is read."""
    output: flags.text("FILE.jgz", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the file goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Compress, args, "jaxgen compress")
    at_least_one(num=1 if options.num is None else options.num, batch=options.batch)
    path = output(options, f"{Path(options.images[0]).stem or 'images'}.jgz", (".jgz",))
    if path.exists() and not options.output:  # other images may share the name: the split test and x/test.png, say
        raise UsageError(f"{path} is there already, and may hold other images: name this file with -o FILE.jgz.")
    run = open_run(options, 1)  # on one device
    from jaxgen import codec
    from jaxgen.cli.progress import counted

    codec.check_model(run.model)
    image, condition = _images(run, options)
    about = {"run": Path(options.run).resolve().name, "step": run.step}
    with counted(len(image), "images") as progress:
        data, figures = codec.compress(run.model, run.variables, image, condition, options.batch, about, progress)
    with whole(path) as part:
        part.write_bytes(data)
    beside = f" ({figures['label_bytes']:,} of them what the model is conditioned on)" if figures["label_bytes"] else ""
    text = (
        f"{path}: {len(image):,} images in {len(data):,} bytes{beside}, {figures['bits_per_dim']:.4g} bits/dim "
        f"({figures['model_bits_per_dim']:.4g} by the model); raw they are {figures['raw_bytes']:,} bytes"
    )
    say(options.json, {"output": str(path), "step": run.step, **figures}, text)
    return 0


def _images(run: Any, options: Compress) -> tuple[Any, Any]:
    """Images and conditions of all that was named, in that order."""
    import numpy as np

    from jaxgen.core.conditions import Classes

    sets = [_of_one(run, name, options) for name in options.images]
    conditions = [condition for _, condition in sets if condition is not None]
    if conditions and len(conditions) < len(sets):
        raise UsageError("some of these images have labels (or conditions), some none: give them files of their own.")
    kind = run.model.condition
    if not conditions and isinstance(kind, Classes) and not kind.dropout:
        raise UsageError(f"these images have no labels, and {type(run.model).__name__} needs them: give --label.")
    return np.concatenate([image for image, _ in sets]), np.concatenate(conditions) if conditions else None


def _of_one(run: Any, name: str, options: Compress) -> tuple[Any, Any]:
    from jaxgen.cli.inputs import SPLITS, named_images, saved
    from jaxgen.data.picture_folder import SUFFIXES, picture_files
    from jaxgen.pictures.grid import displayed

    path = Path(name)
    images = saved(run, name, options.num, options.label)
    images = images or named_images(run, name, options.num, options.label)
    if name not in SPLITS and path.exists():
        files = [path] if path.is_file() and path.suffix.lower() in SUFFIXES else []
        if path.is_dir() and picture_files(path):
            files = [path / file for file in images.names]
        for file, image in zip(files, displayed(images.image, run.model.levels)):
            _check_kept(file, image)
    return images.image, images.condition


def _check_kept(file: Path, image: Any) -> None:
    """Raises `UsageError` where what would come back is not the picture: other levels, colours, transparency."""
    import numpy as np
    from PIL import Image

    from jaxgen.data.picture_folder import FORMATS

    with Image.open(file, formats=FORMATS) as picture:
        kept = picture.mode in MODES and getattr(picture, "n_frames", 1) == 1
        back = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGBA")
        if not kept or not np.array_equal(np.asarray(picture.convert("RGBA")), np.asarray(back)):
            raise UsageError(
                f"{file} would not come back as it is: the model cannot show all that it holds (mode {picture.mode}; "
                "the model has fewer levels, gray only, no transparency, or no frames). Convert the picture first."
            )
