"""`jaxgen walk`: a walk from code to code, as a strip or moving."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

SECONDS = 0.08
"""How long an image of a moving walk is seen."""


@dataclasses.dataclass(kw_only=True)
class Walk(OfRun):
    """Walk through draws of the prior, from each to the next and back to the first: a strip, or a GIF that repeats."""

    points: int = 5
    """How many draws the walk goes through."""
    steps: int = 12
    """Steps from one to the next."""
    one_way: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """End at the last draw, not at the first."""
    seed: int = 0
    """Seed of the draws."""
    label: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the first)")] = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE", "a strip in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a row of images from each draw to the next, or a .gif for one image that changes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Walk, args, "jaxgen walk")
    at_least_one(steps=options.steps)
    if options.points < 2:
        raise UsageError(f"--points must be at least 2, got {options.points}.")
    path = output(options, f"walk-seed{options.seed}.png", (".png", ".gif"))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import progress
    from jaxgen.cli.inputs import conditions
    from jaxgen.core.capabilities import Latent, require
    from jaxgen.explore.latent import walk
    from jaxgen.pictures.animation import write_gif
    from jaxgen.pictures.grid import displayed, gridded, save_png
    from jaxgen.pictures.strips import strips

    require(run.model, Latent, "walk from latent code to latent code")
    codes = walk(run.model, run.prior(options.points, options.seed), options.steps, not options.one_way)
    condition = conditions(run, 1, options.label)
    condition = run.model.example_condition(1) if condition is None else condition
    condition = None if condition is None else condition.repeat(len(codes), 0)
    with progress.counted(len(codes), "images") as told:
        image = run.decode(codes, condition, told)
    if path.suffix.lower() == ".gif":
        rest = 1.0 if options.one_way else 0.0
        write_gif([gridded(one[None], run.model.levels) for one in image], path, SECONDS * len(image), rest)
    else:
        legs = options.points - options.one_way
        at = (np.arange(legs)[:, None] * options.steps + np.arange(options.steps + 1)) % len(image)
        ends = [f"{leg + 1} to {(leg + 1) % options.points + 1}" for leg in range(legs)]
        above = [f"{t:.2g}" for t in np.linspace(0.0, 1.0, options.steps + 1)]
        save_png(strips([(displayed(image[at], run.model.levels), above)], ends), path)
    figures = {"output": str(path), "step": run.step, "points": options.points, "images": len(image)}
    way = "from the first to the last" if options.one_way else "and back to the first"
    say(options.json, figures, f"{path}: {len(image)} images, through {options.points} draws of the prior {way}")
    return 0
