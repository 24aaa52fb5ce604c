"""`jaxgen remove`: an object taken out of all that a generator draws."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError

Boxes = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="N:TOP,LEFT,BOTTOM,RIGHT ...")]
Layer = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the last map)")]


Colour = Annotated[
    tuple[int, ...], tyro.conf.arg(metavar="0-255 ...", help_behavior_hint="(default: nothing is counted)")
]


@dataclasses.dataclass(kw_only=True)
class Remove(OfRun):
    """Make a generator forget an object: the maps of a late layer that speak for what is in the boxes of a few samples
    are set to zero. A picture shows those samples, and others, before and after; of an object known by its colour the
    boxes are found, and it is counted how many samples lose it, beside as many maps by chance."""

    boxes: Boxes = ()
    """Samples by their numbers, and where in them the object is, in pixels from 0; bottom and right lie outside. May be
    left out where the object has a colour."""
    layer: Layer = None
    """A ReLU of the generator, numbered from 0 in the order in which they are computed."""
    num: int = 8
    """How many other samples are shown."""
    colour: Colour = ()
    """Of the object, by which it is told whether a sample has it: 222 48 44, say; of grey images one number."""
    near: int = 60
    """How far from the colour a pixel of the object is at most, in each channel."""
    least: int = 8
    """Pixels of the colour from which on the object is there."""
    marked: int = 24
    """Samples whose boxes are found by the colour, where none are given."""
    trials: int = 500
    """Other samples in which it is counted whether the object is gone."""
    seed: int = 0
    """Seed of the samples, and of what is drawn by chance."""
    label: Label = None
    """Class of all samples, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Remove, args, "jaxgen remove")
    at_least_one(**{name: getattr(options, name) for name in ("num", "least", "marked", "trials")})
    boxed = [_box(word) for word in options.boxes]
    if not boxed and not options.colour:
        raise UsageError(
            "`jaxgen remove` wants RUN N:TOP,LEFT,BOTTOM,RIGHT …, a box around the object in some sample, or the "
            "object's --colour."
        )
    path = output(options, "removed.png", (".png",))
    run = open_run(options)
    import jax
    import numpy as np

    from jaxgen.cli.codes import of_draws
    from jaxgen.core.capabilities import Latent, require
    from jaxgen.explore.features import check_features, last_map, layers
    from jaxgen.explore.inputs import code_shape
    from jaxgen.explore.removal import check_box, check_colour, forget
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    model = require(run.model, Latent, "forget an object that it draws")
    for _, box in boxed:
        check_box(box, model.shape)
    if options.colour:
        check_colour(options.colour, options.near, model.shape[2])
    most = max((number for number, _ in boxed), default=-1) + 1 + options.num
    pool = of_draws(run, most + bool(options.colour) * options.trials, options.seed, options.label)
    condition = None if pool.condition is None else pool.condition[:1]

    def generator(z: Any) -> Any:
        return model.decode(run.variables, z, None if condition is None else np.repeat(condition, len(z), 0))

    known = layers(generator, code_shape(model))
    layer = last_map(known) if options.layer is None else options.layer
    check_features(known, layer, ())
    boxed = boxed or _found(_images(generator, pool.code, model.levels), known[layer], options)
    marked = [number for number, _ in boxed]
    net, maps = forget(generator, pool.code[marked], [box for _, box in boxed], layer, model.shape, options.seed)
    others = [n for n in range(len(pool.code)) if n not in marked]
    shown = [*[*dict.fromkeys(marked)][: max(options.num, len(options.boxes))], *others[: options.num]]
    before, after = (np.asarray(jax.jit(of)(pool.code[shown])) for of in (generator, net))
    rows = ["before", "after"]
    both = displayed(np.stack([before, after]), model.levels)
    title = f"{type(model).__name__}, step {run.step:,}: without {maps.sum()} of {len(maps)} maps of layer {layer}"
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "layer": layer, "samples": shown}
    figures |= {"layers": [list(shape) for shape in known], "maps": np.flatnonzero(maps).tolist()}
    text = f"{path}: {len(shown)} samples, before and after {maps.sum()} of {len(maps)} maps of layer {layer} are zero"
    if options.colour:
        text += "\n" + _counted(generator, net, pool.code[others], layer, maps, options, model.levels, figures)
    save_png(strips([(both, [pool.names[number] for number in shown])], rows, title), path)
    say(options.json, figures, text)
    return 0


def _images(net: Any, z: Any, levels: int) -> Any:
    """The images that a net makes of codes, of 256 levels."""
    import jax

    from jaxgen.explore.chunks import in_chunks
    from jaxgen.pictures.grid import displayed

    program = jax.jit(net)
    return displayed(in_chunks(lambda rows: program(rows["z"]), {"z": z}, len(z)), levels)


def _found(image: Any, size: Sequence[int], options: Remove) -> list[tuple[int, Any]]:
    """The first samples that have an object of the colour which shows on maps of a size, and its boxes. Raises
    `UsageError` where none has."""
    from jaxgen.explore.removal import box_of, coloured, shows_in

    boxes = [box_of(there, options.least) for there in coloured(image, options.colour, options.near)]
    marked = [(n, box) for n, box in enumerate(boxes) if box is not None and shows_in(box, image.shape[1:], size)]
    if not marked:
        colour = " ".join(map(str, options.colour))
        raise UsageError(
            f"none of {len(image):,} samples has {options.least} pixels within {options.near} of --colour {colour}, "
            "and others beside them: give another colour, or how near and how many."
        )
    return marked[: options.marked]


def _counted(
    generator: Any, net: Any, z: Any, layer: int, maps: Any, options: Remove, levels: int, figures: dict[str, Any]
) -> str:
    """What is said of the object in samples that nobody marked; adds to the figures."""
    import numpy as np

    from jaxgen.explore.removal import hits, without

    chance = without(generator, layer, np.random.default_rng(options.seed).permutation(maps))
    before, *after = (_images(of, z, levels) for of in (generator, net, chance))
    told, random = (hits(before, image, options.colour, options.near, options.least) for image in after)
    figures |= {"trials": told.trials, "gone": told.percent, "gone_stderr": told.stderr, "psnr": told.psnr}
    figures |= {"chance_gone": random.percent, "chance_psnr": random.psnr}
    return (
        f"gone from {told.percent:.4g} ± {told.stderr:.2g} % of {told.trials:,} other samples that had it, the rest of "
        f"them kept to {told.psnr:.3g} dB; by as many maps at random {random.percent:.3g} %, {random.psnr:.3g} dB"
    )


def _box(word: str) -> tuple[int, tuple[int, int, int, int]]:
    """The number of a sample and a box in it. Raises `UsageError` for a word that is none."""
    match = re.fullmatch(r"(\d+):(\d+),(\d+),(\d+),(\d+)", word)
    if match is None:
        raise UsageError(f"a box is N:TOP,LEFT,BOTTOM,RIGHT, as in 3:4,0,12,9, got {word!r}.")
    number, top, left, bottom, right = map(int, match.groups())
    return number, (top, left, bottom, right)
