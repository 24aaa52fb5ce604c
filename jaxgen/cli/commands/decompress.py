"""`jaxgen decompress`: stored images given back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import say
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
    if path.suffix != ".npz" and channels not in (1, 3):
        raise UsageError(f"--output: images of {channels} channels are no pictures: give an .npz.")
    options.step = options.step or _step(header, file, Path(options.run))
    run = open_run(options, 1)
    with counted(header["count"], "images") as told:
        found = codec.decompress(run.model, run.variables, data, str(file), told)
    if path.suffix == ".npz":
        _write_npz(found, path)
    else:
        _write_pictures(found.image, run.model.levels, path)
    figures = {"output": str(path), "step": run.step, "count": len(found.image), "labels": found.label is not None}
    figures["conditions"] = found.condition is not None
    say(options.json, figures, f"{path}: {len(found.image):,} images, as they were")
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
    path = Path(name)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: its folder is not there.")
    if path.suffix == ".npz":
        if path.exists():
            what = "it is a folder" if path.is_dir() else "this file is there already; give another name with -o"
            raise UsageError(f"--output {path}: {what}.")
    elif path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"--output {path}: something lies there already; give a new folder, or an .npz.")
    return path


def _write_npz(found: Any, path: Path) -> None:
    import numpy as np

    arrays = {name: array for name, array in found._asdict().items() if array is not None}
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    part.replace(path)


def _write_pictures(image: Any, levels: int, folder: Path) -> None:
    """Pictures in a new folder, which appears whole."""
    from jaxgen.pictures.animation import write_frames
    from jaxgen.pictures.grid import displayed

    write_frames(list(displayed(image, levels)), folder, len(str(len(image) - 1)))
