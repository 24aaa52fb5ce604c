"""Curves of several runs in one picture: validation bold with marks, training thin behind it, the best point ringed.

Only this file and `scatter` import matplotlib. Figures are drawn without its global state, on any machine, terminal or
not.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jaxgen.core.files import whole

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
"""Okabe and Ito's colours, which most colour-blind people tell apart; the yellow one is too faint for lines."""

MARKS = "osD^vP"
"""One fewer than colours: the pair of both is new for the first 42 runs."""

MARKED = 16
"""Marks on a line, about; more would hide it."""

EARLY = 0.1
"""The part of each run whose values need not fit into the picture: those of the first steps would squash the rest."""

Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A run's figures of one metric, as (x, value); lower is better."""

    train: Points
    valid: Points


def figure(panels: Mapping[str, Sequence[Curve]], labels: Sequence[str], by: str, title: str = "") -> Figure:
    """The picture: a panel for each metric by name, in it a curve for each label. `by` is "steps" or "seconds"."""
    page = Figure(figsize=(8.0, 1.4 + 3.6 * len(panels) + 0.22 * len(labels)), layout="constrained", dpi=150)
    FigureCanvasAgg(page)
    axes = page.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    everything = [c for curves in panels.values() for c in curves]
    longest = max((x for c in everything for points in (c.train, c.valid) for x, _ in points), default=1.0) or 1.0
    unit, scale = _unit(longest) if by == "seconds" else ("steps", 1.0)
    for axis, (name, curves) in zip(axes, panels.items()):
        for number, curve in enumerate(curves):
            _draw(axis, curve, scale, number)
        axis.set_ylabel(name, parse_math=False)  # names come from files, where $ is no formula
        _frame(axis, curves)
    axes[-1].set_xlabel(unit)
    axes[-1].set_xlim(0, longest / scale * 1.01)
    axes[-1].xaxis.set_major_locator(MaxNLocator(7, integer=by == "steps"))
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    if title:
        axes[0].set_title(title, loc="left", fontsize="medium", parse_math=False)
    keys = [_line(number, label) for number, label in enumerate(labels)]
    if any(c.valid for c in everything) and any(c.train for c in everything):
        keys.append(Line2D([], [], color="#888888", linewidth=0.8, label="thin: training"))
    for entry in page.legend(handles=keys, loc="outside lower left", frameon=False, fontsize="small").get_texts():
        entry.set_parse_math(False)
    return page


def intervals(series: Mapping[str, Sequence[tuple[float, float, float]]], x: str, y: str, title: str = "") -> Figure:
    """Means with error bars over a number that grows: for each label its (number, mean, half the bar's length), the
    first two above 0. Both axes are logarithmic; lines stand a little beside each other, for bars to be seen apart."""
    page = Figure(figsize=(8.0, 5.4), layout="constrained", dpi=150)
    FigureCanvasAgg(page)
    axis = page.add_subplot()
    for number, (label, points) in enumerate(series.items()):
        at, mean, half = np.array(points).T
        beside = 1.015 ** (number - (len(series) - 1) / 2)
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        lower = np.minimum(half, 0.99 * mean)  # a bar that reached 0 would have no end on a logarithmic axis
        axis.errorbar(at * beside, mean, (lower, half), color=colour, marker=mark, markersize=5, capsize=3, label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    numbers = sorted({point[0] for points in series.values() for point in points})
    axis.set_xticks(numbers, [f"{number:,g}" for number in numbers])
    axis.set_xticks([], minor=True)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel(x, parse_math=False)
    axis.set_ylabel(y, parse_math=False)
    axis.set_title(title, loc="left", fontsize="medium", parse_math=False)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    page.legend(loc="outside right upper", frameon=False, fontsize="small")
    return page


def course(panels: Mapping[str, Mapping[str, Points]], marks: Mapping[str, float], x: str, title: str = "") -> Figure:
    """Lines over one axis, a panel for each quantity by name, with lines by their labels, and for each of the `marks` a
    dashed upright through all panels."""
    picture = Figure(figsize=(8.0, 1.0 + 2.6 * len(panels)), layout="constrained", dpi=150)
    FigureCanvasAgg(picture)
    axes = picture.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, series) in zip(axes, panels.items(), strict=True):
        for number, (label, points) in enumerate(series.items()):
            axis.plot(*np.array(points).T, color=COLOURS[number % len(COLOURS)], linewidth=1.8, label=label)
        for number, (label, at) in enumerate(marks.items()):
            axis.axvline(at, color=COLOURS[-1 - number % len(COLOURS)], linewidth=1.0, linestyle="--", label=label)
        values = [value for points in series.values() for _, value in points]
        if values and min(values) > 0 and max(values) > 20 * min(values):
            axis.set_yscale("log")
        axis.set_ylabel(name, parse_math=False)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        shown = axis.get_lines() if axis is axes[0] else axis.get_lines()[: len(series)]
        if len(shown) > 1:
            for entry in axis.legend(handles=shown, frameon=False, fontsize="small").get_texts():
                entry.set_parse_math(False)
    axes[-1].set_xlabel(x, parse_math=False)
    axes[0].set_title(title, loc="left", fontsize="medium", parse_math=False)
    return picture


def save(page: Figure, path: Path) -> None:
    """The picture as a whole PNG file or none."""
    with whole(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font lacks is drawn as boxes
        page.savefig(part, format="png")


def window(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """The lowest and highest value that shall be seen, None where there is nothing to see.

    All validation figures and 99 % of the training ones, those of the first `EARLY` part of each run aside, unless
    with them the range is hardly larger.
    """
    late, whole = [], []
    for curve in curves:
        end = max((x for points in (curve.train, curve.valid) for x, _ in points), default=0.0)
        train = [y for x, y in curve.train if x >= EARLY * end]
        late += [float(q) for q in np.quantile(train, (0.005, 0.995))] if train else []
        late += [y for x, y in curve.valid if x >= EARLY * end]
        whole += [y for points in (curve.train, curve.valid) for _, y in points]
    if not late:
        return None
    low, high = min(late), max(late)
    if max(whole) - min(whole) <= 1.5 * (high - low):
        return min(whole), max(whole)
    return low, high


def _draw(axis: Axes, curve: Curve, scale: float, number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    alone = not curve.valid  # of a model without validation figures the training curve is all there is
    if curve.train:
        x, y = np.array(curve.train).T
        width, alpha = (1.2, 0.9) if alone else (0.7, 0.45)
        axis.plot(x / scale, y, color=colour, linewidth=width, alpha=alpha, zorder=2, gid="train")
    if curve.valid:
        x, y = np.array(curve.valid).T
        line = _line(number, "", x / scale, y)
        line.set(zorder=3, gid="valid", markevery=max(1, len(x) // MARKED))
        axis.add_line(line)
        best = int(y.argmin())
        axis.plot(x[best] / scale, y[best], "o", color=colour, markersize=9, fillstyle="none", zorder=4, gid="best")


def _line(number: int, label: str, x: Any = (), y: Any = ()) -> Line2D:
    """The bold line of a run, in a panel or in the legend."""
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    return Line2D(x, y, color=colour, linewidth=1.8, marker=mark, markersize=4.5, label=label)


def _frame(axis: Axes, curves: Sequence[Curve]) -> None:
    """Limits, logarithmic where values span more than a decade, a light grid, and no box."""
    seen = window(curves)
    if seen is not None:
        low, high = seen
        if low > 0 and high > 20 * low:
            axis.set_yscale("log")
            axis.set_ylim(low / 1.1, high * 1.1)
        else:
            room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
            axis.set_ylim(low - room, high + room)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _unit(longest: float) -> tuple[str, float]:
    """The unit in which so many seconds are told, and how many seconds it has."""
    return next((name, size) for name, size in UNITS_OF_TIME if longest >= 2 * size or size == 1.0)


UNITS_OF_TIME = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def labelled(settings: Sequence[dict[str, str]], names: Sequence[str]) -> list[str]:
    """What tells runs apart, in few words: all settings that differ, or as many as are needed, with their names where
    settings do not suffice.

    `settings` are those that differ, as text, without those that a run lacks.
    """

    def told(chosen: Sequence[str]) -> list[str]:
        return [", ".join(f"{name} {setting[name]}" for name in chosen if name in setting) for setting in settings]

    def apart(labels: Sequence[str]) -> int:
        return len(set(labels))

    known = list(dict.fromkeys(itertools.chain.from_iterable(settings)))
    labels = told(known)
    if max(map(len, labels), default=0) > 70:
        chosen: list[str] = []
        for name in known:
            if apart(told([*chosen, name])) > apart(told(chosen)):
                chosen.append(name)
        labels = told(chosen)
    if apart(labels) < len(labels) or not all(labels):
        labels = [f"{name}: {label}" if label else name for name, label in zip(names, labels)]
    if max(map(len, labels)) > 70:
        return [name if len(name) <= 70 else f"…{name[-69:]}" for name in names]
    return labels
