"""`jaxgen traverse`: what each number of a latent code does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import IMAGES, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

Dims = Annotated[
    tuple[int, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="(default: those that change it most)")
]
Range = Annotated[
    tuple[float, float] | None, tyro.conf.arg(metavar="LOW HIGH", help_behavior_hint="(default: the prior's)")
]


@dataclasses.dataclass(kw_only=True)
class Traverse(OfRun):
    """Vary the numbers of one latent code, one at a time: a row for each, the rest of the code as it is."""

    images: Annotated[str, tyro.conf.arg(help=IMAGES, help_behavior_hint="(default: a draw of the prior)")] = ""
    dims: Dims = ()
    """Dimensions to vary, counted from 0."""
    num: int = 8
    """How many of them, where `--dims` names none."""
    range: Range = None
    """The values' ends; by default three standard deviations of the prior, and no further than it goes."""
    steps: int = 9
    """How many values."""
    seed: int = 0
    """Seed of the prior's draw."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Traverse, args, "jaxgen traverse")
    at_least_one(num=options.num, steps=options.steps)
    if options.range is not None and not all(map(math.isfinite, options.range)):
        raise UsageError(f"--range wants two finite numbers, got {options.range[0]:g} and {options.range[1]:g}.")
    of = slug(options.images) if options.images else f"seed{options.seed}"
    path = output(options, f"traverse-{of}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.core.capabilities import Latent, require
    from jaxgen.explore.latent import active, decoded, span, traverse
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    require(run.model, Latent, "vary the numbers of a latent code")
    z, condition, original, name = _code(run, options)
    low, high = options.range or span(run.model)
    dims = list(options.dims) or active(run.model, run.decode, z, options.num, condition).tolist()
    values = np.linspace(low, high, options.steps)
    each = None if condition is None else condition.repeat(len(dims), 0)
    image = decoded(run.decode, traverse(z, dims, values.tolist()), each)
    blocks: list[Any] = [(displayed(image, run.model.levels), [f"{value:.3g}" for value in values])]
    whole = original if options.images else run.decode(z[None], condition)
    shown = displayed(np.repeat(whole[:, None], len(dims), 0), run.model.levels)
    blocks = [(shown, ["image" if options.images else "code"]), *blocks]
    own = z.reshape(-1)[dims]
    save_png(strips(blocks, [f"z{dim} = {value:.2f}" for dim, value in zip(dims, own, strict=True)]), path)
    figures = {"output": str(path), "step": run.step, "image": name, "dims": dims, "values": values.tolist()}
    of = f"the code of {name}" if name else "a draw of the prior"
    text = f"{path}: a row for each of {len(dims)} of the {z.size} numbers of {of}, from {low:g} to {high:g}"
    say(options.json, {**figures, "code": own.tolist()}, text)
    return 0


def _code(run: Any, options: Any) -> tuple[Any, Any, Any, str | None]:
    """The code to vary and its condition; the image that it is of and that one's name, or None."""
    from jaxgen.cli.inputs import conditions, named_images
    from jaxgen.core.capabilities import Encoder, require
    from jaxgen.explore.latent import check_encodes

    if not options.images:
        condition = conditions(run, 1, options.label)
        condition = run.model.example_condition(1) if condition is None else condition
        return run.prior(1, options.seed)[0], condition, None, None
    require(run.model, Encoder, "vary the code of an image")
    found = named_images(run, options.images, 1, options.label)
    code = run.encode(found.image, found.condition)
    check_encodes(run.model, code)
    return code[0], found.condition, found.image, found.names[0]
