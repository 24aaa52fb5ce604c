"""Why the KL term: auto-encoder, VAE without its KL term and VAE on the way from half to full moon. Prints a table and
writes a picture.

    python experiments/studies/moons.py
    python experiments/studies/moons.py --steps 20000 --out moons.png

Each is a preset of `vae_moons`, of the same nets on the same moons, among which the phases between 0.6 and 0.9 are
missing. The columns of the table: the mean squared error with which images are given back, of phases that were seen
and of those that were not, in units of the full range; the mean standard deviation of the posterior; and, of the images
halfway in code from half to full moon, the mean squared error to the nearest moon of any phase. Codes are joined
straight, as in an auto-encoder without a prior.

Without a price on information a posterior narrows to a point, codes of neighbouring phases need not lie side by side,
and between two of them the decoder has learned nothing: there it blends the ends. The KL term keeps posteriors wide, so
that they overlap, and the decoder has to make images of all that lies between.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
MODELS = {"auto-encoder": "autoencoder", "VAE without KL": "no-kl", "VAE": ""}
"""Rows of the picture, and the presets of `vae_moons` that they are."""

STEPS = 11
"""Pictures from half to full moon."""


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000, help="of training for each of the three")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("moons.png"), help="where the picture goes")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    from jaxgen.engine.devices.cpu import prepare_cpu
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.strips import strips

    prepare_cpu(50)
    say("| model | error, seen phases | unseen phases | posterior width | halfway, to the nearest moon |")
    say("|---|---|---|---|---|")
    rows, levels = [], 0
    for name, preset in MODELS.items():
        run = trained(preset, options.steps, options.seed)
        way, levels = between(run), run.model.levels
        seen, unseen = (error(run, split) for split in (run.dataset.valid, run.dataset.test))
        blend = to_nearest_moon(way[STEPS // 2 - 1 : STEPS // 2 + 2], levels)
        say(f"| {name} | {seen:.4f} | {unseen:.4f} | {width(run)} | {blend:.4f} |")
        rows.append(way)
    rows.append(moon_of(np.linspace(0.5, 1.0, STEPS), way.shape[1], levels))
    heads = [f"{t:.1f}" for t in np.linspace(0.0, 1.0, STEPS)]
    page = strips(
        [(displayed(np.stack(rows), levels), heads)], [*MODELS, "the moon"], "Half moon to full moon, in code"
    )
    say(f"\n{save_png(page, options.out)}")


@dataclasses.dataclass(frozen=True)
class Run:
    """A model with its averaged parameters, and its data."""

    model: Any
    variables: Any
    dataset: Any


def trained(preset: str, steps: int, seed: int) -> Run:
    """That of a preset."""
    from jaxgen.engine.fit import fit
    from jaxgen.engine.state import averaged
    from jaxgen.runs.recipes.build import build
    from jaxgen.runs.recipes.find import find

    file = find("vae_moons")
    settings = {"steps": steps, "evaluate_every": 10**9, "samples": 0, "seed": seed}
    recipe = build(file.with_preset(preset) if preset else file, settings)
    dataset = recipe.data.load()
    outcome = fit(recipe, dataclasses.replace(dataset, test=None))
    return Run(recipe.model, averaged(outcome.state), dataset)


def error(run: Run, split: Any) -> float:
    """Mean squared error of the images of a split as they are given back."""
    back = np.asarray(run.model.reconstruct(run.variables, split.image), np.float64)
    return float(((back - split.image) ** 2).mean() / (run.model.levels - 1) ** 2)


def width(run: Run) -> str:
    """Mean standard deviation of the posteriors of unseen phases; none of an auto-encoder."""
    from jaxgen.engine.evaluate import evaluate

    figures = evaluate(run.model, run.variables, run.dataset.test)
    return f"{figures['posterior_std']:.4f}" if "posterior_std" in figures else "0 by design"


def between(run: Run) -> np.ndarray:
    """Images uint8[STEPS,h,w,1] of the codes on the straight way from half to full moon."""
    import jax.numpy as jnp

    half, full = run.model.encode(run.variables, moon_of(np.array([0.5, 1.0]), run.model.shape[0], run.model.levels))
    t = jnp.linspace(0.0, 1.0, STEPS)[:, None]
    return np.asarray(run.model.decode(run.variables, (1 - t) * half + t * full))


def to_nearest_moon(images: np.ndarray, levels: int) -> float:
    """Mean over images of the least mean squared error to a moon of any phase."""
    moons = moon_of(np.linspace(0.0, 1.0, 201), images.shape[1], levels)
    apart = (images[:, None].astype(np.float64) - moons) / (levels - 1)
    return float((apart**2).mean(axis=(2, 3, 4)).min(axis=1).mean())


def moon_of(phase: np.ndarray, size: int, levels: int) -> np.ndarray:
    """Moons in the middle of the image, of so many levels."""
    from jaxgen.core.images import requantise
    from jaxgen.data.synthetic import drawn_moons

    return np.asarray(requantise(drawn_moons(phase, size), 256, levels))


def say(text: str) -> None:
    """On standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
