"""Points in a plane, coloured by their labels: codes of images along principal axes, or by t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444"),
    *("#832DB6", "#A96B59", "#94A400"),
)
"""Those of the curves and three more: ten labels are told apart by colour alone."""

MARKS = "o^"
"""The second ten labels have the second one."""

NAMED = len(COLOURS) * len(MARKS)
"""Labels that have a colour, a mark and a name of their own; more are colours of a scale."""

APART = 0.045
"""How far names stand from each other at least, of the picture's side."""


def scatter(
    points: Float[np.ndarray, "n 2"],
    label: Integer[np.ndarray, " n"] | None,
    axes: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """The picture; `axes` are the names of the two axes, none where they mean nothing. Points are drawn in a random
    order, so that no label covers the others. The name of a label stands also near the median of its points."""
    figure = Figure(figsize=(7.2, 6.0), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    style: Any = {"s": float(np.clip(16000 / len(points), 5, 40)), "alpha": 0.75, "linewidths": 0}
    shuffled = np.random.default_rng(0).permutation(len(points))
    seen = np.unique(label) if label is not None else np.array([])
    if label is None:
        axis.scatter(points[:, 0], points[:, 1], color=COLOURS[0], **style)
    elif len(seen) > NAMED:
        x, y = points[shuffled].T
        drawn = axis.scatter(x, y, c=label[shuffled], cmap="viridis", **style)
        figure.colorbar(drawn, label="label", ticks=MaxNLocator(8, integer=True))
    else:
        place = np.searchsorted(seen, label)
        for number, mark in enumerate(MARKS):
            own = shuffled[place[shuffled] // len(COLOURS) == number]
            if len(own):
                colours = [COLOURS[i % len(COLOURS)] for i in place[own]]
                axis.scatter(points[own, 0], points[own, 1], marker=mark, c=colours, **style)
        keys = [_key(number, str(value)) for number, value in enumerate(seen)]
        figure.legend(handles=keys, title="label", loc="outside right upper", frameon=False, handletextpad=0.1)
        for number, (value, at) in enumerate(zip(seen, _apart(points, place, len(seen)))):
            text = axis.annotate(str(value), at, ha="center", va="center", weight="bold", zorder=5)
            text.set(color=COLOURS[number % len(COLOURS)], size="x-large")
            text.set_path_effects([withStroke(linewidth=4, foreground="white")])
    axis.set_aspect("equal", "datalim")
    axis.set_title(title, loc="left", fontsize="medium", parse_math=False)
    if axes:
        axis.set_xlabel(axes[0], parse_math=False)
        axis.set_ylabel(axes[1], parse_math=False)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    else:
        axis.set(xticks=[], yticks=[])
    for side in ("top", "right") if axes else ("top", "right", "left", "bottom"):
        axis.spines[side].set_visible(False)
    return figure


def _key(number: int, label: str) -> Line2D:
    """An entry of the legend, its mark large enough for its colour to be seen."""
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number // len(COLOURS)]
    return Line2D([], [], color=colour, marker=mark, linestyle="", markersize=8, label=label)


def _apart(
    points: Float[np.ndarray, "n 2"], place: Integer[np.ndarray, " n"], count: int
) -> Float[np.ndarray, "count 2"]:
    """The median of each label's points, pushed from those of others until no two names hide each other."""
    at = np.stack([np.median(points[place == i], axis=0) for i in range(count)]).astype(np.float64)
    least = APART * float(np.ptp(points, axis=0).max())
    for _ in range(100):
        away = at[:, None] - at
        long = np.linalg.norm(away, axis=-1)
        near = (long < least) & ~np.eye(count, dtype=bool)
        if not near.any():
            break
        turn = np.stack([np.cos(np.arange(count)), np.sin(np.arange(count))], 1)  # of two in one place, some direction
        away = np.where(long[..., None] > 0, away / np.maximum(long, 1e-12)[..., None], turn[:, None] - turn)
        at += 0.5 * (near[..., None] * away * (least - long)[..., None]).sum(1)
    return at
