"""Points in a plane, coloured by their labels: codes of images along their first two principal axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from jaxgen.pictures.curves import COLOURS, MARKS

NAMED = 20
"""Labels that have a colour, a mark and a name of their own; more are colours of a scale."""


def scatter(
    points: Float[np.ndarray, "n 2"],
    label: Integer[np.ndarray, " n"] | None,
    axes: Sequence[str],
    title: str = "",
) -> Figure:
    """The picture; `axes` are the names of the two axes. The name of a label stands also where its points have their
    median, in case colours are told apart badly."""
    made = Figure(figsize=(7.2, 6.0), layout="constrained", dpi=150)
    FigureCanvasAgg(made)
    axis = made.add_subplot()
    style: Any = {"s": float(np.clip(9000 / len(points), 3, 36)), "alpha": 0.7, "linewidths": 0}
    seen = np.unique(label) if label is not None else np.array([])
    if label is None:
        axis.scatter(points[:, 0], points[:, 1], color=COLOURS[0], **style)
    elif len(seen) > NAMED:
        drawn = axis.scatter(points[:, 0], points[:, 1], c=label, cmap="viridis", **style)
        made.colorbar(drawn, label="label", ticks=MaxNLocator(8, integer=True))
    else:
        for number, value in enumerate(seen):
            own, look = points[label == value], number % len(COLOURS)
            axis.scatter(
                own[:, 0], own[:, 1], marker=MARKS[number % len(MARKS)], color=COLOURS[look], label=str(value), **style
            )
            text = axis.annotate(str(value), np.median(own, axis=0), ha="center", va="center", weight="bold", zorder=5)
            text.set(color=COLOURS[look], size="x-large", path_effects=[withStroke(linewidth=3, foreground="white")])
        made.legend(title="label", loc="outside right upper", frameon=False, handletextpad=0.1)
    axis.set_aspect("equal", "datalim")
    axis.set_xlabel(axes[0], parse_math=False)
    axis.set_ylabel(axes[1], parse_math=False)
    axis.set_title(title, loc="left", fontsize="medium", parse_math=False)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return made
