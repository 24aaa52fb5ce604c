"""`jaxgen sample`: images drawn from a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Sample(OfRun):
    """Draw images from a trained model: the same seed, the same images, whatever the chunk."""

    num: int = 64
    """How many images."""
    chunk: int = 100
    """Images drawn at a time; they do not depend on it, but time and memory do."""
    temperature: float = 1.0
    """Below 1 likelier images than the model's, above 1 less likely ones; of models that draw pixel by pixel."""
    label: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: each in turn)")] = None
    """Class of all images, for a model that is conditional on classes."""
    condition: flags.text("FILE.npz", "those of the validation images") = ""  # type: ignore[valid-type]
    """An .npz whose array `condition` has what the images are drawn by, in turn, for a model of vectors or maps."""
    seed: int = 0
    """Seed of the draws."""
    output: flags.text("FILE", "a grid in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a grid, a .gif for a grid that grows pixel by pixel, or an .npz for the uint8 images as `image`."""
    frames: flags.text("FOLDER", "none") = ""  # type: ignore[valid-type]
    """A new folder for the frames of the growing grid as .png: those drawn so far, gray where nothing is yet."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Sample, args, "jaxgen sample")
    at_least_one(num=options.num, chunk=options.chunk)
    label = "" if options.label is None else f"-label{options.label}"
    label += f"-{Path(options.condition).stem}" if options.condition else ""
    warm = "" if options.temperature == 1 else f"-temperature{options.temperature:g}"
    path = output(options, f"sample-seed{options.seed}{label}{warm}.png", (".png", ".gif", ".npz"))
    folder = _new_folder(options.frames) if options.frames else None
    run = open_run(options)
    from jaxgen.cli import progress
    from jaxgen.cli.inputs import conditions
    from jaxgen.core.capabilities import Sampler, require
    from jaxgen.explore.likelihood import drawing_rank, growth
    from jaxgen.pictures.animation import growing, write_frames, write_gif

    require(run.model, Sampler, "sample")
    drawn = growth(drawing_rank(run.model)) if folder or path.suffix == ".gif" else None
    condition = conditions(run, options.num, options.label, options.condition)
    with progress.counted(options.num, "images") as told:
        drawing = {"temperature": options.temperature, "chunk": options.chunk, "progress": told}
        image = run.sample(options.num, options.seed, condition, **drawing)
    figures = {"output": str(path), "step": run.step, "num": options.num, "seed": options.seed}
    lines = [str(path)]
    if drawn is not None:
        grids = growing(image, drawn, run.model.levels)
        if path.suffix == ".gif":
            write_gif(grids, path)
        if folder is not None:
            write_frames(grids, folder)
            figures["frames"] = str(folder)
            lines.append(f"{folder}: {len(grids)} frames")
    if path.suffix != ".gif":
        _write(image, run.model.levels, path)
    say(options.json, figures, "\n".join(lines))
    return 0


def _new_folder(name: str) -> Path:
    folder = Path(name)
    if folder.exists():
        raise UsageError(f"--frames {folder}: something lies there already, give a new folder.")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"--frames {folder}: the folder above it is not there.")
    return folder


def _write(image: Any, levels: int, path: Path) -> None:
    from jaxgen.pictures.grid import write_grid

    if path.suffix == ".png":
        write_grid(image, levels, path)
        return
    import numpy as np

    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, image=image)
    part.replace(path)
