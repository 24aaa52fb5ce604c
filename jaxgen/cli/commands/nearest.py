"""`jaxgen nearest`: samples beside the training images nearest to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxgen.cli import flags
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Nearest(OfRun):
    """Show samples beside the training images nearest to them, whether the model repeats what it was trained on: by
    pixels, and with --features by a classifier's features too."""

    num: int = 8
    """How many samples."""
    neighbours: int = 4
    """How many training images beside each."""
    among: int = 10_000
    """How many training images are looked at, evenly spaced."""
    features: flags.text("RUN", "none") = ""  # type: ignore[valid-type]
    """The run of a classifier of the same images."""
    least_accuracy: float = 80.0
    """Percent of test images that the classifier must tell; 0 takes it as it is."""
    seed: int = 0
    """Seed of the samples."""
    label: Label = None
    """Class of all samples, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Nearest, args, "jaxgen nearest")
    at_least_one(num=options.num, neighbours=options.neighbours, among=options.among)
    if options.neighbours > options.among:
        raise UsageError(f"--neighbours wants at most the {options.among:,} of --among, got {options.neighbours:,}.")
    path = output(options, "nearest.png", (".png",))
    run = open_run(options)
    from jaxgen.cli.inputs import conditions, named_images
    from jaxgen.core.capabilities import Sampler, require
    from jaxgen.explore.features import nearest
    from jaxgen.explore.quality import check_net, features_of
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    model = require(run.model, Sampler, "draw samples")
    spaces: dict[str, Any] = {"pixels": lambda image: image.reshape(len(image), -1) / (model.levels - 1)}
    if options.features:
        from jaxgen.runs.feature_judge import features_run

        net = features_run(options.features, options.least_accuracy)
        check_net(net, model.shape, model.levels)
        spaces["features"] = lambda image: features_of(net, image, model.levels)
    train = named_images(run, "train", options.among, options.label)
    sample = run.sample(options.num, options.seed, conditions(run, options.num, options.label))
    blocks: list[Any] = [(displayed(sample[:, None], model.levels), ["sample"])]
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "among": len(train.image), "nearest": {}}
    for space, of in spaces.items():
        place, distance = nearest(of(sample), of(train.image), min(options.neighbours, len(train.image)))
        blocks.append((displayed(train.image[place], model.levels), [space, *[""] * (place.shape[1] - 1)]))
        names = [[train.names[i] for i in row] for row in place]
        figures["nearest"][space] = {"names": names, "distance": distance.tolist()}
    title = f"{type(model).__name__}, step {run.step:,}: nearest of {len(train.image):,} training images"
    save_png(strips(blocks, [], title), path)
    by = " and ".join(spaces)
    text = f"{path}: {options.num} samples beside the nearest of {len(train.image):,} training images, by {by}"
    say(options.json, figures, text)
    return 0
