"""`jaxgen rank`: images by their likelihood."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say


@dataclasses.dataclass(kw_only=True)
class Rank(OfRun):
    """Rank images by their likelihood, the likeliest first: a table, and a picture of both ends."""

    images: Annotated[Images, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = "test"
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images, evenly spaced."""
    ends: int = 10
    """How many images of either end the table and the picture show; JSON has all."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    seed: int = 0
    """Seed of the draws of a bound; exact likelihoods draw nothing."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Rank, args, "jaxgen rank")
    at_least_one(num=1 if options.num is None else options.num, ends=options.ends)
    path = output(options, f"rank-{slug(options.images)}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.cli.progress import counted
    from jaxgen.core.capabilities import Density, require
    from jaxgen.core.images import bits_per_dim
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.page import below, colour, contact_sheet, enlarged, framed, scale_for, words

    require(run.model, Density, "rank images by their likelihood")
    images = named_images(run, options.images, options.num, options.label)
    with counted(len(images.image), "images") as progress:
        log_prob = run.log_prob(images.image, options.seed, images.condition, progress)
    order = np.argsort(-log_prob, kind="stable")
    bits = -bits_per_dim(log_prob.astype(np.float64), run.model.shape)
    rows = [
        {"place": place, "image": images.names[i], "nats": -float(log_prob[i]), "bits_per_dim": float(bits[i])}
        for place, i in enumerate(order, 1)
    ]
    likely = order[: options.ends]
    unlikely = order[max(len(likely), len(order) - options.ends) :]
    scale = scale_for(run.model.shape, 64)
    blocks = []
    for title, some in (("most likely, bits/dim", likely), ("least likely, bits/dim", unlikely)):
        if len(some):
            pictures = colour(displayed(images.image[some], run.model.levels))
            tiles = [enlarged(picture, scale) for picture in pictures]
            blocks += [words(title), contact_sheet(tiles, [f"{b:.2f}" for b in bits[some]], 10)]
    save_png(framed(below(blocks)), path)
    if options.json:
        say(True, {"output": str(path), "step": run.step, "bound": not run.model.exact, "images": rows}, "")
        return 0
    from jaxgen.cli.output import table

    cells = [[f"{r['place']:,}", r["image"], f"{r['nats']:.2f}", f"{r['bits_per_dim']:.4f}"] for r in rows]
    left_out = len(rows) - len(likely) - len(unlikely)
    middle = [["…", f"{left_out:,} more", "", ""]] if left_out else []
    shown_rows = cells[: len(likely)] + middle + cells[len(cells) - len(unlikely) :]
    bound = "" if run.model.exact else " (upper bounds)"
    table(shown_rows, ("place", "image", f"nats{bound}", "bits/dim"), right=("place", f"nats{bound}", "bits/dim"))
    say(False, {}, str(path))
    return 0
