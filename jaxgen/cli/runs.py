"""`jaxgen sample`, `evaluate` and `complete`: what a trained model can do, from its run's folder."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.errors import UsageError

HALVES = ("top-half", "bottom-half", "left-half", "right-half")


@dataclasses.dataclass(kw_only=True)
class _OfRun:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    step: Annotated[str, tyro.conf.arg(metavar="best|last|N")] = "best"
    """Checkpoint: best on validation data, last, or a step."""
    json: flags.Json = False


@dataclasses.dataclass(kw_only=True)
class Sample(_OfRun):
    """Draw images from a trained model: the same seed, the same images."""

    num: int = 64
    """How many images."""
    seed: int = 0
    """Seed of the draws."""
    output: flags.text("FILE", "a grid in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a grid, or an .npz for the uint8 images as `image`."""


@dataclasses.dataclass(kw_only=True)
class Evaluate(_OfRun):
    """Score a whole split: nats per image and bits per dimension."""

    split: Literal["test", "valid", "train"] = "test"
    """Which images."""
    data: flags.text("DATA", "the run's") = ""  # type: ignore[valid-type]
    """Another data set than the run's, as `jaxgen data list` names them."""
    batch: int = 100
    """Images at a time."""


@dataclasses.dataclass(kw_only=True)
class Complete(_OfRun):
    """Fill in the missing part of images. A row of the result: original, what was given, completions."""

    images: str = "test"
    """A split of the run's data (test, valid, train), a picture, or a data set as `jaxgen data list` names them."""
    keep: str = "top-half"
    """What is given: top-half, bottom-half, left-half, right-half, or a mask: a picture, white where given."""
    num: int = 8
    """How many images."""
    completions: int = 6
    """How many completions of each."""
    seed: int = 0
    """Seed of the draws."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def sample(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Sample, args, "jaxgen sample")
    _at_least_one(num=options.num)
    path = _output(options, f"sample-seed{options.seed}.png", (".png", ".npz"))
    run = _open(options, options.num)
    image = run.sample(options.num, options.seed)
    _write(image, run.model.levels, path)
    _say(options.json, {"output": str(path), "step": run.step, "num": options.num, "seed": options.seed}, str(path))
    return 0


def evaluate(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Evaluate, args, "jaxgen evaluate")
    _at_least_one(batch=options.batch)
    run = _open(options, options.batch)
    dataset = run.other_data(options.data) if options.data else None
    found = run.evaluate(options.split, dataset, options.batch)
    name = (dataset or run.dataset).name
    bound = " (an upper bound)" if found["bound"] else ""
    text = (
        f"{found['bits_per_dim']:.4g} bits/dim, {found['nats']:.5g} nats per image{bound}: "
        f"{found['count']:,} {options.split} images of {name}, step {run.step:,}"
    )
    _say(options.json, {**found, "split": options.split, "data": name, "step": run.step}, text)
    return 0


def complete(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Complete, args, "jaxgen complete")
    _at_least_one(num=options.num, completions=options.completions)
    path = _output(options, f"complete-{Path(options.keep).stem}-seed{options.seed}.png", (".png",))
    if options.keep not in HALVES and not Path(options.keep).is_file():
        raise UsageError(f"--keep wants {', '.join(HALVES)} or a mask picture, got {options.keep!r}, which is no file.")
    run = _open(options, options.num * options.completions)
    from jaxgen.core import Completer, require

    require(run.model, Completer, "complete images")
    from jaxgen.cli import pictures
    from jaxgen.report import write_grid

    given = pictures.mask(options.keep, run.model.shape)
    image = pictures.images(run, options.images, options.num)
    drawn = run.complete(image.repeat(options.completions, 0), given, options.seed)
    page = pictures.side_by_side(image, given, drawn, run.model.levels)
    write_grid(page, 256, path, columns=options.completions + 2)
    figures = {"output": str(path), "step": run.step, "num": len(image), "given": float(given.mean())}
    _say(options.json, figures, f"{path}: original, given, {options.completions} completions in each row")
    return 0


def _open(options: Any, batch: int) -> Any:
    """The run, after its folder was looked at and the CPU prepared for that many images at a time."""
    step: Any = options.step
    if step not in ("best", "last"):
        if not step.isdigit():
            raise UsageError(f"--step wants best, last or a number, got {step!r}.")
        step = int(step)
    from jaxgen import mesh, run

    run.read(options.run)
    mesh.prepare_cpu(batch)
    return run.load(options.run, step)


def _output(options: Any, default: str, suffixes: tuple[str, ...]) -> Path:
    path = Path(options.output) if options.output else Path(options.run) / default
    if path.suffix not in suffixes:
        raise UsageError(f"--output wants a name that ends in {' or '.join(suffixes)}, got {str(path)!r}.")
    if path.is_dir() or (options.output and not path.parent.is_dir()):
        raise UsageError(f"--output {path}: {'it is a folder' if path.is_dir() else 'its folder is not there'}.")
    return path


def _write(image: Any, levels: int, path: Path) -> None:
    from jaxgen.report import write_grid

    if path.suffix == ".png":
        write_grid(image, levels, path)
        return
    import numpy as np

    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, image=image)
    part.replace(path)


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"--{name} must be at least 1, got {count}.")


def _say(as_json: bool, figures: Mapping[str, Any], text: str) -> None:
    sys.stdout.write((json.dumps(figures) if as_json else text) + "\n")
