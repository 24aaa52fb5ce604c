"""`jaxgen translate`: images drawn from other images, beside those that they should have become."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import slug
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import at_least_one, new_folder, output, say
from jaxgen.core.errors import UsageError

INPUTS = (
    "What is translated: pairs of a split of the run's data (test, valid, train) or of another data set, as `jaxgen "
    "data list` names them; a picture, or a folder of pictures, of the kind that the run draws from."
)
LARGE = 96
"""Pixels that pictures of the page are at least wide and high."""


@dataclasses.dataclass(kw_only=True)
class Translate(OfRun):
    """Draw an image from each input, by a model that is conditional on images: beside the true one where it is known,
    with the mean absolute difference (L1, values 0 … 1) and SSIM."""

    inputs: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES", help=INPUTS)] = "test"
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many inputs, evenly spaced."""
    make: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """IMAGES are pictures such as the run draws: inputs are made of them as they were in training (edges, say), and
    they are the true images."""
    truth: flags.text("FOLDER", "none") = ""  # type: ignore[valid-type]
    """True images for a folder of inputs: pictures of the same names."""
    resize: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Scale pictures of another size to the run's."""
    draws: int = 1
    """Images drawn of each input, with other noise; figures are of all."""
    back: flags.text("RUN", "none") = ""  # type: ignore[valid-type]
    """A run trained on the pairs the other way round, for inputs in flat colours, labels: they are recovered from what
    was drawn, and from the true images for comparison."""
    show: int = 8
    """How many inputs are on the page, evenly spaced."""
    seed: int = 0
    """Seed of the noise."""
    output: flags.text("FILE.png|FOLDER", "a page in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a page of inputs, drawn and true images; or a new folder for the drawn images alone, as .png, called
    after their inputs."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Inputs as maps float32[n,h,w,k], values 0 … 1, their names, and the true images where they are known."""

    told: Any
    names: list[str]
    truth: Any = None


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Translate, args, "jaxgen translate")
    at_least_one(num=1 if options.num is None else options.num, draws=options.draws, show=options.show)
    folder = new_folder(options.output, "--output") if options.output and not Path(options.output).suffix else None
    path = None if folder else output(options, f"translate-{slug(options.inputs)}.png", (".png",))
    run = open_run(options)
    check_translates(run.model)
    from jaxgen.cli import progress

    inputs = named_inputs(run, options)
    back = _way_back(run, options.back) if options.back else None
    count, draws = len(inputs.told), options.draws
    with progress.counted(count * draws, "images") as done:
        drawn = run.sample(count * draws, options.seed, inputs.told.repeat(draws, 0), progress=done)
    figures: dict[str, Any] = {"output": str(folder or path), "step": run.step, "num": count, "draws": draws}
    figures["seed"] = options.seed
    lines = [f"{count:,} inputs translated{f', {draws} times each' if draws > 1 else ''}, step {run.step:,}"]
    if inputs.truth is not None:
        measured = _measured(drawn, inputs.truth.repeat(draws, 0), run.model.levels)
        figures |= {name: float(values.mean()) for name, values in measured.items()} | {
            "each": {name: values.reshape(count, draws).mean(axis=1).tolist() for name, values in measured.items()}
        }
        lines[0] += "".join(f", {_NAMES[name]} {figures[name]:.4g}" for name in measured)
    if back is not None:
        figures["recovered"], words = _recovered(back, inputs, drawn, draws, run.model.levels, options.seed)
        lines.append(words)
    if folder is not None:
        _write(folder, inputs.names, drawn, draws, run.model.levels)
    else:
        _write_page(path, run, inputs, drawn, options, figures.get("each"))
    say(options.json, figures, f"{folder or path}: " + "\n".join(lines))
    return 0


_NAMES = {"l1": "L1", "ssim": "SSIM"}


def check_translates(model: Any) -> None:
    """Raises `UsageError` unless the model draws images under a map as large as they are."""
    from jaxgen.core.capabilities import Sampler, require
    from jaxgen.core.conditions import Map

    require(model, Sampler, "translate images")
    if not isinstance(model.condition, Map):
        kind = "it is unconditional" if model.condition is None else f"it is conditional on {model.condition}"
        raise UsageError(
            f"{type(model).__name__} cannot translate images: {kind}, and no image is told to it. Train one "
            "that is conditional on a map: `jaxgen train pix2pix`."
        )


def named_inputs(run: Any, options: Translate) -> Inputs:
    """The inputs that the flags name. Raises `UsageError` for flags that do not go together, and pictures of another
    size or without a partner."""
    import numpy as np

    from jaxgen.cli.inputs import SPLITS, named_images
    from jaxgen.data.picture_folder import SUFFIXES, picture_files

    path, is_split = Path(options.inputs), options.inputs in SPLITS
    files = [path] if not is_split and path.is_file() and path.suffix.lower() in SUFFIXES else []
    files = picture_files(path) if not is_split and path.is_dir() else files
    if not files:
        for flag, value in (("--make", options.make), ("--truth", options.truth), ("--resize", options.resize)):
            if value:
                raise UsageError(f"{flag} is about pictures, and {options.inputs} names none: leave it out.")
        named = named_images(run, options.inputs, options.num)
        if named.condition is None:
            raise UsageError(f"{options.inputs} has images and no inputs that they are drawn from: name pairs.")
        return Inputs(named.condition, named.names, named.image)
    if options.make and options.truth:
        raise UsageError("--make says that the pictures are the true images: leave --truth out.")
    count = min(options.num or len(files), len(files))
    files = [files[i] for i in np.linspace(0, len(files) - 1, count).astype(int)]
    names = [str(file.relative_to(path)) if path.is_dir() else file.name for file in files]
    h, w, c = run.model.shape
    read = functools.partial(_read, resize=options.resize)
    if options.make:
        image = read(files, (h, w, c), run.model.levels)
        return Inputs(_made(run, image), names, image)
    partners = _partners(files, path, Path(options.truth)) if options.truth else []
    told = read(files, (h, w, run.model.condition.channels), 256)
    truth = read(partners, (h, w, c), run.model.levels) if partners else None
    return Inputs(np.asarray(told, np.float32) / np.float32(255), names, truth)


def _read(files: list[Path], shape: tuple[int, int, int], levels: int, resize: bool) -> Any:
    """Pictures as uint8[n,h,w,c] of a shape, with so many levels."""
    import numpy as np

    from jaxgen.core.images import requantise
    from jaxgen.data.picture_folder import read_picture

    h, w, c = shape
    if c not in (1, 3):
        raise UsageError(f"a picture is read for 1 or 3 channels, and the run's have {c}: name pairs of a data set.")
    image = np.empty((len(files), *shape), np.uint8)
    for i, file in enumerate(files):
        picture = read_picture(file, c, None, (h, w) if resize else None)
        if picture.shape != shape:
            size = "×".join(map(str, picture.shape[:2]))
            raise UsageError(f"{file} is {size}, the run's images are {h}×{w}: add --resize, or give that size.")
        image[i] = requantise(picture, 256, levels)
    return image


def _partners(files: list[Path], path: Path, truth: Path) -> list[Path]:
    """The picture of each name in the folder of true images."""
    from jaxgen.data.picture_folder import picture_files

    if not truth.is_dir():
        raise UsageError(f"--truth {truth}: wanted a folder with pictures of the names of the inputs.")
    home = path if path.is_dir() else path.parent
    known = {file.relative_to(truth).with_suffix(""): file for file in picture_files(truth)}
    for file in files:
        if file.relative_to(home).with_suffix("") not in known:
            raise UsageError(f"--truth {truth}: has no picture of the name of {file}: add it, or move that input away.")
    return [known[file.relative_to(home).with_suffix("")] for file in files]


def _made(run: Any, image: Any) -> Any:
    """Inputs made of images by the transform of the run's data."""
    import jax
    import numpy as np

    transform = run.dataset.transform
    batch = {"image": image}
    if transform is not None:
        batch = jax.jit(transform, static_argnums=2)(batch, jax.random.key(0), False)
    if "condition" not in batch:
        raise UsageError(
            f"--make: the run of {run.folder} was trained on the data's own pairs, and makes no inputs: give inputs."
        )
    return np.asarray(batch["condition"])


def _measured(drawn: Any, truth: Any, levels: int) -> dict[str, Any]:
    """L1 and, of images as large as its window, SSIM of each image."""
    import numpy as np

    from jaxgen.explore.chunks import in_chunks
    from jaxgen.metrics.restoration import WINDOW, ssim

    difference = np.abs(drawn.astype(np.float64) - truth).mean(axis=(1, 2, 3)) / (levels - 1)
    if min(drawn.shape[1:3]) < WINDOW:
        return {"l1": difference}
    rows = {"drawn": drawn, "truth": truth}
    return {
        "l1": difference,
        "ssim": in_chunks(lambda part: ssim(part["drawn"], part["truth"], levels), rows, len(drawn)).astype(float),
    }


def _way_back(run: Any, folder: str) -> Any:
    """The run that translates the other way."""
    from jaxgen.runs.load import load

    back, (h, w, c) = load(folder), run.model.shape
    check_translates(back.model)
    told = run.model.condition.channels
    if tuple(back.model.shape) != (h, w, told) or back.model.condition.channels != c:
        raise UsageError(
            f"--back {folder}: wanted a run that draws {h}×{w}×{told} images from {h}×{w}×{c} ones, got one that draws "
            f"{'×'.join(map(str, back.model.shape))} from {back.model.condition.channels} channels."
        )
    return back


def _recovered(back: Any, inputs: Inputs, drawn: Any, draws: int, levels: int, seed: int) -> tuple[dict[str, Any], str]:
    """How well the colours of inputs are recovered from drawn and from true images, in percent, and that in words."""
    import numpy as np

    from jaxgen.metrics.segmentation import agreement, colours_of, nearest_colour

    told = np.round(inputs.told * 255).astype(np.uint8)
    colours = colours_of(told, "the inputs")
    labels = nearest_colour(told, colours)

    def read(image: Any, true: Any) -> dict[str, float]:
        again = back.sample(len(image), seed, np.asarray(image, np.float32) / np.float32(levels - 1))
        again = np.round(again * (255 / (back.model.levels - 1))).astype(np.uint8)
        return agreement(nearest_colour(again, colours), true, len(colours))

    figures: dict[str, Any] = {"colours": len(colours), "drawn": read(drawn, labels.repeat(draws, 0))}
    figures["chance"] = float(100 * np.bincount(labels.ravel()).max() / labels.size)
    words = f"labels recovered of {figures['drawn']['pixels']:.1f} % of pixels"
    if inputs.truth is not None:
        figures["true"] = read(inputs.truth, labels)
        words += f", from the true images of {figures['true']['pixels']:.1f} %"
    return figures, f"{words}; the commonest of {len(colours)} colours has {figures['chance']:.1f} %"


def _write(folder: Path, names: list[str], drawn: Any, draws: int, levels: int) -> None:
    """Drawn images as .png, called after their inputs."""
    from jaxgen.pictures.grid import displayed, save_png

    for i, image in enumerate(displayed(drawn, levels)):
        name = Path(names[i // draws].replace(" ", "-")).with_suffix("")
        save_png(image, folder / f"{name}{f'-{i % draws}' if draws > 1 else ''}.png")


def _write_page(path: Any, run: Any, inputs: Inputs, drawn: Any, options: Translate, each: Any) -> None:
    """A row for some of the inputs: the input, what was drawn of it, and the true image."""
    import numpy as np

    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.page import colour, enlarged, scale_for
    from jaxgen.pictures.strips import strips

    count, draws, levels = len(inputs.told), options.draws, run.model.levels
    some = np.linspace(0, count - 1, min(count, options.show)).astype(int)
    told = np.round(inputs.told[some] * 255).astype(np.uint8)
    images = drawn.reshape(count, draws, *drawn.shape[1:])[some]
    columns = [colour(told)[:, None], colour(displayed(images, levels))]
    heads = ["input", *(["drawn"] if draws == 1 else [f"drawn {i + 1}" for i in range(draws)])]
    if inputs.truth is not None:
        columns.append(colour(displayed(inputs.truth[some], levels))[:, None])
        heads.append("true")
    rows = np.concatenate(columns, axis=1)
    scale = scale_for(run.model.shape, LARGE)
    large = np.stack([[enlarged(image, scale) for image in row] for row in rows])
    names = [inputs.names[i] + ("" if each is None else f"\nL1 {each['l1'][i]:.3f}") for i in some]
    title = f"{type(run.model).__name__}, step {run.step:,}"
    save_png(strips([(large, heads)], names, title), path)
