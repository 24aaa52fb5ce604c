"""`jaxgen traverse`: what each number of a latent code does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import OfPrior, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

Dims = Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="(default: the most informative)")]
Range = Annotated[
    tuple[float, float] | None, tyro.conf.arg(metavar="LOW HIGH", help_behavior_hint="(default: the prior's)")
]

LOOKED_AT = 1000
"""Validation images by whose codes it is told which dimensions are informative."""


@dataclasses.dataclass(kw_only=True)
class Traverse(OfRun):
    """Vary the numbers of one latent code, one at a time: a row for each, the rest of the code as it is."""

    images: OfPrior = ""
    dims: Dims = ()
    """Dimensions to vary, counted from 0. Of an `Encoder` the most informative ones are those whose numbers vary most
    over validation images, of others those that change the picture most."""
    num: int = 8
    """How many of them, where `--dims` names none."""
    range: Range = None
    """The values' ends; by default three standard deviations of the prior (or, without one, of the codes of validation
    images), and no further than it goes."""
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

    from jaxgen.cli import codes
    from jaxgen.explore.latent import decoded, traverse
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    of_image = bool(options.images)
    codes.check_decodes(run, of_image, "vary the numbers of a latent code", "vary the code of an image")
    one = codes.codes_named(run, options.images, 1, options.seed, options.label)
    z = one.code[0]
    (low, high), dims, variance, by = _choice(run, options, one)
    values = np.linspace(low, high, options.steps)
    changed = traverse(z, dims, values.tolist())
    condition = one.condition
    if condition is not None:
        condition = np.tile(condition, (*changed.shape[:2], *[1] * (condition.ndim - 1)))
    image = decoded(run.decode, changed, condition)
    whole: Any = one.image if of_image else run.decode(one.code, one.condition)
    pictures = displayed(np.repeat(whole[:, None], len(dims), 0), run.model.levels)
    blocks: list[Any] = [(pictures, ["image" if of_image else "code"])]
    blocks.append((displayed(image, run.model.levels), [f"{value:.3g}" for value in values]))
    own = z.reshape(-1)[dims]
    rows = [f"z{dim} = {value:.2f}" for dim, value in zip(dims, own, strict=True)]
    if variance is not None:
        rows = [f"{row}\nvariance {share:.2f}" for row, share in zip(rows, variance[dims], strict=True)]
    of = f"the code of {one.names[0]}" if of_image else "a draw of the prior"
    save_png(strips(blocks, rows, f"{type(run.model).__name__}, step {run.step:,}: {of}, one number varied"), path)
    figures = {"output": str(path), "step": run.step, "image": one.names[0] if of_image else None, "dims": dims}
    figures |= {"values": values.tolist(), "code": own.tolist()}
    figures["variance"] = None if variance is None else variance[dims].tolist()
    text = f"{path}: a row for each of {len(dims)} of the {z.size:,} numbers of {of}, from {low:g} to {high:g}{by}"
    say(options.json, figures, text)
    return 0


def _choice(run: Any, options: Any, one: Any) -> tuple[tuple[float, float], list[int], Any, str]:
    """From where to where, which dimensions, the variance of all of them over validation images, where the model
    encodes images as what it decodes and dimensions are to be chosen, and by what they were, in words."""
    from jaxgen.cli.codes import encodes_codes, of_images
    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Latent
    from jaxgen.explore.latent import ACTIVE, active, informative, prior_span, span

    model, codes = run.model, None
    if encodes_codes(model) and not (options.dims and isinstance(model, Latent)):
        codes = of_images(run, named_images(run, "valid", LOOKED_AT, options.label)).code
    ends = options.range or (prior_span(model) if codes is None or isinstance(model, Latent) else span(codes))
    if options.dims:
        return ends, list(options.dims), None, ""
    if codes is None:
        dims = active(run.decode, one.code[0], options.num, ends, one.condition)
        return ends, dims.tolist(), None, ", those that change it most first"
    order, variance = informative(codes)
    used = f", {(variance > ACTIVE).sum():,} of them above {ACTIVE:g}" if isinstance(model, Latent) else ""
    by = f", by their variance over the codes of {len(codes):,} validation images{used}"
    return ends, order[: options.num].tolist(), variance[order.argsort()], by
