"""`jaxgen surprise`, `rank` and `field`: what a model's likelihood says of images, and what of them it sees."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.runs import Label, OfRun, at_least_one, open_run, output, say

IMAGES = (
    "A split of the run's data (test, valid, train), an .npz with the images as `image`, a picture, a folder of "
    "pictures, or a data set as `jaxgen data list` names them."
)
Images = Annotated[str, tyro.conf.arg(help=IMAGES)]


@dataclasses.dataclass(kw_only=True)
class Surprise(OfRun):
    """Show how surprising each pixel is, given those before it: a heat map of bits beside each image."""

    images: Images = "test"
    num: int = 12
    """How many images."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


@dataclasses.dataclass(kw_only=True)
class Rank(OfRun):
    """Rank images by their likelihood, the likeliest first: a table, and a picture of both ends."""

    images: Annotated[Images, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = "test"
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images, evenly spaced."""
    ends: int = 10
    """How many images of either end the table and the picture show; JSON has all."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    seed: int = 0
    """Seed of the draws of a bound; exact likelihoods draw nothing."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


@dataclasses.dataclass(kw_only=True)
class Field(OfRun):
    """Show the effective receptive field: how far each pixel moves the prediction of the centre, by gradients."""

    images: Images = "test"
    num: int = 100
    """How many images the gradients are averaged over."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def surprise(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Surprise, args, "jaxgen surprise")
    at_least_one(num=options.num)
    path = output(options, f"surprise-{_slug(options.images)}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import pages, pictures
    from jaxgen.core import Autoregressive, require
    from jaxgen.images import save_png

    require(run.model, Autoregressive, "say how surprising each pixel is")
    found = pictures.images(run, options.images, options.num, options.label)
    bits = run.surprise(found.image, found.condition)
    whole = bits.sum(axis=(1, 2), dtype=np.float64)
    per_dim = whole / np.prod(run.model.shape)
    high = float(np.quantile(bits, 0.995)) or 1.0
    scale = pages.scale_for(run.model.shape, 96)
    shown = pages.colour(pictures.shown(found.image, run.model.levels))
    pairs = [
        pages.beside([pages.enlarged(a, scale), pages.enlarged(b, scale)], 2)
        for a, b in zip(shown, pages.heat(bits, high), strict=True)
    ]
    captions = [f"{b:.1f} bits, {d:.2f} bits/dim" for b, d in zip(whole, per_dim, strict=True)]
    bar = pages.scale_bar("bits per pixel: 0", f"{high:.2g} or more", 160)
    save_png(pages.framed(pages.below([pages.table(pairs, captions, 4), bar], 16)), path)
    figures = {"output": str(path), "step": run.step, "names": found.names, "bits": whole.tolist()}
    text = f"{path}: {len(bits)} images beside the bits of their pixels, {per_dim.mean():.4g} bits/dim on average"
    say(options.json, {**figures, "bits_per_dim": per_dim.tolist()}, text)
    return 0


def rank(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Rank, args, "jaxgen rank")
    at_least_one(num=1 if options.num is None else options.num, ends=options.ends)
    path = output(options, f"rank-{_slug(options.images)}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import pages, pictures, progress
    from jaxgen.core import Density, require
    from jaxgen.images import bits_per_dim, save_png

    require(run.model, Density, "rank images by their likelihood")
    found = pictures.images(run, options.images, options.num, options.label)
    with progress.counted(len(found.image), "images") as told:
        log_prob = run.log_prob(found.image, options.seed, found.condition, told)
    order = np.argsort(-log_prob, kind="stable")
    bits = -bits_per_dim(log_prob.astype(np.float64), run.model.shape)
    rows = [
        {"place": place, "image": found.names[i], "nats": -float(log_prob[i]), "bits_per_dim": float(bits[i])}
        for place, i in enumerate(order, 1)
    ]
    likely = order[: options.ends]
    unlikely = order[max(len(likely), len(order) - options.ends) :]
    scale = pages.scale_for(run.model.shape, 64)
    blocks = []
    for title, some in (("most likely, bits/dim", likely), ("least likely, bits/dim", unlikely)):
        if len(some):
            shown = pages.colour(pictures.shown(found.image[some], run.model.levels))
            tiles = [pages.enlarged(picture, scale) for picture in shown]
            blocks += [pages.words(title), pages.table(tiles, [f"{b:.2f}" for b in bits[some]], 10)]
    save_png(pages.framed(pages.below(blocks)), path)
    if options.json:
        say(True, {"output": str(path), "step": run.step, "bound": not run.model.exact, "images": rows}, "")
        return 0
    from jaxgen.cli.look import table

    cells = [[f"{r['place']:,}", r["image"], f"{r['nats']:.2f}", f"{r['bits_per_dim']:.4f}"] for r in rows]
    left_out = len(rows) - len(likely) - len(unlikely)
    middle = [["…", f"{left_out:,} more", "", ""]] if left_out else []
    shown_rows = cells[: len(likely)] + middle + cells[len(cells) - len(unlikely) :]
    bound = "" if run.model.exact else " (upper bounds)"
    table(shown_rows, ("place", "image", f"nats{bound}", "bits/dim"), right=("place", f"nats{bound}", "bits/dim"))
    say(False, {}, str(path))
    return 0


def field(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Field, args, "jaxgen field")
    at_least_one(num=options.num)
    path = output(options, "field.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import pages, pictures
    from jaxgen.core import Autoregressive, require
    from jaxgen.explore import seen_by, share_of
    from jaxgen.images import save_png

    require(run.model, Autoregressive, "show its receptive field")
    found = pictures.images(run, options.images, options.num, options.label)
    influence = run.field(found.image, found.condition)
    h, w, _ = run.model.shape
    at, context = (h // 2, w // 2), seen_by(run.model)
    shares = {"half": share_of(influence, 0.5), "most": share_of(influence, 0.95)}
    least = float(influence[influence > 0].min(initial=influence.max() or 1.0))
    decades = float(np.clip(np.ceil(np.log10((influence.max() or 1.0) / least)), 1, 6))
    picture = pages.field_picture(influence, context, at, pages.scale_for((h, w), 400), decades)
    bar = pages.scale_bar(f"1e-{decades:.0f}", "1 of the largest", 160)
    legend = f"blue: the pixel ({at[0]}, {at[1]}) and its declared context; gray: no influence"
    title = f"mean |gradient| of its log-probability over {len(found.image)} images, step {run.step:,}"
    lines = [pages.words(title), picture, bar, pages.words(legend)]
    save_png(pages.framed(pages.below(lines)), path)
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "num": len(found.image), "at": list(at)}
    figures |= {"context": int(context.sum()), "pixels": shares, "field": influence.tolist()}
    text = (
        f"{path}: of the {context.sum()} pixels that ({at[0]}, {at[1]}) can see, {shares['half']} have half of the "
        f"influence and {shares['most']} have 95 % of it, over {len(found.image)} images"
    )
    say(options.json, figures, text)
    return 0


def _slug(name: str) -> str:
    """A name of images as part of a file's name."""
    return re.sub(r"[^\w.=-]+", "_", name).strip("_")[-60:] or "images"
