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


@dataclasses.dataclass(kw_only=True)
class Remove(OfRun):
    """Make a generator forget an object: the maps of a late layer that speak for what is in the boxes of a few samples
    are set to zero. A picture shows those samples, and others, before and after."""

    boxes: Boxes = ()
    """Samples by their numbers, and where in them the object is, in pixels from 0; bottom and right lie outside."""
    layer: Layer = None
    """A ReLU of the generator, numbered from 0 in the order in which they are computed."""
    num: int = 8
    """How many other samples are shown."""
    seed: int = 0
    """Seed of the samples."""
    label: Label = None
    """Class of all samples, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Remove, args, "jaxgen remove")
    at_least_one(num=options.num)
    boxed = [_box(word) for word in options.boxes]
    if not boxed:
        raise UsageError("`jaxgen remove` wants RUN N:TOP,LEFT,BOTTOM,RIGHT …, a box around the object in some sample.")
    path = output(options, "removed.png", (".png",))
    run = open_run(options)
    import jax
    import numpy as np

    from jaxgen.cli.codes import of_draws
    from jaxgen.core.capabilities import Latent, require
    from jaxgen.explore.features import check_features, last_map, layers
    from jaxgen.explore.inputs import code_shape
    from jaxgen.explore.removal import check_box, forget
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    model = require(run.model, Latent, "forget an object that it draws")
    for _, box in boxed:
        check_box(box, model.shape)
    marked = [number for number, _ in boxed]
    pool = of_draws(run, max(marked) + 1 + options.num, options.seed, options.label)
    condition = None if pool.condition is None else pool.condition[:1]

    def generator(z: Any) -> Any:
        return model.decode(run.variables, z, None if condition is None else np.repeat(condition, len(z), 0))

    known = layers(generator, code_shape(model))
    layer = last_map(known) if options.layer is None else options.layer
    check_features(known, layer, ())
    net, maps = forget(generator, pool.code[marked], [box for _, box in boxed], layer, model.shape, options.seed)
    shown = [*dict.fromkeys(marked), *[n for n in range(len(pool.code)) if n not in marked][: options.num]]
    before, after = (np.asarray(jax.jit(of)(pool.code[shown])) for of in (generator, net))
    rows = ["before", "after"]
    both = displayed(np.stack([before, after]), model.levels)
    title = f"{type(model).__name__}, step {run.step:,}: without {maps.sum()} of {len(maps)} maps of layer {layer}"
    save_png(strips([(both, [pool.names[number] for number in shown])], rows, title), path)
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "layer": layer, "samples": shown}
    figures |= {"layers": [list(shape) for shape in known], "maps": np.flatnonzero(maps).tolist()}
    text = f"{path}: {len(shown)} samples, before and after {maps.sum()} of {len(maps)} maps of layer {layer} are zero"
    say(options.json, figures, text)
    return 0


def _box(word: str) -> tuple[int, tuple[int, int, int, int]]:
    """The number of a sample and a box in it. Raises `UsageError` for a word that is none."""
    match = re.fullmatch(r"(\d+):(\d+),(\d+),(\d+),(\d+)", word)
    if match is None:
        raise UsageError(f"a box is N:TOP,LEFT,BOTTOM,RIGHT, as in 3:4,0,12,9, got {word!r}.")
    number, top, left, bottom, right = map(int, match.groups())
    return number, (top, left, bottom, right)
