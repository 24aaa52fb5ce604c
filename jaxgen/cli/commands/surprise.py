"""`jaxgen surprise`: the bits of each pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say


@dataclasses.dataclass(kw_only=True)
class Surprise(OfRun):
    """Show how surprising each pixel is, given those before it: a heat map of bits beside each image."""

    images: Images = "test"
    num: int = 12
    """How many images."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Surprise, args, "jaxgen surprise")
    at_least_one(num=options.num)
    path = output(options, f"surprise-{slug(options.images)}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Autoregressive, require
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.heat import heat, scale_bar
    from jaxgen.pictures.page import below, beside, colour, contact_sheet, enlarged, framed, scale_for

    require(run.model, Autoregressive, "say how surprising each pixel is")
    images = named_images(run, options.images, options.num, options.label)
    bits = run.surprise(images.image, images.condition)
    whole = bits.sum(axis=(1, 2), dtype=np.float64)
    per_dim = whole / np.prod(run.model.shape)
    high = float(np.quantile(bits, 0.995)) or 1.0
    scale = scale_for(run.model.shape, 96)
    pictures = colour(displayed(images.image, run.model.levels))
    pairs = [
        beside([enlarged(a, scale), enlarged(b, scale)], 2) for a, b in zip(pictures, heat(bits, high), strict=True)
    ]
    captions = [f"{b:.1f} bits, {d:.2f} bits/dim" for b, d in zip(whole, per_dim, strict=True)]
    bar = scale_bar("bits per pixel: 0", f"{high:.2g} or more", 160)
    save_png(framed(below([contact_sheet(pairs, captions, 4), bar], 16)), path)
    figures = {"output": str(path), "step": run.step, "names": images.names, "bits": whole.tolist()}
    text = f"{path}: {len(bits)} images beside the bits of their pixels, {per_dim.mean():.4g} bits/dim on average"
    say(options.json, {**figures, "bits_per_dim": per_dim.tolist()}, text)
    return 0
