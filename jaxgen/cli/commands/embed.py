"""`jaxgen embed`: the representations of images, as numbers and as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, placed, say, write_npz


@dataclasses.dataclass(kw_only=True)
class Embed(OfRun):
    """Write the representation of each image: `z`, with its `name`, and `label` where the images have labels."""

    images: Annotated[Images, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = "test"
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images, evenly spaced."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.npz", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the numbers go."""
    picture: flags.text("FILE.png", "none") = ""  # type: ignore[valid-type]
    """A picture of the first two principal axes, coloured by label."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Embed, args, "jaxgen embed")
    at_least_one(num=1 if options.num is None else options.num)
    path = output(options, f"embed-{slug(options.images)}.npz", (".npz",))
    picture = placed(options.picture, (".png",), "--picture") if options.picture else None
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import progress
    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Encoder, require

    require(run.model, Encoder, "embed images")
    found = named_images(run, options.images, options.num, options.label)
    with progress.counted(len(found.image), "images") as told:
        z = np.asarray(run.encode(found.image, found.condition, told), np.float32)
    arrays: dict[str, Any] = {"z": z, "name": np.array(found.names)}
    if found.label is not None:
        arrays["label"] = found.label.astype(np.int32)
    write_npz(path, **arrays)
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "num": len(z), "dims": z.shape[1]}
    figures["labels"] = found.label is not None
    lines = [f"{path}: {len(z):,} images as {z.shape[1]} numbers each{', with labels' * (found.label is not None)}"]
    if picture is not None:
        from jaxgen.explore.latent import principal
        from jaxgen.pictures.curves import save
        from jaxgen.pictures.scatter import scatter

        points, share = principal(z)
        axes = [
            f"{which} principal axis, {part:.1%} of the variance" for which, part in zip(("first", "second"), share)
        ]
        title = f"codes of {len(z):,} images by {type(run.model).__name__}, step {run.step:,}"
        save(scatter(points, found.label, axes, title), picture)
        figures |= {"picture": str(picture), "variance": share.tolist()}
        lines.append(f"{picture}: their first two principal axes, {share.sum():.1%} of the variance")
    say(options.json, figures, "\n".join(lines))
    return 0
