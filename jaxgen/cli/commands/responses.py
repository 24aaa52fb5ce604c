"""`jaxgen responses`: what excites the features of a GAN's critic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say

Layer = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the last map)")]
Features = Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="(default: the first six)")]

SHOWN = 6
"""Features that are shown unless some are named, as in the paper's figure 5."""


@dataclasses.dataclass(kw_only=True)
class Responses(OfRun):
    """For each feature of a layer of the critic the images that excite it most, and what in them does, by guided
    backpropagation; the same of a critic with random weights beside it."""

    images: Images = "valid"
    looked_at: int = 500
    """How many of the images are looked at."""
    layer: Layer = None
    """A ReLU of the critic, numbered from 0 in the order in which they are computed."""
    features: Features = ()
    """Features of the layer."""
    num: int = 4
    """Images for each feature."""
    seed: int = 0
    """Seed of the random critic's weights."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Responses, args, "jaxgen responses")
    at_least_one(looked_at=options.looked_at, num=options.num)
    path = output(options, "responses.png", (".png",))
    run = open_run(options)
    import jax
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Adversarial, require
    from jaxgen.core.images import to_float
    from jaxgen.core.model import batch_like
    from jaxgen.explore.features import check_features, last_map, layers, responses
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    model = require(run.model, Adversarial, "show what its critic responds to")
    images = named_images(run, options.images, options.looked_at, options.label)
    # Maps come before a condition; the hidden layer behind it is that under the model's first example.
    condition = None if model.condition is None else model.example_condition(1)

    def critic(variables: Any) -> Any:
        def scores(x: Any) -> Any:
            told = None if condition is None else np.repeat(condition, len(x), 0)
            return model.critic_scores(variables, x, told)

        return scores

    known = layers(critic(run.variables), model.shape)
    layer = last_map(known) if options.layer is None else options.layer
    check_features(known, layer, options.features)
    features = options.features or tuple(range(min(SHOWN, known[layer][-1])))
    x = np.asarray(to_float(images.image, model.levels))
    fresh = model.init(jax.random.key(options.seed), batch_like(model, 1))
    blocks: list[Any] = []
    told = []
    for name, variables in (("trained", run.variables), ("random", fresh)):
        of = responses(critic(variables), x, layer, features, min(options.num, len(x)))
        told.append(of)
        heads = [name, *[""] * (of.place.shape[1] - 1)]
        blocks.append((displayed(images.image[of.place], model.levels), heads))
        blocks.append((_signed(of.gradient), ["gradient", *heads[1:]]))
    rows = [f"feature {f}\n{of:.3g}, {no:.3g}" for f, of, no in zip(features, told[0].value[:, 0], told[1].value[:, 0])]
    size = " by ".join(map(str, known[layer]))  # the pictures' letters have no sign for it
    title = f"{type(model).__name__}, step {run.step:,}: what excites layer {layer} ({size}), and random weights"
    save_png(strips(blocks, rows, title), path)
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "layer": layer, "features": list(features)}
    figures |= {"layers": [list(shape) for shape in known], "responses": told[0].value.tolist()}
    figures["names"] = [[images.names[place] for place in row] for row in told[0].place]
    text = f"{path}: {len(features)} features of layer {layer} ({size}) of the critic, by {len(x):,} images"
    say(options.json, figures, text)
    return 0


def _signed(gradient: Any) -> Any:
    """Gradients as 0 … 255, grey where there is none, each brought to its own largest number."""
    import numpy as np

    most = np.abs(gradient).max(axis=(2, 3, 4), keepdims=True)
    return np.round(127.5 + 127.5 * gradient / np.where(most > 0, most, 1.0)).astype(np.uint8)
