"""`jaxgen edit`: an image changed by strokes, on what a generator can draw."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import IMAGES
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError, nearest

Image = Annotated[
    str, tyro.conf.arg(metavar="IMAGE", help=IMAGES, help_behavior_hint="(default: none, the strokes alone)")
]
Strokes = Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE.png ...")]
Brushes = Annotated[tuple[str, ...], tyro.conf.arg(metavar="colour|sketch|warp ...")]
SECONDS = 0.1
"""How long an image of a moving edit is seen."""


@dataclasses.dataclass(kw_only=True)
class Edit(OfRun):
    """Change an image by strokes: it is brought to the nearest image that the generator draws, and from there to the
    nearest that has what the strokes ask for. A strip shows the way, a GIF moves along it."""

    image: Image = ""
    strokes: Strokes = ()
    """Layers of the images' size, drawn where their alpha says so."""
    brush: Brushes = ("colour",)
    """What a layer asks for: its colours; outlines along its lines, whatever the colour; or both, of pieces of the
    image that were dragged to where they lie. One for all layers, or one for each."""
    starts: int = 32
    """Codes that the search begins at."""
    steps: int = 9
    """Images of the way, both ends included."""
    seed: int = 0
    """Seed of those codes."""
    label: Label = None
    """Class of the image, for a model that is conditional on classes."""
    output: flags.text("FILE", "a strip in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a strip, or a .gif for one image that changes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Edit, args, "jaxgen edit")
    at_least_one(starts=options.starts)
    if options.steps < 2:
        raise UsageError(f"--steps must be at least 2, both ends of the way, got {options.steps}.")
    if not options.strokes:
        raise UsageError("`jaxgen edit` wants --strokes FILE.png, a layer with alpha; `jaxgen edit --help` says more.")
    brushes = _brushes(options.brush, len(options.strokes))
    path = output(options, "edited.png", (".png", ".gif"))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli.inputs import conditions, named_images
    from jaxgen.core.capabilities import Latent, require
    from jaxgen.data.layer import read_layer
    from jaxgen.explore.editing import Editor, Stroke
    from jaxgen.explore.latent import interpolate
    from jaxgen.pictures.animation import write_gif
    from jaxgen.pictures.grid import displayed, gridded, save_png
    from jaxgen.pictures.strips import strips

    model = require(run.model, Latent, "be edited by strokes")
    strokes = [Stroke(*read_layer(file, model.shape), brush) for file, brush in zip(options.strokes, brushes)]
    named = named_images(run, options.image, None, options.label) if options.image else None
    if named is not None and len(named.image) != 1:
        raise UsageError(
            f"an edit is of one image, and {options.image} are {len(named.image):,}: name one by its number, as in "
            f"{options.image}:0."
        )
    condition = named.condition if named is not None else conditions(run, 1, options.label)
    condition = model.example_condition(1) if condition is None else condition
    editor, began = Editor(run, condition, options.starts, options.seed), time.monotonic()
    start = None if named is None else editor.project(named.image[0])
    edited = editor.edit(strokes, start)
    seconds = time.monotonic() - began
    way = interpolate(model, edited.before[None], edited.after[None], options.steps)[0]
    image = editor.pictures(way)
    if path.suffix.lower() == ".gif":
        write_gif([gridded(one[None], 256) for one in image], path, SECONDS * len(image), 1.0)
    else:
        shown = [] if named is None else [(displayed(named.image, model.levels)[None], ["image"])]
        under = displayed(named.image[0], model.levels) if named is not None else np.full(model.shape, 96, np.uint8)
        for stroke in strokes:
            alpha = stroke.alpha[..., None]
            over = np.round(alpha * stroke.colour + (1 - alpha) * under).astype(np.uint8)
            shown.append((over[None, None], [stroke.brush]))
        above = ["before", *[""] * (options.steps - 2), "after"]
        title = f"{type(model).__name__}, step {run.step:,}: edited by strokes"
        save_png(strips([*shown, (image[None], above)], (), title), path)
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "brushes": brushes, "seconds": seconds}
    figures |= {"loss_before": edited.loss_before, "loss_after": edited.loss_after, "starts": options.starts}
    what = "the strokes alone" if named is None else named.names[0]
    text = f"{path}: {what} edited by {', '.join(brushes)}: what the strokes miss falls from "
    text += f"{edited.loss_before:.3g} to {edited.loss_after:.3g}; {seconds:.1f} s from {options.starts} starts"
    say(options.json, figures, text)
    return 0


def _brushes(names: Sequence[str], count: int) -> list[str]:
    """The brush of each layer. Raises `UsageError` for an unknown one, and where they do not go with the layers."""
    known = ("colour", "sketch", "warp")
    for name in names:
        if name not in known:
            raise UsageError(f"there is no brush {name!r}.{nearest(name, known)} Brushes: {', '.join(known)}.")
    if len(names) not in (1, count):
        raise UsageError(f"--brush wants one for all layers or one for each of {count}, got {len(names)}.")
    return list(names) * (count if len(names) == 1 else 1)
