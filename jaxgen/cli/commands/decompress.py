"""`jaxgen decompress`: stored images given back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import new_folder, placed, say, write_npz
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Decompress(OfRun):
    """Give back the images of a file that `jaxgen compress` made with the same run."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file."""
    step: flags.text("best|last|N", "the one that made the file") = ""  # type: ignore[valid-type]
    """Checkpoint: best on validation data, last, or a step."""
    output: flags.text("FILE.npz|FOLDER", "an .npz beside the file", "-o") = ""  # type: ignore[valid-type]
    """An .npz for the uint8 images as `image`, with their `label` or `condition` where the file has them; or a new
    folder for numbered pictures in .png, in the order in which they were given."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Decompress, args, "jaxgen decompress")
    file = Path(options.file)
    if not file.is_file():
        raise UsageError(f"there is no file {file}: `jaxgen compress RUN` makes one.")
    path = _target(options.output or str(file.with_suffix(".npz")))
    data = file.read_bytes()
    from jaxgen import codec
    from jaxgen.cli.progress import counted

    header = codec.header(data, str(file))
    channels = header["shape"][2]
    if path.suffix.lower() != ".npz" and channels not in (1, 3):
        raise UsageError(f"--output: images of {channels} channels are no pictures: give an .npz.")
    options.step = options.step or _step(header, file, Path(options.run))
    run = open_run(options, 1)
    with counted(header["count"], "images") as progress:
        images = codec.decompress(run.model, run.variables, data, str(file), progress)
    if path.suffix.lower() == ".npz":
        write_npz(path, **{name: array for name, array in images._asdict().items() if array is not None})
    else:
        _write_pictures(images.image, run.model.levels, path)
    figures = {"output": str(path), "step": run.step, "count": len(images.image), "labels": images.label is not None}
    figures["conditions"] = images.condition is not None
    say(options.json, figures, f"{path}: {len(images.image):,} images, as they were")
    return 0


def _step(header: Mapping[str, Any], file: Path, folder: Path) -> str:
    """The checkpoint that made a file. Raises `UsageError` for a run without it, which is another one."""
    from jaxgen.runs.history import saved_steps

    about = header["about"]
    if "step" not in about:
        return "best"
    saved = saved_steps(folder)
    if saved and about["step"] not in saved:
        of = f" of the run {about['run']}" if "run" in about else ""
        raise UsageError(
            f"{file} was made by a {header['model']}, step {about['step']}{of}; {folder} has no checkpoint of that "
            "step: give the run that made it."
        )
    return str(about["step"])


def _target(name: str) -> Path:
    if Path(name).suffix.lower() != ".npz":
        return new_folder(name, "--output", or_empty=True)
    path = placed(name, (".npz",))
    if path.exists():
        raise UsageError(f"--output {path}: this file is there already; give another name with -o.")
    return path


def _write_pictures(image: Any, levels: int, folder: Path) -> None:
    """Pictures in a new folder, which appears whole."""
    from jaxgen.pictures.animation import write_frames
    from jaxgen.pictures.grid import displayed

    write_frames(list(displayed(image, levels)), folder, len(str(len(image) - 1)))
