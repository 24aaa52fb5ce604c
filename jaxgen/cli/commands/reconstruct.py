"""`jaxgen reconstruct`: images beside what a model's representation keeps of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.inputs import Images, slug
from jaxgen.cli.open import Label, OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say


@dataclasses.dataclass(kw_only=True)
class Reconstruct(OfRun):
    """Pass images through their representation and back: each beside its reconstruction, with PSNR and SSIM."""

    images: Annotated[Images, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = "test"
    num: int = 12
    """How many images, evenly spaced."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Reconstruct, args, "jaxgen reconstruct")
    at_least_one(num=options.num)
    path = output(options, f"reconstruct-{slug(options.images)}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import progress
    from jaxgen.cli.inputs import named_images
    from jaxgen.core.capabilities import Reconstructor, require
    from jaxgen.metrics.restoration import WINDOW, psnr, ssim
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.page import beside, colour, contact_sheet, enlarged, framed, scale_for

    require(run.model, Reconstructor, "reconstruct images")
    found = named_images(run, options.images, options.num, options.label)
    with progress.counted(len(found.image), "images") as told:
        back = run.reconstruct(found.image, found.condition, told)
    levels, small = run.model.levels, min(run.model.shape[:2]) < WINDOW
    ratio = np.asarray(psnr(back, found.image, levels), np.float64)
    alike = None if small else np.asarray(ssim(back, found.image, levels), np.float64)
    equal, near = np.isinf(ratio), [""] * len(back) if alike is None else [f", SSIM {value:.3f}" for value in alike]
    captions = ["equal" if same else f"{db:.1f} dB{more}" for db, same, more in zip(ratio, equal, near, strict=True)]
    scale = scale_for(run.model.shape, 64)
    shown = [colour(displayed(images, levels)) for images in (found.image, back)]
    pairs = [beside([enlarged(a, scale), enlarged(b, scale)], 2) for a, b in zip(*shown, strict=True)]
    save_png(framed(contact_sheet(pairs, captions, 4)), path)
    mean = means(ratio, alike)
    each: dict[str, Any] = {
        "psnr": [None if same else float(db) for db, same in zip(ratio, equal, strict=True)],
        "ssim": None if alike is None else alike.tolist(),
    }
    figures = {"output": str(path), "step": run.step, "names": found.names, "equal": int(equal.sum())}
    say(options.json, {**figures, "mean": mean, **each}, f"{path}: {sentence(len(back), int(equal.sum()), mean)}")
    return 0


def means(psnr: Any, ssim: Any) -> dict[str, float | None]:
    """Means by name, None where there is none: the PSNR of an image that comes back as it was is infinite, and stays
    out of the mean."""
    import numpy as np

    finite = psnr[np.isfinite(psnr)]
    return {
        "psnr": float(finite.mean()) if finite.size else None,
        "ssim": None if ssim is None else float(ssim.mean()),
    }


def sentence(count: int, equal: int, mean: dict[str, float | None]) -> str:
    """Means in words, with how many images came back as they were."""
    parts = [f"{count} images beside their reconstructions"]
    if mean["psnr"] is None:
        parts.append("all equal")
    else:
        rest = f" over the {count - equal} that are not equal" if equal else ""
        parts.append(f"PSNR {mean['psnr']:.4g} dB on average{rest}")
    if mean["ssim"] is not None:
        parts.append(f"SSIM {mean['ssim']:.4g}")
    return ", ".join(parts)
