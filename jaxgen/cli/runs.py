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

SHARED = 840
"""A batch that any number of devices up to eight can share: what a run computes is filled up to a multiple of them."""

APPROXIMATE = (
    "the given pixels are not the first ones of an order that the model draws in: a pixel drawn before a given one "
    "takes no notice of it"
)
HALVES = ("top-half", "bottom-half", "left-half", "right-half")


Label = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the images' own labels)")]
Step = Annotated[str, tyro.conf.arg(metavar="best|last|N")]


@dataclasses.dataclass(kw_only=True)
class OfRun:
    """What every command that is about a run takes."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    step: Step = "best"
    """Checkpoint: best on validation data, last, or a step."""
    json: flags.Json = False


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


@dataclasses.dataclass(kw_only=True)
class Evaluate:
    """Score a whole split: nats per image and bits per dimension. Of several runs, each and the mixture of all."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Folders of the runs; they share the first one's data."""
    step: Step = "best"
    """Checkpoint: best on validation data, last, or a step."""
    split: Literal["test", "valid", "train"] = "test"
    """Which images."""
    data: flags.text("DATA", "the run's") = ""  # type: ignore[valid-type]
    """Another data set than the run's, as `jaxgen data list` names them."""
    batch: int = 100
    """Images at a time."""
    json: flags.Json = False


@dataclasses.dataclass(kw_only=True)
class Complete(OfRun):
    """Fill in the missing part of images. A row of the result: original, what was given, completions."""

    images: str = "test"
    """A split of the run's data (test, valid, train), an .npz with the images as `image`, a picture, a folder of
    pictures, or a data set as `jaxgen data list` names them."""
    keep: str = "top-half"
    """What is given: top-half, bottom-half, left-half, right-half, or a mask: a picture, white where given."""
    num: int = 8
    """How many images."""
    completions: int = 6
    """How many completions of each."""
    temperature: float = 1.0
    """Below 1 likelier completions than the model's, above 1 less likely ones."""
    label: Label = None
    """Class of all images, for a model that is conditional on classes."""
    seed: int = 0
    """Seed of the draws."""
    output: flags.text("FILE.png", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""


def sample(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Sample, args, "jaxgen sample")
    at_least_one(num=options.num, chunk=options.chunk)
    label = "" if options.label is None else f"-label{options.label}"
    label += f"-{Path(options.condition).stem}" if options.condition else ""
    warm = "" if options.temperature == 1 else f"-temperature{options.temperature:g}"
    path = output(options, f"sample-seed{options.seed}{label}{warm}.png", (".png", ".gif", ".npz"))
    folder = _new_folder(options.frames) if options.frames else None
    run = open_run(options)
    from jaxgen.cli import pages, pictures, progress
    from jaxgen.core import Sampler, require
    from jaxgen.explore import drawing_rank, growth

    require(run.model, Sampler, "sample")
    drawn = growth(drawing_rank(run.model)) if folder or path.suffix == ".gif" else None
    condition = pictures.conditions(run, options.num, options.label, options.condition)
    with progress.counted(options.num, "images") as told:
        drawing = {"temperature": options.temperature, "chunk": options.chunk, "progress": told}
        image = run.sample(options.num, options.seed, condition, **drawing)
    figures = {"output": str(path), "step": run.step, "num": options.num, "seed": options.seed}
    lines = [str(path)]
    if drawn is not None:
        grids = pages.growing(image, drawn, run.model.levels)
        if path.suffix == ".gif":
            pages.write_gif(grids, path)
        if folder is not None:
            pages.write_frames(grids, folder)
            figures["frames"] = str(folder)
            lines.append(f"{folder}: {len(grids)} frames")
    if path.suffix != ".gif":
        _write(image, run.model.levels, path)
    say(options.json, figures, "\n".join(lines))
    return 0


def evaluate(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Evaluate, args, "jaxgen evaluate")
    at_least_one(batch=options.batch)
    if not options.runs:
        raise UsageError("`jaxgen evaluate` wants RUN; `jaxgen evaluate --help` shows its flags.")
    runs = open_runs(options.runs, options.step, options.batch)
    from jaxgen.evaluate import figures, mixture

    dataset = runs[0].other_data(options.data) if options.data else runs[0].dataset
    for run in runs:  # before any is scored, which may take minutes
        run.scored_data(options.split, dataset)
    scores = [run.log_probs(options.split, dataset, options.batch) for run in runs]
    shape, bounds = runs[0].model.shape, [not run.model.exact for run in runs]
    found = [figures(score, shape, bound) for score, bound in zip(scores, bounds)]
    rows = [(_said(figure), f"step {run.step:,}") for run, figure in zip(runs, found)]
    about: dict[str, Any] = {"split": options.split, "data": dataset.name}
    images = f"{found[0]['count']:,} {options.split} images of {dataset.name}"
    if len(runs) == 1:
        say(options.json, {**found[0], **about, "step": runs[0].step}, f"{rows[0][0]}: {images}, {rows[0][1]}")
        return 0
    mixed = figures(mixture(scores), shape, any(bounds))
    about["runs"] = [{"run": name, "step": run.step, **f} for name, run, f in zip(options.runs, runs, found)]
    width = max(map(len, (*options.runs, "mixture")))
    lines = [f"{name:<{width}}  {figure}, {step}" for name, (figure, step) in zip(options.runs, rows)]
    lines.append(f"{'mixture':<{width}}  {_said(mixed)}: {images}")
    say(options.json, {**mixed, **about}, "\n".join(lines))
    return 0


def _said(figures: Mapping[str, Any]) -> str:
    bound = " (an upper bound)" if figures["bound"] else ""
    return f"{figures['bits_per_dim']:.4g} bits/dim, {figures['nats']:.5g} nats per image{bound}"


def complete(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Complete, args, "jaxgen complete")
    at_least_one(num=options.num, completions=options.completions)
    path = output(options, f"complete-{Path(options.keep).stem}-seed{options.seed}.png", (".png",))
    if options.keep not in HALVES and not Path(options.keep).is_file():
        raise UsageError(f"--keep wants {', '.join(HALVES)} or a mask picture, got {options.keep!r}, which is no file.")
    run = open_run(options)
    from jaxgen.cli import pages, pictures, progress
    from jaxgen.core import Completer, require
    from jaxgen.images import save_png

    require(run.model, Completer, "complete images")
    given = pictures.mask(options.keep, run.model.shape)
    found = pictures.images(run, options.images, options.num, options.label)
    image, each = found.image, options.completions
    condition = None if found.condition is None else found.condition.repeat(each, 0)
    with progress.counted(len(image) * each, "images") as told:
        drawn = run.complete(image.repeat(each, 0), given, options.seed, condition, options.temperature, told)
    exact = bool(run.model.completes_exactly(given))
    verdict, why = ("exact", run.model.exactly) if exact else ("approximate", APPROXIMATE)
    grid = pages.gridded(pictures.side_by_side(image, given, drawn, run.model.levels), 256, each + 2)
    save_png(pages.captioned(grid, f"original | given | {each} completions, {verdict}"), path)
    figures = {"output": str(path), "step": run.step, "num": len(image), "given": float(given.mean()), "exact": exact}
    say(options.json, figures, f"{path}: original, given, {each} completions in each row\n{verdict}: {why}")
    return 0


def open_run(options: Any, batch: int = SHARED) -> Any:
    """The run, after its folder was looked at and the CPU prepared for that many images at a time."""
    return open_runs([options.run], options.step, batch)[0]


def open_runs(folders: Sequence[str], step: Any, batch: int) -> list[Any]:
    """The runs at that checkpoint, after all folders were looked at and the CPU was prepared."""
    if step not in ("best", "last"):
        if not step.isdigit():
            raise UsageError(f"--step wants best, last or a number, got {step!r}.")
        step = int(step)
    from jaxgen import mesh, run

    for folder in folders:
        run.read(folder)
    mesh.prepare_cpu(batch)
    return [run.load(folder, step) for folder in folders]


def output(options: Any, default: str, suffixes: tuple[str, ...]) -> Path:
    """Where the result goes: --output, or a name in the run's folder. Raises `UsageError` where that cannot be."""
    path = Path(options.output) if options.output else Path(options.run) / default
    ends = " or ".join([", ".join(suffixes[:-1]), suffixes[-1]] if suffixes[1:] else suffixes)
    if path.suffix not in suffixes:
        raise UsageError(f"--output wants a name that ends in {ends}, got {str(path)!r}.")
    if path.is_dir() or (options.output and not path.parent.is_dir()):
        raise UsageError(f"--output {path}: {'it is a folder' if path.is_dir() else 'its folder is not there'}.")
    return path


def _new_folder(name: str) -> Path:
    folder = Path(name)
    if folder.exists():
        raise UsageError(f"--frames {folder}: something lies there already, give a new folder.")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"--frames {folder}: the folder above it is not there.")
    return folder


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


def at_least_one(**counts: int) -> None:
    """Raises `UsageError` for the first of the flags that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"--{name} must be at least 1, got {count}.")


def say(as_json: bool, figures: Mapping[str, Any], text: str) -> None:
    """What a command has to say, as JSON or as text."""
    sys.stdout.write((json.dumps(figures) if as_json else text) + "\n")
