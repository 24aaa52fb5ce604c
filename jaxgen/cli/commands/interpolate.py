"""`jaxgen interpolate`: images on the way from one latent code to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import IMAGES, slug
from jaxgen.cli.open import Label, OfRun, Truncation, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

From = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="FROM", help=IMAGES, help_behavior_hint="(default: draws of the prior)"),
]
To = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="TO",
        help="Where the ways from these end, named in the same manner: as many images, or one for all.",
        help_behavior_hint="(default: draws of the prior)",
    ),
]


@dataclasses.dataclass(kw_only=True)
class Interpolate(OfRun):
    """Show the way between latent codes: a row for each pair, of two images or of draws of the prior."""

    start: From = ""
    end: To = ""
    num: int = 8
    """How many ways."""
    steps: int = 10
    """Images of a way, its ends included."""
    way: Annotated[
        Literal["auto", "straight", "spherical"],
        tyro.conf.arg(help_behavior_hint="(default: straight between images, as the prior asks between draws)"),
    ] = "auto"
    """Straight, or along a great circle."""
    seed: int = 0
    """Seed of the prior's draws."""
    truncation: Truncation = None
    """Draw ends from the prior N(0, I) cut off at ±BOUND."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes; two that differ change halfway."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Interpolate, args, "jaxgen interpolate")
    at_least_one(num=options.num)
    if options.steps < 2:
        raise UsageError(f"--steps must be at least 2, the two ends, got {options.steps}.")
    if options.start and not options.end:
        raise UsageError(f"a way from {options.start} wants an end: `jaxgen interpolate RUN FROM TO`.")
    between = f"{slug(options.start)}-{slug(options.end)}" if options.end else f"seed{options.seed}"
    path = output(options, f"interpolate-{between}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import codes
    from jaxgen.explore.latent import conditions_between, decoded, interpolate
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    of_images = bool(options.end)
    codes.check_decodes(run, of_images, "interpolate between latent codes", "interpolate between images")
    codes.check_truncation(run, options.truncation, options.start)
    first, last = _images(run, options) if of_images else _draws(run, options)
    way, how = codes.way_of(run.model, options.way, of_images)
    condition = conditions_between(first.condition, last.condition, options.steps)
    image = decoded(run.decode, interpolate(run.model, first.code, last.code, options.steps, way), condition)
    t = np.linspace(0.0, 1.0, options.steps)
    blocks: list[Any] = [(displayed(image, run.model.levels), [f"{value:.2g}" for value in t])]
    if of_images:
        both = [displayed(end.image[:, None], run.model.levels) for end in (first, last)]
        blocks = [(both[0], ["from"]), *blocks, (both[1], ["to"])]
    names = [list(pair) for pair in zip(first.names, last.names, strict=True)]
    what = "the codes of two images" if of_images else "two draws of the prior"
    title = f"{type(run.model).__name__}, step {run.step:,}: {how} between {what}"
    save_png(strips(blocks, ["\nto ".join(pair) for pair in names], title), path)
    figures = {"output": str(path), "step": run.step, "num": len(image), "t": t.tolist(), "way": way, "names": names}
    text = f"{path}: a row for each of {len(image)}, {options.steps} steps {how} between {what}"
    if condition is not None and condition.ndim == 2 and (condition[:, 0] != condition[:, -1]).any():
        text += ", whose classes change halfway: --label gives one for all"
    say(options.json, figures, text)
    return 0


def _draws(run: Any, options: Any) -> tuple[Any, Any]:
    """Draws of the prior at both ends of as many ways, those of a way under one condition."""
    import numpy as np

    from jaxgen.cli.codes import Coded, drawn
    from jaxgen.cli.inputs import conditions

    num = options.num
    condition = conditions(run, num, options.label)
    condition = run.model.example_condition(num) if condition is None else condition
    a, b = np.split(drawn(run, 2 * num, options.seed, options.truncation), 2)
    names = [f"draw {i}" for i in range(2 * num)]
    return Coded(a, names[:num], condition), Coded(b, names[num:], condition)


def _images(run: Any, options: Any) -> tuple[Any, Any]:
    """Images at both ends of as many ways, and their codes. Raises `UsageError` where they are not as many."""
    from jaxgen.cli.codes import of_images
    from jaxgen.cli.inputs import named_images

    ends = [named_images(run, name, options.num, options.label) for name in (options.start, options.end)]
    most = max(len(end.image) for end in ends)
    for end in ends:
        if len(end.image) not in (1, most):
            counts = " and ".join(str(len(end.image)) for end in ends)
            raise UsageError(f"FROM and TO want as many images as each other, or one, got {counts}.")
    first, last = (of_images(run, end.repeated(most)) for end in ends)
    return first, last
