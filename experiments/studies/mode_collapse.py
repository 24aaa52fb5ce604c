"""Whether the order of the data matters for mode collapse: shuffled epochs against drawing with replacement, for each
adversarial loss, on a ring of 8 and a grid of 25 Gaussians in the plane.

    python experiments/studies/mode_collapse.py
    python experiments/studies/mode_collapse.py --data ring --losses hinge wgan --seeds 20 --steps 20000
    python experiments/studies/mode_collapse.py --data stacked_mnist --digits idx:DIR --judge runs/classifier_mnist \
        --losses non-saturating --seeds 5 --steps 5000 --width 16 --lr 2e-4 --out runs/mode_collapse_stacked

Everything but loss and order is the same for all: perceptrons of two hidden layers, Adam, one step of the critic for
one of the generator, no hold on the critic but for the two-sided gradient penalty that a WGAN cannot be without. Seeds
change weights, noise and order; the points are the same. All seeds of a cell are one program: the library's own
training step under `vmap`, which gives what each seed alone would, up to rounding. StackedMNIST, a thousand modes of
three digits each, is trained on by `stacked_mnist`, a DCGAN of that width, one run after the other; the modes are those
that a classifier reads, and a share of good samples is not told.

Writes `mode_collapse.json`, a table and `mode_collapse.png`: means and standard errors over seeds of the modes covered,
the share of good points and the KL of their modes to equal shares (`jaxgen.metrics.modes`), of as many points as
`--num`. Beside them stands the floor: the same of fresh points of the data. Every finished cell is a file of its own:
the same command again goes on where it stopped.

What follows from it: the last column is the difference of the two orders in modes covered with its standard error, and
the last line counts those beyond three of them. That is a statement on these nets, this number of points and steps, and
no tuning: it ranks losses only so far, says nothing of images, and a difference within its error is no proof that the
order does not matter.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
STACKED = "stacked_mnist"
DATA = ("ring", "grid", STACKED)
ORDERS = ("epochs", "replacement")
LOSSES = ("minimax", "non-saturating", "least-squares", "hinge", "wgan", "gan-qp-l1", "gan-qp-l2", "relativistic")
PENALTY: Mapping[str, tuple[str, float]] = {"wgan": ("two-sided", 1.0)}
"""What holds the critic beside its loss, and how much of it."""

STD, POINTS, CHUNK = 0.02, 2000, 500
"""Of a Gaussian; how many points are trained on; steps in one dispatch."""


def main(args: Sequence[str] | None = None) -> int:
    """Train, tell, draw; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA[:2], help="which (default: ring and grid)")
    parser.add_argument("--digits", help="grey digits with labels, of which stacks are made")
    parser.add_argument("--judge", help="the run of a classifier of these digits, which reads stacks")
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=ORDERS, help="which (default: both)")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES, help="which (default: all)")
    parser.add_argument("--seeds", type=int, default=8, help="of each cell (default 8)")
    parser.add_argument("--steps", type=int, default=10_000, help="of each training (default 10000)")
    parser.add_argument("--batch", type=int, default=128, help="points in a step (default 128)")
    parser.add_argument("--width", type=int, default=64, help="of the hidden layers (default 64)")
    parser.add_argument("--latent", type=int, default=16, help="numbers of z (default 16)")
    parser.add_argument("--lr", type=float, default=1e-3, help="Adam's step size (default 1e-3)")
    parser.add_argument("--num", type=int, default=2500, help="points that are judged (default 2500)")
    parser.add_argument("--out", type=Path, default=Path("runs/mode_collapse"), help="where everything goes")
    options = parser.parse_args(args)
    if options.seeds < 2 or min(options.steps, options.batch, options.width, options.latent, options.num) < 1:
        parser.error("--seeds are at least 2, and --steps, --batch, --width, --latent and --num at least 1")
    from experiments.studies.gan_losses import Stopped
    from jaxgen.core.errors import UsageError
    from jaxgen.engine.devices.cpu import prepare_cpu
    from jaxgen.pictures.curves import save

    prepare_cpu(options.seeds)
    try:
        rows, floor = study(options)
    except UsageError as error:
        parser.error(str(error))
    except Stopped as stop:
        return stop.code
    sys.stdout.write(table(rows, floor))
    save(picture(rows, floor, options.seeds), options.out / "mode_collapse.png")
    return 0


def study(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """The figures of each cell, and the floor of each data set. Raises `UsageError` where the folder holds a study of
    other settings."""
    from experiments.studies import stacked_cells
    from experiments.studies.resumed import begin, check
    from jaxgen.core.files import write_json

    settings = {name: getattr(options, name) for name in ("seeds", "steps", "batch", "width", "latent", "lr", "num")}
    cells = options.out / "cells"
    check(options.out, settings)
    if STACKED in options.data:
        stacked_cells.check(options)
    begin(options.out, settings)
    cells.mkdir(exist_ok=True)
    floor = {
        name: stacked_cells.floor(options) if name == STACKED else floor_of(name, options.num) for name in options.data
    }
    rows = []
    for name in options.data:
        for loss in options.losses:
            for order in options.orders:
                path = cells / f"{name}-{loss}-{order}.json"
                if not path.exists():
                    began = time.perf_counter()
                    stacked = name == STACKED
                    figures = (
                        stacked_cells.trained(loss, order, options) if stacked else trained(name, loss, order, options)
                    )
                    seconds = round(time.perf_counter() - began, 1)
                    write_json(path, {"seeds": figures, "seconds": seconds})
                    sys.stderr.write(f"{name}, {loss}, {order}: {seconds} s\n")
                figures = json.loads(path.read_text(encoding="utf-8"))["seeds"]
                rows.append({"data": name, "loss": loss, "order": order, **summed(figures), "seeds": figures})
                write_json(options.out / "mode_collapse.json", {"settings": settings, "floor": floor, "rows": rows})
    return rows, floor


def trained(name: str, loss: str, order: str, options: argparse.Namespace) -> list[dict[str, float | None]]:
    """The figures of each seed of a cell, all trained at once. `kl` is None where no point is good."""
    import jax

    from jaxgen.metrics.modes import point_modes

    recipe, centres = recipe_of(name, loss, order, options)
    state = fitted(recipe, range(options.seeds))
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 2))(np.arange(options.seeds))
    drawn = jax.jit(jax.vmap(lambda variables, key: recipe.model.points(variables, key, options.num)))
    figures = [point_modes(np.nan_to_num(x, nan=1e9), centres, STD) for x in np.asarray(drawn(state.variables, keys))]
    return [{**f, "kl": f["kl"] if np.isfinite(f["kl"]) else None} for f in figures]


def fitted(recipe: Any, seeds: Sequence[int]) -> Any:
    """The last states of the recipe's training with these seeds, side by side: one program for all of them."""
    x = recipe.data.load().train["x"]
    same = dataclasses.replace(recipe, data=data_of(DATA[0])[0], replacement=False, steps=1)
    begin, steps = programs(same, len(seeds))
    state = begin(np.asarray(seeds, np.uint32), {"x": x[: recipe.batch]})
    rows = orders(tuple(seeds), recipe.steps, recipe.batch, len(x), recipe.replacement)
    for start in range(0, recipe.steps, CHUNK):
        state = steps(state, x, rows[:, start : start + CHUNK])
    return state


@functools.cache
def programs(recipe: Any, seeds: int) -> tuple[Any, Any]:
    """How the states of so many seeds begin, with the first points, and some steps of them over the rows that each
    sees: compiled once for all data and orders, by as many devices as can have equal shares of the seeds."""
    import jax

    from jaxgen.engine.devices.cpu import cpu_devices
    from jaxgen.engine.devices.mesh import make_mesh, replicated, sharded
    from jaxgen.engine.state import init_state, key_named
    from jaxgen.engine.step import make_step

    def begin(seed: Any, batch: Any) -> Any:
        root = jax.random.key(seed)
        state = init_state(recipe, batch, start=recipe.model.init(key_named(root, "init"), batch))
        return dataclasses.replace(state, key=key_named(root, "train"))

    step = make_step(recipe)

    def steps(state: Any, x: Any, rows: Any) -> Any:
        return jax.lax.scan(lambda state, row: (step(state, {"x": x[row]})[0], None), state, rows)[0]

    mesh = make_mesh(jax.devices()[: cpu_devices(seeds, len(jax.devices()))])
    each, whole = sharded(mesh), replicated(mesh)
    started = jax.jit(jax.vmap(begin, in_axes=(0, None)), in_shardings=(each, whole), out_shardings=each)
    many = jax.vmap(steps, in_axes=(0, None, 0))
    return started, jax.jit(many, donate_argnums=0, in_shardings=(each, whole, each), out_shardings=each)


@functools.lru_cache(maxsize=2)
def orders(seeds: Sequence[int], steps: int, batch: int, n: int, replacement: bool) -> np.ndarray:
    """The points int32[seeds,steps,batch] that each seed's training sees, as the engine would draw them."""
    from jaxgen.engine.feed import indices

    return np.array([[indices(seed, step, batch, n, replacement) for step in range(steps)] for seed in seeds])


def recipe_of(name: str, loss: str, order: str, options: argparse.Namespace) -> tuple[Any, np.ndarray]:
    """How a cell trains, and the centres of its data."""
    from jaxgen import Recipe

    data, centres = data_of(name)
    recipe = Recipe(
        data=data,
        model=point_gan()(loss=loss, width=options.width, latent=options.latent),
        optimizer=adam(options.lr),
        batch=options.batch,
        steps=options.steps,
        replacement=order == "replacement",
    )
    return recipe, centres


@functools.cache
def adam(lr: float) -> Any:
    """One object for each step size: programs are known by it."""
    import optax

    return optax.adam(lr, b1=0.5)


@functools.cache
def data_of(name: str) -> tuple[Any, np.ndarray]:
    """The points to train on, and their centres."""
    from jaxgen.data.synthetic import gaussian_grid, gaussian_ring, grid_centres, ring_centres

    if name == "ring":
        return gaussian_ring(8, POINTS, STD), ring_centres(8, 1.0)
    return gaussian_grid(5, POINTS, STD), grid_centres(5, 1.0)


def floor_of(name: str, num: int) -> dict[str, float]:
    """The figures of so many fresh points of the data, each of a mode drawn anew."""
    from jaxgen.metrics.modes import point_modes

    centres, draw = data_of(name)[1], np.random.default_rng(1)
    x = centres[draw.integers(len(centres), size=num)] + STD * draw.standard_normal((num, 2))
    return point_modes(x, centres, STD)


@functools.cache
def point_gan() -> Any:
    """The model: a GAN of points. Made when it is first wanted, since it needs jax."""
    import jax
    import jax.numpy as jnp

    from jaxgen.core.model import Aux, Model, Objective
    from jaxgen.maths.adversarial import adversarial
    from jaxgen.maths.penalties import penalty
    from jaxgen.nn.perceptron import Perceptron

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class PointGAN(Model):
        """z ~ N(0, I) to points in the plane, against a critic of points."""

        loss: str
        width: int
        latent: int

        conditioned_on = ()

        def net(self, name: str) -> Any:
            return Perceptron((self.width, self.width), ((name, {"generator": 2, "critic": 1}[name]),))

        def init(self, key: Any, batch: Any) -> Any:
            inputs = {"generator": jnp.zeros((1, self.latent)), "critic": jnp.zeros((1, 2))}
            keys = dict(zip(inputs, jax.random.split(key)))
            return {"params": {name: self.net(name).init(keys[name], x)["params"] for name, x in inputs.items()}}

        def objectives(self) -> Any:
            return (
                Objective("critic", self.critic_loss, trains=("critic",)),
                Objective("generator", self.generator_loss, trains=("generator",)),
            )

        def points(self, variables: Any, key: Any, num: int) -> Any:
            z = jax.random.normal(key, (num, self.latent))
            return self.net("generator").apply({"params": variables["params"]["generator"]}, z)[0]

        def scores(self, variables: Any, x: Any) -> Any:
            return self.net("critic").apply({"params": variables["params"]["critic"]}, x)[0][:, 0]

        def critic_loss(self, variables: Any, batch: Any, key: Any) -> Any:
            draw_key, penalty_key = jax.random.split(key)
            real = batch["x"]
            fake = jax.lax.stop_gradient(self.points(variables, draw_key, len(real)))
            scores = [self.scores(variables, x) for x in (real, fake)]
            loss = adversarial(self.loss).critic_terms(*scores, real, fake)
            if self.loss in PENALTY:
                kind, weight = PENALTY[self.loss]
                critic = functools.partial(self.scores, variables)
                loss += weight * penalty(kind)(critic, real, fake, penalty_key)
            return loss.mean(), Aux({})

        def generator_loss(self, variables: Any, batch: Any, key: Any) -> Any:
            fake = self.points(variables, key, len(batch["x"]))
            scores = [self.scores(variables, x) for x in (batch["x"], fake)]
            return adversarial(self.loss).generator(*scores).mean(), Aux({})

    return PointGAN


def summed(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over seeds of each figure, of "kl" over those seeds that have one."""
    row: dict[str, Any] = {}
    for name in ("modes", "good", "kl"):
        values = [f[name] for f in figures if f[name] is not None]
        row[name] = float(np.mean(values)) if values else None
        row[f"{name}_stderr"] = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return row


def difference(rows: Sequence[Mapping[str, Any]], name: str, loss: str) -> tuple[float, float] | None:
    """Modes covered by epochs less those by replacement, and the standard error of that; None without both."""
    both = {row["order"]: row for row in rows if (row["data"], row["loss"]) == (name, loss)}
    if {*both} != {*ORDERS}:
        return None
    first, second = (both[order] for order in ORDERS)
    return first["modes"] - second["modes"], float(np.hypot(first["modes_stderr"], second["modes_stderr"]))


def table(rows: Sequence[Mapping[str, Any]], floor: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each cell, in Markdown, and what can be said of the orders."""

    def told(row: Mapping[str, Any], name: str, digits: int, scale: float = 1.0) -> str:
        if row[name] is None:
            return "" if name == "good" else "none good"
        spread = row.get(f"{name}_stderr")
        return f"{scale * row[name]:.{digits}f}" + ("" if spread is None else f" ± {scale * spread:.{digits}f}")

    lines = ["| data | loss | order | modes | good, % | KL, nats | epochs − replacement, modes |", "|---" * 7 + "|"]
    beyond, compared = 0, 0
    for name, figures in floor.items():
        lines.append(
            f"| {name} | the data | | {told(figures, 'modes', 1)} | {told(figures, 'good', 1, 100.0)} | "
            f"{told(figures, 'kl', 3)} | |"
        )
        for row in (row for row in rows if row["data"] == name):
            gap = difference(rows, name, row["loss"]) if row["order"] == ORDERS[-1] else None
            if gap is not None:
                compared += 1
                beyond += abs(gap[0]) > 3 * gap[1]
            lines.append(
                f"| {name} | {row['loss']} | {row['order']} | {told(row, 'modes', 1)} | "
                f"{told(row, 'good', 1, 100.0)} | {told(row, 'kl', 3)} | "
                + ("|" if gap is None else f"{gap[0]:+.1f} ± {gap[1]:.1f} |")
            )
    said = f"{beyond} of {compared} differences between the orders exceed three standard errors." if compared else ""
    return "\n".join(lines) + f"\n\n{said}\n"


def picture(rows: Sequence[Mapping[str, Any]], floor: Mapping[str, Mapping[str, float]], seeds: int) -> Any:
    """Modes covered by each loss under each order, a panel for each data set; each seed is a faint mark."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from jaxgen.pictures.curves import COLOURS

    figure = Figure(figsize=(8.0, 1.0 + 3.4 * len(floor)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    for axis, name in zip(figure.subplots(len(floor), 1, squeeze=False)[:, 0], floor):
        own = [row for row in rows if row["data"] == name]
        losses = list(dict.fromkeys(row["loss"] for row in own))
        for row in own:
            number = ORDERS.index(row["order"])
            at, colour = losses.index(row["loss"]) + 0.24 * (number - 0.5), COLOURS[number]
            each = [figures["modes"] for figures in row["seeds"]]
            axis.plot(np.full(len(each), at), each, "o", color=colour, markersize=4, alpha=0.3, markeredgewidth=0)
            label = row["order"] if row["loss"] == losses[0] else None
            axis.errorbar(at, row["modes"], row["modes_stderr"], fmt="_", color=colour, capsize=4, label=label)
        axis.axhline(floor[name]["modes"], color="#888888", linewidth=0.8, zorder=0)
        axis.set_xticks(range(len(losses)), losses, rotation=20)
        axis.set_xlim(-0.5, len(losses) - 0.5)
        axis.set_ylim(bottom=0)
        axis.set_ylabel("modes covered")
        axis.set_title(f"{name}: {seeds} seeds, mean and standard error", loc="left", fontsize="medium")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        axis.legend(frameon=False, fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
