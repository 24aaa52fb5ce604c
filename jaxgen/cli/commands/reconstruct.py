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
    num: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """How many images are measured, evenly spaced."""
    show: int = 12
    """How many of them are in the picture, evenly spaced."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Reconstruct, args, "jaxgen reconstruct")
    at_least_one(num=1 if options.num is None else options.num, show=options.show)
    path = output(options, f"reconstruct-{slug(options.images)}.png", (".png",))
    run = open_run(options)
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.cli.progress import counted
    from jaxgen.core.capabilities import Reconstructor, require
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.page import beside, colour, contact_sheet, enlarged, framed, scale_for

    require(run.model, Reconstructor, "reconstruct images")
    originals = named_images(run, options.images, options.num, options.label)
    with counted(len(originals.image), "images") as progress:
        back = run.reconstruct(originals.image, originals.condition, progress)
    ratio, alike = _measured(back, originals.image, run.model.levels)
    some = np.linspace(0, len(back) - 1, min(len(back), options.show)).astype(int)
    scale = scale_for(run.model.shape, 64)
    pictures = [colour(displayed(images[some], run.model.levels)) for images in (originals.image, back)]
    pairs = [beside([enlarged(a, scale), enlarged(b, scale)], 2) for a, b in zip(*pictures, strict=True)]
    captions = [caption(originals.names[i], ratio[i], None if alike is None else alike[i]) for i in some]
    save_png(framed(contact_sheet(pairs, captions, 4)), path)
    mean, equal = means(ratio, alike), np.isinf(ratio)
    each: dict[str, Any] = {
        "psnr": [None if same else float(db) for db, same in zip(ratio, equal, strict=True)],
        "ssim": None if alike is None else alike.tolist(),
    }
    figures = {"output": str(path), "step": run.step, "names": originals.names, "shown": some.tolist()}
    figures |= {"equal": int(equal.sum()), "mean": mean, **each}
    say(options.json, figures, f"{path}: {sentence(len(back), len(some), int(equal.sum()), mean)}")
    return 0


def _measured(back: Any, image: Any, levels: int) -> tuple[Any, Any]:
    """PSNR and SSIM of each image, of some at a time; of images smaller than its window there is no SSIM."""
    import numpy as np

    from jaxgen.explore.chunks import in_chunks
    from jaxgen.metrics.restoration import WINDOW, psnr, ssim

    def both(measure: Any) -> Any:
        pairs = {"back": back, "image": image}
        return in_chunks(lambda rows: measure(rows["back"], rows["image"], levels), pairs, len(image)).astype(float)

    return both(psnr), None if min(np.shape(image)[1:3]) < WINDOW else both(ssim)


def caption(name: str, psnr: float, ssim: float | None) -> str:
    """An image's name and figures, on two lines."""
    figures = "equal" if psnr == float("inf") else f"{psnr:.1f} dB"
    return f"{name}\n{figures}" + ("" if ssim is None else f", SSIM {ssim:.3f}")


def means(psnr: Any, ssim: Any) -> dict[str, float | None]:
    """Means by name, None where there is none: the PSNR of an image that comes back as it was is infinite, and stays
    out of the mean."""
    import numpy as np

    finite = psnr[np.isfinite(psnr)]
    return {
        "psnr": float(finite.mean()) if finite.size else None,
        "ssim": None if ssim is None else float(ssim.mean()),
    }


def sentence(count: int, shown: int, equal: int, mean: dict[str, float | None]) -> str:
    """Means in words, with how many images came back as they were."""
    parts = [f"{count:,} images and their reconstructions{f', {shown} of them shown' if shown < count else ''}"]
    if mean["psnr"] is None:
        parts.append("all equal")
    else:
        rest = f" over the {count - equal:,} that are not equal" if equal else ""
        parts.append(f"PSNR {mean['psnr']:.4g} dB on average{rest}")
    if mean["ssim"] is not None:
        parts.append(f"SSIM {mean['ssim']:.4g}")
    return ", ".join(parts)
