"""`jaxgen walk`: a walk from code to code, as a strip or moving."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import OfPrior, slug
from jaxgen.cli.open import OfRun, Truncation, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

SECONDS = 0.08
"""How long an image of a moving walk is seen."""


@dataclasses.dataclass(kw_only=True)
class Walk(OfRun):
    """Walk through latent codes, from each to the next and back to the first: a strip, or a GIF that repeats."""

    images: OfPrior = ""
    points: int = 5
    """How many codes the walk goes through: images, evenly spaced, or draws of the prior."""
    steps: int = 12
    """Steps from one to the next."""
    one_way: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """End at the last code, not at the first."""
    way: Annotated[
        Literal["auto", "straight", "spherical"],
        tyro.conf.arg(help_behavior_hint="(default: straight between images, as the prior asks between draws)"),
    ] = "auto"
    """Straight, or along great circles."""
    seed: int = 0
    """Seed of the draws."""
    truncation: Truncation = None
    """Draw from the prior N(0, I) cut off at ±BOUND."""
    label: Annotated[
        int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the images' own, of draws the first)")
    ] = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE", "a strip in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a row of images from each draw to the next, or a .gif for one image that changes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Walk, args, "jaxgen walk")
    at_least_one(steps=options.steps)
    if options.points < 2:
        raise UsageError(f"--points must be at least 2, got {options.points}.")
    of = slug(options.images) if options.images else f"seed{options.seed}"
    path = output(options, f"walk-{of}.png", (".png", ".gif"))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import codes
    from jaxgen.cli.progress import counted
    from jaxgen.explore.latent import conditions_along, walk
    from jaxgen.pictures.animation import write_gif
    from jaxgen.pictures.grid import displayed, gridded, save_png
    from jaxgen.pictures.strips import strips

    codes.check_decodes(run, bool(options.images), "walk from latent code to latent code", "walk from image to image")
    codes.check_truncation(run, options.truncation, options.images)
    points = codes.codes_named(run, options.images, options.points, options.seed, options.label, options.truncation)
    count, closed = len(points.code), not options.one_way
    if count < 2:
        raise UsageError(f"a walk wants at least 2 images, {options.images} is one.")
    way, how = codes.way_of(run.model, options.way, bool(options.images))
    along = walk(run.model, points.code, options.steps, closed, way)
    with counted(len(along), "images") as progress:
        image = run.decode(along, conditions_along(points.condition, options.steps, closed), progress)
    if path.suffix.lower() == ".gif":
        rest = 1.0 if options.one_way else 0.0
        write_gif([gridded(one[None], run.model.levels) for one in image], path, SECONDS * len(image), rest)
    else:
        legs = count - options.one_way
        at = (np.arange(legs)[:, None] * options.steps + np.arange(options.steps + 1)) % len(image)
        ends = [f"{points.names[leg]}\nto {points.names[(leg + 1) % count]}" for leg in range(legs)]
        above = [f"{t:.2g}" for t in np.linspace(0.0, 1.0, options.steps + 1)]
        title = f"{type(run.model).__name__}, step {run.step:,}: a walk, {how}"
        save_png(strips([(displayed(image[at], run.model.levels), above)], ends, title), path)
    figures = {"output": str(path), "step": run.step, "points": count, "names": points.names, "images": len(image)}
    back = "from the first to the last" if options.one_way else "and back to the first"
    what = "images" if options.images else "draws of the prior"
    say(options.json, figures, f"{path}: {len(image)} images, {how} through {count} {what} {back}")
    return 0
