"""Mixtures of Gaussians with three kinds of covariance, fitted to three clusters in the plane and drawn.

    python experiments/studies/mixture_2d.py -o picture.png
    python experiments/studies/mixture_2d.py --components 5 --seed 1 -o picture.png

Beside the points are the densities of the fits, dark for low ones, under the ellipses of one and two standard
deviations of each component. Above each stands the log-likelihood of 1,000 other points, nats of each. Prints the same
figures as a table.
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
CLUSTERS = (
    (0.4, (-2.0, 1.0), ((0.9, 0.75), (0.75, 0.9))),
    (0.35, (1.5, 2.0), ((0.9, -0.6), (-0.6, 0.6))),
    (0.25, (0.5, -2.0), ((1.6, 0.0), (0.0, 0.1))),
)
"""Share, mean and covariance of each."""

LOW, HIGH, SIDE = np.array([-5.5, -4.0]), np.array([4.5, 4.5]), 260


def points(num: int, seed: int) -> np.ndarray:
    """Draws of the clusters, float[num,2]."""
    draw = np.random.default_rng(seed)
    which = draw.choice(len(CLUSTERS), num, p=[share for share, *_ in CLUSTERS])
    each = [draw.multivariate_normal(mean, covariance, num) for _, mean, covariance in CLUSTERS]
    return np.stack(each)[which, np.arange(num)]


def main(args: Sequence[str] | None = None) -> int:
    """Fit, tell, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture, a .png")
    parser.add_argument("--num", type=int, default=600, help="points (default 600)")
    parser.add_argument("--components", type=int, default=3, help="of each mixture (default 3)")
    parser.add_argument("--steps", type=int, default=100, help="of EM (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    import jax

    from jaxgen.maths import mixtures
    from jaxgen.pictures.curves import save

    train, test = points(options.num, options.seed), points(1000, options.seed + 1)
    fits = []
    for kind in mixtures.COVARIANCES:
        key = jax.random.key(options.seed)
        mixture, _ = mixtures.fit(key, train, options.components, kind, options.steps)
        nats = [float(mixtures.log_prob(mixture, x).mean()) for x in (train, test)]
        fits.append((kind, mixture, nats))
    sys.stdout.write(table(fits))
    save(picture(train, fits), options.output)
    return 0


def table(fits: Sequence[Any]) -> str:
    """A line for each kind, in Markdown."""
    lines = ["| covariance | log-likelihood, nats of a point | of other points |", "|---|---|---|"]
    lines += [f"| {kind} | {train:.3f} | {test:.3f} |" for kind, _, (train, test) in fits]
    return "\n".join(lines) + "\n"


def picture(train: np.ndarray, fits: Sequence[Any]) -> Any:
    """The points, and the density of each fit with its ellipses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from jaxgen.maths import mixtures
    from jaxgen.pictures.curves import COLOURS
    from jaxgen.pictures.heat import heat

    figure = Figure(figsize=(9.0, 8.2), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    first, *rest = figure.subplots(2, 2, sharex=True, sharey=True).flat
    first.scatter(*train.T, s=7, color=COLOURS[0], linewidths=0)
    first.set_title(f"{len(train)} points of three clusters", loc="left")
    grid = np.stack(np.meshgrid(*np.linspace(LOW, HIGH, SIDE).T), -1)
    log_probs = [np.asarray(mixtures.log_prob(mixture, grid.reshape(-1, 2))) for _, mixture, _ in fits]
    most = float(np.exp(max(x.max() for x in log_probs))) ** 0.5
    for axis, (kind, mixture, (_, test)), log_prob in zip(rest, fits, log_probs, strict=True):
        # Of the root, so that tails are seen too.
        colours = heat(np.exp(log_prob.reshape(SIDE, SIDE)) ** 0.5, most)
        axis.imshow(colours, extent=(LOW[0], HIGH[0], LOW[1], HIGH[1]), origin="lower", interpolation="bilinear")
        for mean, covariance in zip(np.asarray(mixture.means), matrices(mixture)):
            for deviations in (1, 2):
                axis.plot(*ellipse(mean, covariance, deviations).T, color="white", linewidth=1.1)
        axis.set_title(f"{kind}: {test:.3f} nats", loc="left")
    for axis in (first, *rest):
        axis.set_aspect("equal")
        axis.set_xlim(LOW[0], HIGH[0])
        axis.set_ylim(LOW[1], HIGH[1])
    return figure


def matrices(mixture: Any) -> np.ndarray:
    """The covariance of each component as a matrix, [k,d,d]."""
    covariances = np.asarray(mixture.covariances)
    if covariances.ndim == 2:
        return np.stack([np.diag(variance) for variance in covariances])
    return np.broadcast_to(covariances, (len(mixture.means), *covariances.shape[1:]))


def ellipse(mean: np.ndarray, covariance: np.ndarray, deviations: float) -> np.ndarray:
    """Points at so many standard deviations from the mean, [100,2]."""
    angle = np.linspace(0, 2 * np.pi, 100)
    return mean + deviations * np.stack([np.cos(angle), np.sin(angle)], 1) @ np.linalg.cholesky(covariance).T


if __name__ == "__main__":
    sys.exit(main())
