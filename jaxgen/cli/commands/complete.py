"""`jaxgen complete`: the missing part of images, filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxgen.cli import flags
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

APPROXIMATE = (
    "the given pixels are not the first ones of an order that the model draws in: a pixel drawn before a given one "
    "takes no notice of it"
)
HALVES = ("top-half", "bottom-half", "left-half", "right-half")


@dataclasses.dataclass(kw_only=True)
class Complete(OfRun):
    """Fill in the missing part of images. A row of the result: original, what was given, completions."""

    images: str = "test"
    """A split of the run's data (test, valid, train), an .npz with the images as `image`, a picture, a folder of
    pictures, or a data set as `jaxgen data list` names them."""
    keep: str = "top-half"
    """What is given: top-half, bottom-half, left-half, right-half, or a mask: a picture, white where given."""
    num: int = 8
    """How many images."""
    completions: int = 6
    """How many completions of each."""
    temperature: float = 1.0
    """Below 1 likelier completions than the model's, above 1 less likely ones."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    seed: int = 0
    """Seed of the draws."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Complete, args, "jaxgen complete")
    at_least_one(num=options.num, completions=options.completions)
    path = output(options, f"complete-{Path(options.keep).stem}-seed{options.seed}.png", (".png",))
    if options.keep not in HALVES and not Path(options.keep).is_file():
        raise UsageError(f"--keep wants {', '.join(HALVES)} or a mask picture, got {options.keep!r}, which is no file.")
    run = open_run(options)
    from jaxgen.cli.inputs import mask, named_images
    from jaxgen.cli.progress import counted
    from jaxgen.core.capabilities import Completer, require
    from jaxgen.pictures.grid import gridded, save_png, side_by_side
    from jaxgen.pictures.page import captioned

    require(run.model, Completer, "complete images")
    given = mask(options.keep, run.model.shape)
    images = named_images(run, options.images, options.num, options.label)
    image, each = images.image, options.completions
    condition = None if images.condition is None else images.condition.repeat(each, 0)
    with counted(len(image) * each, "images") as progress:
        drawn = run.complete(image.repeat(each, 0), given, options.seed, condition, options.temperature, progress)
    exact = bool(run.model.completes_exactly(given))
    verdict, why = ("exact", run.model.exactly) if exact else ("approximate", APPROXIMATE)
    grid = gridded(side_by_side(image, given, drawn, run.model.levels), 256, each + 2)
    save_png(captioned(grid, f"original | given | {each} completions, {verdict}"), path)
    figures = {"output": str(path), "step": run.step, "num": len(image), "given": float(given.mean()), "exact": exact}
    say(options.json, figures, f"{path}: original, given, {each} completions in each row\n{verdict}: {why}")
    return 0
