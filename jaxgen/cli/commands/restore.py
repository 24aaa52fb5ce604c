"""`jaxgen restore`: a damaged picture, restored by a net that is fitted to it alone (Deep Image Prior).

It is a training run of the recipe `deep_image_prior`, with a folder of its own: stopped and resumed like any other.
Beyond that it leaves the picture, a page that compares it with the damaged one, and the curves by which it was stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.output import new_folder, placed, say
from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError

RECIPE = "deep_image_prior"
WIDTHS = {"full": 128, "small": 32, "tiny": 8}
"""Features of each scale: the paper's, and for a step of a tenth and of a fiftieth of the time."""

PATIENCE = 1000
"""Steps without a smaller variance after which a run ends (2112.06074)."""


@dataclasses.dataclass(kw_only=True)
class Restore:
    """Restore a picture, or a folder of pictures of one size. The same command again resumes.

    Ctrl-C, SIGTERM and SIGHUP save and stop. Pictures of the way there lie in the run's folder, in samples/.
    """

    task: Annotated[Literal["denoise", "superres", "inpaint", "jpeg"], tyro.conf.Positional]
    """What is wrong with it: noise, too few pixels, missing pixels, artefacts of JPEG."""
    image: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE")]
    """The damaged picture."""
    output: Annotated[str, tyro.conf.arg(metavar="FILE.png", aliases=("-o",))]
    """Where the restored picture goes; of a folder of pictures, a new folder."""
    original: flags.text("PICTURE", "none") = ""  # type: ignore[valid-type]
    """What is to come out, to measure against."""
    mask: flags.text("PICTURE", "none") = ""  # type: ignore[valid-type]
    """What is to be inpainted: dark where pixels are missing."""
    factor: int = 4
    """By which superres enlarges: 2, 4 or 8."""
    damage: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The picture is whole: damage it first, and measure against it."""
    sigma: float = 25.0
    """Of the noise that --damage adds, of 255."""
    missing: float = 0.5
    """The share of pixels that --damage takes away."""
    quality: int = 10
    """Of JPEG, for --damage."""
    crop: int = 0
    """Take a centred square of so many pixels, 0: all."""
    width: Literal["full", "small", "tiny"] = "full"
    """Features of the net: 128 (the paper's), 32 or 8."""
    scales: int = 5
    """Times that the net halves the picture."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the task's)")] = None
    """Steps at most."""
    stop: Annotated[str, tyro.conf.arg(metavar="auto|N")] = "auto"
    """Where the variance of outputs is least, or after so many steps."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 100
    """Steps between two looks at the picture."""
    seed: int = 0
    run: flags.text("FOLDER", "runs/deep_image_prior and the settings") = ""  # type: ignore[valid-type]
    """Folder of the run."""
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Start over; a run that lies in the folder is moved aside."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Restore, args, "jaxgen restore")
    check_seed(options.seed)
    stops, steps = _stop(options)
    from jaxgen.core.files import home_path
    from jaxgen.data.damaged import to_restore

    several = home_path(options.image).is_dir()
    path = new_folder(options.output, "--output") if several else placed(options.output, (".png",))
    named = ("original", "mask", "damage", "crop", "factor", "sigma", "missing", "quality")
    settings: dict[str, Any] = {name: getattr(options, name) for name in named}
    arrays = to_restore(options.image, options.task, **settings)
    from jaxgen.cli.commands import train
    from jaxgen.data.dataset import digest
    from jaxgen.engine.devices.cpu import prepare_cpu
    from jaxgen.runs import recipes
    from jaxgen.runs.folder import default_folder
    from jaxgen.runs.load import load

    images = len(arrays["image"])
    prepare_cpu(1)  # devices share examples, not nets
    import jax

    settings |= {"image": options.image, "task": options.task, "shape": arrays["image"].shape, "stops": stops}
    settings |= {"features": WIDTHS[options.width], "scales": options.scales, "evaluate_every": options.every}
    settings |= {"batch": math.lcm(images, len(jax.devices())), "seed": options.seed}
    settings |= {"patience": math.ceil(PATIENCE / options.every)}
    settings |= {} if steps is None else {"steps": steps}
    file = recipes.find(RECIPE)
    folder = Path(options.run) if options.run else default_folder(file, file.settings(settings))
    words = [str(file.path), *_typed(settings), "--run", str(folder), *["--fresh"] * options.fresh]
    with contextlib.redirect_stdout(io.StringIO()):  # what it has to say of a run is not what is said of a picture
        code = train.run(words)
    if code:
        return code
    done = load(folder, "last")
    dataset = done.recipe.data.load()
    if done.record.about["digest"] != digest(dataset):
        raise UsageError(f"{folder} restored another picture of this name: give another --run, or --fresh.")
    _tell(options, done, dict(dataset.valid.items()), path, several)
    return 0


def _stop(options: Restore) -> tuple[bool, int | None]:
    """Whether the variance decides, and the steps."""
    for name in ("scales", "every"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} must be at least 1, got {getattr(options, name)}.")
    if options.crop < 0 or (options.steps is not None and options.steps < 1):
        raise UsageError(f"wanted --crop of at least 0 and --steps of at least 1, got {options.crop}, {options.steps}.")
    if options.stop == "auto":
        return True, options.steps
    if not options.stop.isdigit() or int(options.stop) < 1:
        raise UsageError(f"--stop wants auto or a number of steps, got {options.stop!r}.")
    return False, int(options.stop)


def _typed(settings: dict[str, Any]) -> list[str]:
    """Knobs as they are typed."""
    words = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value != "":
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def write(image: Any, path: Path, several: bool) -> None:
    """A picture as a file, or several as 0000.png, 0001.png, … in a new folder, in the order of their names."""
    from jaxgen.core.files import whole_folder
    from jaxgen.pictures.grid import save_png

    if not several:
        save_png(image[0], path)
        return
    with whole_folder(path) as part:
        for number, one in enumerate(image):
            save_png(one, part / f"{number:04d}.png")


def _tell(options: Restore, done: Any, batch: Any, path: Path, several: bool) -> None:
    """Write the picture, the page and the curves, and say what came out."""
    import numpy as np

    from jaxgen.explore.restore import figures, page
    from jaxgen.pictures import curves
    from jaxgen.pictures.grid import save_png
    from jaxgen.runs.log import read_log

    outputs = done.variables["outputs"]
    image = np.asarray(done.model.restored(done.variables, batch))
    write(image, path, several)
    original = batch.get("original")
    compared = {
        name: None if original is None else figures(x, original, done.model.factor)
        for name, x in (("damaged", batch["image"]), ("restored", image))
    }
    save_png(page(batch["image"], image, original, compared), done.folder / "restored.png")
    kept = np.asarray(outputs["kept_at"] if done.model.stops else outputs["steps"] + 0 * outputs["kept_at"]).astype(int)
    records = [record for record in read_log(done.folder / "metrics.jsonl") if record.get("split") == "valid"]
    panels = {
        title: {
            label: [(float(r["step"]), r[name]) for r in records]
            for name, label in series.items()
            if name in records[0]
        }
        for title, series in PANELS.items()
    }
    marks = {f"given back, of step {step:,}": float(step) for step in sorted({*kept.tolist()})}
    title = f"{options.task}, {Path(options.image).name}"
    picture = curves.course({name: lines for name, lines in panels.items() if lines}, marks, "step", title)
    curves.save(picture, done.folder / "course.png")
    told: dict[str, Any] = {"output": str(path), "run": str(done.folder), "steps": done.step}
    told |= {"given_back_of": kept.tolist(), **compared}
    say(options.json, told, sentence(told, done.model.stops))


PANELS = {
    "PSNR to the original, dB": {
        "psnr": "averaged output",
        "psnr_output": "output",
        "psnr_stopped": "the average at the least variance so far",
    },
    "PSNR to the input, dB": {"psnr_to_input": "output"},
    "variance of outputs": {"variance": "about their average"},
}
"""What the picture of a run's course shows: figures of the run by panel, and what they are of."""


def sentence(told: dict[str, Any], stops: bool) -> str:
    """What came out, in words: means over pictures."""
    steps = sorted({*told["given_back_of"]})
    at = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    why = ", at the least variance of outputs" if stops else ""
    parts = [f"{told['output']}: the average of outputs at step {at} of {told['steps']:,}{why}"]
    if told["restored"] is not None:
        for name, unit in (("psnr", "PSNR {} dB"), ("ssim", "SSIM {}"), ("psnr_y", "PSNR of luminance {} dB")):
            if name in told["restored"]:
                before, after = (sum(told[x][name]) / len(told[x][name]) for x in ("damaged", "restored"))
                parts.append(f"{unit.format(f'{after:.4g}')} (damaged {before:.4g})")
    return f"{'; '.join(parts)}. Page and curves in {told['run']}."
