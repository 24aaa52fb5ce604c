"""An energy of points in the plane while it learns, with and without the score penalty, moving.

    python experiments/studies/energy_2d.py -o energy.gif

A maximum entropy generator (1901.08508) learns two moons, twice from the same start: with λ as the recipe has it, and
with λ = 0, where nothing keeps the energy smooth at the points. Light is the lowest energy of a frame's plane and dark
the highest, in bands; blue are the points, orange what the generator draws. Prints the spread of the energy over the
points and the mean squared score there as a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SIDE, REACH, BANDS, BATCH, SHOWN = 60, 1.0, 10, 128, 100
"""Cells of a side of the landscape, how far it reaches, its bands, examples of a step, points of a kind in a frame."""


def points(num: int, seed: int) -> np.ndarray:
    """Draws of two interleaving half circles, −1 to 1, float32[num,2]."""
    draw = np.random.default_rng(seed)
    angle, lower = np.pi * draw.random(num), draw.random(num) < 0.5
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.where(lower[:, None], (1.0, 0.5) - x, x) - (0.5, 0.25)
    return (0.5 * (x + 0.05 * draw.normal(size=x.shape))).astype(np.float32)


def main(args: Sequence[str] | None = None) -> int:
    """Train, tell, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the moving picture, a .gif")
    parser.add_argument("--steps", type=int, default=6000, help="of the energy (default 6000)")
    parser.add_argument("--frames", type=int, default=24, help="of the picture (default 24)")
    parser.add_argument("--score-weight", type=float, default=0.1, help="λ of the left half (default 0.1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    if not 1 <= options.frames <= options.steps:
        parser.error(f"--frames are 1 to as many as --steps, got {options.frames} of {options.steps}")
    from jaxgen.pictures.animation import write_gif

    real = points(4000, options.seed)
    weights = (options.score_weight, 0.0)
    runs = [moments(real, weight, options.steps, options.frames, options.seed) for weight in weights]
    sys.stdout.write(table(weights, runs))
    pages = [frame(real[:SHOWN], weights, both) for both in zip(*runs, strict=True)]
    write_gif(pages, options.output)
    return 0


def moments(real: np.ndarray, score_weight: float, steps: int, frames: int, seed: int) -> list[dict[str, Any]]:
    """What a frame shows, of evenly spaced steps: the energy over the plane and at points, the score there, and draws
    of the generator."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxgen.data.dataset import Dataset, Source, Split
    from jaxgen.engine.recipe import Recipe
    from jaxgen.engine.state import init_state
    from jaxgen.engine.step import make_step
    from jaxgen.maths.penalties import score_penalty
    from jaxgen.models.energy.meg import PointMEG

    model = PointMEG(score_weight=score_weight)
    split = Split(x=real)
    data = Source("moons", lambda: Dataset("moons", 2, split, split, None, "drawn"))
    adam = optax.adam(3e-4, b1=0.5, b2=0.9)
    recipe = Recipe(data=data, model=model, optimizer=adam, batch=BATCH, steps=steps, seed=seed)
    step, every = make_step(recipe), steps // frames
    x = jnp.asarray(real)

    @jax.jit
    def train(state: Any, key: Any) -> Any:
        def one(state: Any, key: Any) -> Any:
            return step(state, {"x": x[jax.random.randint(key, (BATCH,), 0, len(x))]})[0], None

        return jax.lax.scan(one, state, jax.random.split(key, every))[0]

    at = np.linspace(-REACH, REACH, SIDE)
    plane = model.as_examples(jnp.asarray(np.stack(np.meshgrid(at, at), -1).reshape(-1, 2), jnp.float32))

    @jax.jit
    def seen(variables: Any) -> dict[str, Any]:
        some, z = model.as_examples(x[:500]), model.prior(jax.random.key(1), SHOWN)
        energy = lambda x: model.energy_of(variables, x)  # noqa: E731
        return {
            "plane": energy(plane).reshape(SIDE, SIDE),
            "spread": energy(some).std(),
            "score": score_penalty(energy, some).mean(),
            "drawn": model.generated(variables, z)[:, 0, 0],
        }

    state, moments = init_state(recipe, {"x": real[:BATCH]}), []
    for number in range(frames):
        state = train(state, jax.random.fold_in(jax.random.key(seed), number))
        moments.append({"step": (number + 1) * every, **jax.device_get(seen(state.variables))})
    return moments


def table(weights: Sequence[float], runs: Sequence[Sequence[dict[str, Any]]]) -> str:
    """The last moment of each training, in Markdown."""
    lines = ["| λ | step | spread of E over the points | mean ‖∇E‖² there |", "|---|---|---|---|"]
    for weight, run in zip(weights, runs):
        last = run[-1]
        lines.append(f"| {weight:g} | {last['step']:,} | {last['spread']:.3g} | {last['score']:.3g} |")
    return "\n".join(lines) + "\n"


def frame(real: np.ndarray, weights: Sequence[float], both: Sequence[dict[str, Any]]) -> np.ndarray:
    """A page of the landscapes side by side."""
    from jaxgen.pictures.heat import heat
    from jaxgen.pictures.page import below, beside, enlarged, framed, words

    scale, blocks = 3, []
    for weight, moment in zip(weights, both):
        energy = np.asarray(moment["plane"], np.float64)
        height = (energy - energy.min()) / ((energy.max() - energy.min()) or 1.0)
        page = enlarged(heat(1.0 - np.floor(height * BANDS).clip(0, BANDS - 1) / (BANDS - 1), 1.0), scale)
        for some, colour in ((real, (86, 180, 233)), (np.asarray(moment["drawn"]), (230, 120, 0))):
            rows = np.clip(((some + REACH) / (2 * REACH) * len(page)).astype(int), 1, len(page) - 2)
            for column, row in rows:
                page[row - 1 : row + 2, column - 1 : column + 2] = colour
        blocks.append(below([words(f"penalty {weight:g}, step {moment['step']:,}"), page[::-1]]))
    return framed(beside(blocks))


if __name__ == "__main__":
    sys.exit(main())
