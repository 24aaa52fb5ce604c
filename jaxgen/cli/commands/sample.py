"""`jaxgen sample`: images drawn from a trained model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags, texts
from jaxgen.cli.open import OfRun, Truncation, open_run
from jaxgen.cli.output import at_least_one, new_folder, output, say, write_npz
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
    text: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SENTENCE ...", help_behavior_hint="(default: none)")] = ()
    """What the images show, for a model that is told sentences. Of several, the picture has a row for each, with one
    code in each column, and the .npz --num images of each."""
    between: int = 0
    """Of two sentences or more: so many steps on the way from each to the next, a row for each; 0: none."""
    style: flags.text("IMAGES", "none") = ""  # type: ignore[valid-type]
    """Images whose style, the code that the model finds in each, is drawn with what the sentences say: a split of the
    run's data, an .npz, a picture or a folder of pictures."""
    prior: Literal["model", "mixture"] = "model"
    """What codes are drawn from: the model's own prior, or a mixture of Gaussians fitted to the codes of the training
    images; a mixture's are decoded without further draws."""
    components: int = 10
    """Of the mixture."""
    covariance: Literal["full", "diagonal", "tied"] = "full"
    """Of the mixture's components."""
    chain: Literal["none", "mala", "langevin"] = "none"
    """Move each code from the prior on by a chain that follows the gradient of E(G(z)) − log p(z), for a model with an
    energy: the picture has a row for each of the first chains, the .gif all of them step by step, the .npz their
    ends."""
    chain_steps: int = 100
    """Steps of a chain."""
    step_size: float = 0.05
    """α of a chain's steps z + α∇ + √(2α)ξ; with one too large MALA stays where it is, and says so."""
    truncation: Truncation = None
    """Draw codes from the prior N(0, I) cut off at ±BOUND and decode them without further draws: images become likelier
    and more alike."""
    seed: int = 0
    """Seed of the draws, and of a mixture's start."""
    output: flags.text("FILE", "a grid in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """A .png for a grid, a .gif for a grid that grows pixel by pixel, or an .npz for the uint8 images as `image`."""
    plain: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The images as they are, without margins between them and not enlarged; of one, just that image."""
    frames: flags.text("FOLDER", "none") = ""  # type: ignore[valid-type]
    """A new folder for the frames of the growing grid as .png: those drawn so far, gray where nothing is yet."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Sample, args, "jaxgen sample")
    at_least_one(num=options.num, chunk=options.chunk, components=options.components)
    mixed = options.prior == "mixture"
    if mixed and options.temperature != 1:
        raise UsageError(f"--prior mixture draws at temperature 1, got {options.temperature:g}: leave one of both out.")
    if not mixed and (options.components, options.covariance) != (Sample.components, Sample.covariance):
        raise UsageError("--components and --covariance are of a mixture: add --prior mixture, or leave them out.")
    cut = options.truncation is not None
    if cut and (mixed or options.temperature != 1 or options.chain != "none"):
        raise UsageError(
            "--truncation cuts off the model's own prior at temperature 1: leave --prior, --temperature and --chain "
            "out."
        )
    _check_chain(options)
    texts.check(options)
    label = "" if options.label is None else f"-label{options.label}"
    label += f"-{Path(options.condition).stem}" if options.condition else texts.name(options)
    warm = "" if options.temperature == 1 else f"-temperature{options.temperature:g}"
    warm += f"-truncation{options.truncation:g}" if cut else ""
    plain = "-plain" if options.plain else ""
    prior = f"-{options.covariance}{options.components}" if mixed else ""
    chain = "" if options.chain == "none" else f"-{options.chain}{options.chain_steps}-{options.step_size:g}"
    name = f"sample-seed{options.seed}{label}{warm}{prior}{chain}{plain}.png"
    path = output(options, name, (".png", ".gif", ".npz"))
    if options.plain and path.suffix.lower() == ".npz" and not options.frames:
        raise UsageError(f"--plain is about pictures, and {path} holds the images as they are: leave it out.")
    folder = new_folder(options.frames, "--frames") if options.frames else None
    run = open_run(options)
    from jaxgen.cli import codes
    from jaxgen.cli.inputs import conditions
    from jaxgen.cli.progress import counted
    from jaxgen.core.capabilities import Sampler, require
    from jaxgen.explore.likelihood import drawing_rank, growth
    from jaxgen.explore.mixture import check_mixture
    from jaxgen.pictures.animation import growing
    from jaxgen.pictures.grid import grid, gridded, save_png

    if mixed:
        check_mixture(run.model)
    else:
        require(run.model, Sampler, "sample")
    codes.check_truncation(run, options.truncation)
    if texts.rows(options):
        return texts.page(run, options, path)
    if options.chain != "none":
        return _by_chain(run, options, path, folder)
    drawn = growth(drawing_rank(run.model)) if folder or path.suffix.lower() == ".gif" else None
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "num": options.num, "seed": options.seed}
    lines = [str(path)]
    if options.text:
        told = texts.words_of(run, options.text)
        condition: Any = told.words.repeat(options.num, axis=0)
        figures |= told.figures
        lines += told.lines
    else:
        condition = conditions(run, options.num, options.label, options.condition)
    if mixed:
        image, about = _of_mixture(run, options, condition)
        figures |= about
        lines.append(
            f"by {options.components} {options.covariance} components fitted to {about['codes']:,} training images, "
            f"log-density {about['nats']:.5g} nats of a code"
        )
    elif cut:
        z = codes.drawn(run, options.num, options.seed, options.truncation)
        with counted(options.num, "images") as progress:
            image = run.decode(z, condition, progress)
        figures["truncation"] = options.truncation
        lines.append(f"codes of N(0, I) cut off at ±{options.truncation:g}")
    else:
        with counted(options.num, "images") as progress:
            drawing = {"temperature": options.temperature, "chunk": options.chunk, "progress": progress}
            image = run.sample(options.num, options.seed, condition, **drawing)
    page: Any = functools.partial(grid, margin=0) if options.plain else gridded
    if drawn is not None:
        grids = growing(image, drawn, run.model.levels, page)
        lines += _animated(grids, path, folder, figures)
    if path.suffix.lower() == ".npz":
        write_npz(path, image=image)
    elif path.suffix.lower() == ".png":
        save_png(page(image, run.model.levels), path)
    say(options.json, figures, "\n".join(lines))
    return 0


def _of_mixture(run: Any, options: Sample, condition: Any) -> tuple[Any, dict[str, Any]]:
    """Images of draws of a mixture fitted to the codes of the training images, and what is told of it."""
    from jaxgen.cli.inputs import named_images
    from jaxgen.cli.progress import counted
    from jaxgen.explore.mixture import fitted, sampled

    images = named_images(run, "train")
    fit: dict[str, Any] = {"components": options.components, "covariance": options.covariance}
    with counted(len(images.image), "training images") as progress:
        mixture, nats = fitted(
            run, images.image, condition=images.condition, progress=progress, seed=options.seed, **fit
        )
    image = sampled(run, mixture, options.num, options.seed, condition)
    fit |= {"codes": len(images.image), "nats": nats}
    return image, {"prior": "mixture", **fit}


ROWS, COLUMNS, MOMENTS = 10, 11, 51
"""Chains and moments of each that a picture shows, and moments that a moving one shows, evenly spaced."""


def _check_chain(options: Sample) -> None:
    """Raises `UsageError` for flags that no chain goes with, and for flags of a chain without one."""
    if options.chain == "none":
        if (options.chain_steps, options.step_size) != (Sample.chain_steps, Sample.step_size):
            raise UsageError("--chain-steps and --step-size are of a chain: add --chain mala, or leave them out.")
        return
    at_least_one(**{"chain-steps": options.chain_steps})
    if options.prior != "model" or options.temperature != 1:
        raise UsageError(
            "--chain begins at draws of the model's own prior at temperature 1: leave --prior and --temperature out."
        )


def _animated(grids: Any, path: Path, folder: Path | None, figures: dict[str, Any]) -> list[str]:
    """Grids as a GIF where that is asked for, and as frames where there is a folder for them, of which the figures and
    the lines given back tell."""
    from jaxgen.pictures.animation import write_frames, write_gif

    if path.suffix.lower() == ".gif":
        write_gif(grids, path)
    if folder is None:
        return []
    write_frames(grids, folder)
    figures["frames"] = str(folder)
    return [f"{folder}: {len(grids)} frames"]


def _by_chain(run: Any, options: Sample, path: Path, folder: Path | None) -> int:
    """The command where codes are moved by chains; returns its exit code."""
    import numpy as np

    from jaxgen.cli.inputs import conditions
    from jaxgen.cli.progress import counted
    from jaxgen.explore.chains import chains, check_chains
    from jaxgen.explore.latent import decoded
    from jaxgen.pictures.grid import displayed, grid, gridded, save_png
    from jaxgen.pictures.strips import strips

    chain, steps, size, levels = options.chain, options.chain_steps, options.step_size, run.model.levels
    check_chains(run.model, chain, steps, size)
    conditions(run, options.num, options.label, options.condition)
    with counted(options.num, "chains") as progress:
        z, accepted = chains(run, options.num, steps, size, chain, options.seed, options.chunk, progress)
    page: Any = functools.partial(grid, margin=0) if options.plain else gridded
    moving = folder is not None or path.suffix.lower() == ".gif"
    rate = float(accepted.mean())
    about = f"{options.num} chains of {steps} steps of {size:g} by {chain}, {100 * rate:.1f} % of them accepted"
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "num": options.num, "seed": options.seed}
    figures |= {"chain": chain, "chain_steps": steps, "step_size": size, "acceptance": rate}
    lines = [f"{path}: {about}"]
    if moving:
        moments = np.linspace(0, steps, min(steps + 1, MOMENTS)).round().astype(int)
        image = decoded(run.decode, z[:, moments])
        grids = [page(image[:, i], levels) for i in range(len(moments))]
        lines += _animated(grids, path, folder, figures)
    if path.suffix.lower() == ".npz":
        write_npz(path, image=run.decode(z[:, -1]))
    elif path.suffix.lower() == ".png" and options.plain:
        save_png(page(run.decode(z[:, -1]), levels), path)
    elif path.suffix.lower() == ".png":
        moments = np.linspace(0, steps, min(steps + 1, COLUMNS)).round().astype(int)
        image = decoded(run.decode, z[:ROWS, moments])
        names = [f"chain {i}\n{100 * share:.0f} %" for i, share in enumerate(accepted[:ROWS].mean(axis=1))]
        title = f"{type(run.model).__name__}, step {run.step:,}: {about}"
        save_png(strips([(displayed(image, levels), [f"{i}" for i in moments])], names, title), path)
    say(options.json, figures, "\n".join(lines))
    return 0
