"""`jaxgen field`: what of an image a trained model looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say


@dataclasses.dataclass(kw_only=True)
class Field(OfRun):
    """Show the effective receptive field: how far each pixel moves the prediction of the centre, by gradients."""

    images: Images = "test"
    num: int = 100
    """How many images the gradients are averaged over."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Field, args, "jaxgen field")
    at_least_one(num=options.num)
    path = output(options, "field.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Autoregressive, require
    from jaxgen.explore.likelihood import seen_by, share_of
    from jaxgen.pictures.grid import save_png
    from jaxgen.pictures.heat import field_picture, scale_bar
    from jaxgen.pictures.page import below, framed, scale_for, words

    require(run.model, Autoregressive, "show its receptive field")
    images = named_images(run, options.images, options.num, options.label)
    influence = run.field(images.image, images.condition)
    h, w, _ = run.model.shape
    at, context = (h // 2, w // 2), seen_by(run.model)
    shares = {"half": share_of(influence, 0.5), "most": share_of(influence, 0.95)}
    least = float(influence[influence > 0].min(initial=influence.max() or 1.0))
    decades = float(np.clip(np.ceil(np.log10((influence.max() or 1.0) / least)), 1, 6))
    picture = field_picture(influence, context, at, scale_for((h, w), 400), decades)
    bar = scale_bar(f"1e-{decades:.0f}", "1 of the largest", 160)
    legend = f"blue: the pixel ({at[0]}, {at[1]}) and its declared context; gray: no influence"
    title = f"mean |gradient| of its log-probability over {len(images.image)} images, step {run.step:,}"
    lines = [words(title), picture, bar, words(legend)]
    save_png(framed(below(lines)), path)
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "num": len(images.image), "at": list(at)}
    figures |= {"context": int(context.sum()), "pixels": shares, "field": influence.tolist()}
    text = (
        f"{path}: of the {context.sum()} pixels that ({at[0]}, {at[1]}) can see, {shares['half']} have half of the "
        f"influence and {shares['most']} have 95 % of it, over {len(images.image)} images"
    )
    say(options.json, figures, text)
    return 0
