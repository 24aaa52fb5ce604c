"""`jaxgen interpolate`: images on the way from one latent code to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import IMAGES, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Interpolate(OfRun):
    """Show the way between latent codes: a row for each pair, of draws of the prior or of two images."""

    images: Annotated[str, tyro.conf.arg(help=IMAGES, help_behavior_hint="(default: draws of the prior)")] = ""
    to: flags.text("IMAGES", "draws of the prior") = ""  # type: ignore[valid-type]
    """Where the ways from `--images` end, named in the same manner: as many images, or one for all."""
    num: int = 8
    """How many ways."""
    steps: int = 10
    """Images of a way, its ends included."""
    seed: int = 0
    """Seed of the prior's draws."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Interpolate, args, "jaxgen interpolate")
    at_least_one(num=options.num)
    if options.steps < 2:
        raise UsageError(f"--steps must be at least 2, the two ends, got {options.steps}.")
    if bool(options.images) != bool(options.to):
        raise UsageError("--images and --to belong together: give both, or neither for draws of the prior.")
    between = f"{slug(options.images)}-{slug(options.to)}" if options.to else f"seed{options.seed}"
    path = output(options, f"interpolate-{between}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.core.capabilities import Latent, require
    from jaxgen.explore.latent import decoded, interpolate
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    require(run.model, Latent, "interpolate between latent codes")
    if options.to:
        first, last = _ends(run, options)
        a, b, condition = first.code, last.code, first.condition
        names = [list(pair) for pair in zip(first.names, last.names, strict=True)]
    else:
        from jaxgen.cli.inputs import conditions

        a, b = np.split(run.prior(2 * options.num, options.seed), 2)
        condition = conditions(run, options.num, options.label)
        names = [[f"draw {i}", f"draw {i + options.num}"] for i in range(options.num)]
    if condition is None:
        condition = run.model.example_condition(len(a))
    image = decoded(run.decode, interpolate(run.model, a, b, options.steps), condition)
    t = np.linspace(0.0, 1.0, options.steps)
    blocks: list[Any] = [(displayed(image, run.model.levels), [f"{value:.2g}" for value in t])]
    if options.to:
        both = [displayed(end.image[:, None], run.model.levels) for end in (first, last)]
        blocks = [(both[0], ["from"]), *blocks, (both[1], ["to"])]
    titles = [" to ".join(pair) if options.to else pair[0].removeprefix("draw ") for pair in names]
    save_png(strips(blocks, titles), path)
    figures = {"output": str(path), "step": run.step, "num": len(image), "t": t.tolist(), "names": names}
    way = "along a great circle" if run.model.spherical else "straight"
    what = "the codes of two images" if options.to else "two draws of the prior"
    say(options.json, figures, f"{path}: a row for each of {len(image)}, {options.steps} steps {way} between {what}")
    return 0


@dataclasses.dataclass(frozen=True)
class _Ends:
    image: Any
    code: Any
    names: list[str]
    condition: Any


def _ends(run: Any, options: Any) -> tuple[_Ends, _Ends]:
    """Images at both ends of as many ways, and their codes. Raises `UsageError` where they are not as many."""
    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Encoder, require
    from jaxgen.explore.latent import check_encodes

    require(run.model, Encoder, "interpolate between images")
    found = [named_images(run, name, options.num, options.label) for name in (options.images, options.to)]
    most = max(len(one.image) for one in found)
    ends = []
    for one in found:
        if len(one.image) not in (1, most):
            counts = " and ".join(str(len(one.image)) for one in found)
            raise UsageError(f"--images and --to want as many images as each other, or one, got {counts}.")
        code = run.encode(one.image, one.condition)
        check_encodes(run.model, code)
        each = [0] * most if len(one.image) == 1 else list(range(most))
        condition = None if one.condition is None else one.condition[each]
        ends.append(_Ends(one.image[each], code[each], [one.names[i] for i in each], condition))
    return ends[0], ends[1]
