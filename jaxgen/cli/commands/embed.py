"""`jaxgen embed`: the representations of images, as numbers and as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, placed, say, write_npz
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Embed(OfRun):
    """Write the representation of each image: `z`, with its `name`, and `label` where the images have labels.

    With a picture, `plane` are the points in it, NaN where an image is left out.
    """

    images: Annotated[Images, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = "test"
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images, evenly spaced."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.npz", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the numbers go."""
    picture: Literal["none", "pca", "tsne"] = "none"
    """A picture beside them, coloured by label: of the first two principal axes, or by t-SNE."""
    perplexity: float = 30.0
    """About how many neighbours a point has for t-SNE."""
    seed: int = 0
    """Seed of t-SNE."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Embed, args, "jaxgen embed")
    at_least_one(num=1 if options.num is None else options.num)
    if not options.perplexity >= 1:
        raise UsageError(f"--perplexity must be at least 1, got {options.perplexity:g}.")
    path = output(options, f"embed-{slug(options.images)}.npz", (".npz",))
    picture = path.with_name(f"{path.stem}-{options.picture}.png")
    if options.picture != "none" and path.parent.is_dir():
        placed(str(picture), (".png",), "--picture")
    run = open_run(options)
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.cli.progress import counted
    from jaxgen.core.capabilities import Encoder, require

    require(run.model, Encoder, "embed images")
    images = named_images(run, options.images, options.num, options.label)
    if options.picture == "tsne" and len(images.image) < 4:
        raise UsageError(f"--picture tsne wants at least 4 images, {options.images} has {len(images.image)}.")
    with counted(len(images.image), "images") as progress:
        z = np.asarray(run.encode(images.image, images.condition, progress), np.float32)
    arrays: dict[str, Any] = {"z": z, "name": np.array(images.names)}
    if images.label is not None:
        arrays["label"] = images.label.astype(np.int32)
    size = "×".join(map(str, z.shape[1:]))
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "num": len(z), "dims": int(z[0].size)}
    figures["labels"] = images.label is not None
    lines = [f"{path}: {len(z):,} images as {size} numbers each{', with labels' * (images.label is not None)}"]
    if options.picture != "none":
        by = f"codes of {len(z):,} images by {type(run.model).__name__}, step {run.step:,}"
        arrays["plane"], told_of, more = _drawn(options, picture, z.reshape(len(z), -1), images.label, by)
        figures |= {"picture": str(picture), **more}
        lines.append(f"{picture}: {told_of}")
    write_npz(path, **arrays)
    say(options.json, figures, "\n".join(lines))
    return 0


def _drawn(options: Any, picture: Any, z: Any, label: Any, title: str) -> tuple[Any, str, dict[str, Any]]:
    """Draw the picture: where each image lies in it, what it is in words, and its figures."""
    import numpy as np

    from jaxgen.explore.planes import MOST_POINTS, principal, tsne
    from jaxgen.pictures.curves import save
    from jaxgen.pictures.scatter import scatter

    if options.picture == "pca":
        points, share = principal(z)
        axes = [f"{which} principal axis, {part:.1%} of the variance" for which, part in zip(("1st", "2nd"), share)]
        save(scatter(points, label, axes, title), picture)
        text = f"their first two principal axes, {share.sum():.1%} of the variance"
        return points.astype(np.float32), text, {"variance": share.tolist()}
    some = np.linspace(0, len(z) - 1, min(len(z), MOST_POINTS)).astype(int)
    plane = np.full((len(z), 2), np.nan, np.float32)
    plane[some] = tsne(z[some], options.perplexity, options.seed)
    few, text = len(some) < len(z), f"t-SNE of perplexity {min(options.perplexity, (len(some) - 1) / 3):g}"
    title = f"t-SNE of {title}" if not few else f"t-SNE of {len(some):,} of the {title}"
    save(scatter(plane[some], None if label is None else label[some], (), title), picture)
    if few:
        text += f" of {len(some):,} of them, evenly spaced: more would take minutes and hide each other"
    return plane, text, {"points": len(some)}
