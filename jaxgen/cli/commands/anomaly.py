"""`jaxgen anomaly`: how well a model tells images of its own data from others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import at_least_one, say


@dataclasses.dataclass(kw_only=True)
class Anomaly(OfRun):
    """Tell images of the model's own data from others by its energy, or else its likelihood: the area under the ROC
    curve, which is the probability that an image of the others is the stranger one of two."""

    against: Images
    own: Images = "test"
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images of either, evenly spaced."""
    seed: int = 0
    """Seed of the draws of a bound; energies and exact likelihoods draw nothing."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Anomaly, args, "jaxgen anomaly")
    at_least_one(num=1 if options.num is None else options.num)
    run = open_run(options)
    from jaxgen.cli.inputs import named_images
    from jaxgen.cli.progress import counted
    from jaxgen.explore.anomaly import auroc, check_strangeness, strangeness

    by = check_strangeness(run.model)
    figures, values = {"step": run.step, "by": by}, []
    for name in (options.own, options.against):
        images = named_images(run, name, options.num)
        with counted(len(images.image), f"images of {name}") as progress:
            values.append(strangeness(run, images.image, options.seed, images.condition, progress))
    own, other = values
    area = auroc(own, other)
    figures |= {"own": options.own, "against": options.against, "own_num": len(own), "against_num": len(other)}
    figures |= {"auroc": area, "own_mean": float(own.mean()), "against_mean": float(other.mean())}
    lines = [
        f"AUROC {area:.4f} by {by}, step {run.step:,}",
        f"{len(own):,} images of {options.own}, mean {own.mean():.5g}; {len(other):,} of {options.against}, mean "
        f"{other.mean():.5g}",
    ]
    say(options.json, figures, "\n".join(lines))
    return 0
