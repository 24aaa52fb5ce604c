"""What a bit of the image is worth: error and information of the bottleneck against β (1612.00410, fig. 1a and 2).

    python experiments/studies/vib_beta.py --data PATH
    python experiments/studies/vib_beta.py --data PATH --betas 1e-9 1e-6 1e-3 1 --epochs 25

Trains `vib_mnist` once for each β, a run folder each, and writes a table, `vib_beta.json` and the picture
`vib_beta.png` beside them. The same command again goes on where it stopped: finished runs are not trained again. Flags
that are not listed here are the recipe's knobs. All figures are of the test set, with the checkpoint that is best on
validation data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
BETAS = (1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FIGURES = {
    "error": "error, % (averaged draws)",
    "error_1": "error, % (one draw)",
    "bits_zx": "I(Z;X) ≤, bits",
    "bits_zy": "I(Z;Y) ≥, bits",
}


def main(args: Sequence[str] | None = None) -> int:
    """Train, tell, draw; the exit code of the first training that did not end, or 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, help="MNIST with its labels, as `jaxgen train --data` takes it")
    parser.add_argument("--betas", type=float, nargs="+", default=BETAS, help="above 0 (default 1e-9 … 1)")
    parser.add_argument("--epochs", type=int, default=10, help="of each run (default 10)")
    parser.add_argument("--runs", type=Path, default=Path("runs/vib_beta"), help="where everything goes")
    options, knobs = parser.parse_known_args(args)
    if min(options.betas) <= 0:
        parser.error(f"--betas are above 0, as the axis is logarithmic, got {min(options.betas):g}")
    from jaxgen.cli.main import main as jaxgen
    from jaxgen.core.files import write_json
    from jaxgen.pictures.curves import save

    options.runs.mkdir(parents=True, exist_ok=True)
    rows = []
    for beta in sorted({*options.betas}):
        folder = options.runs / f"beta-{beta:g}"
        settings = ["--data", options.data, "--beta", f"{beta:g}", "--epochs", str(options.epochs), *knobs]
        code = jaxgen(["train", str(ROOT / "experiments/latent/vib_mnist.py"), *settings, "--run", str(folder)])
        if code:
            return code
        metrics = json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"]
        rows.append({"beta": beta, **{name: metrics[f"test/{name}"] for name in FIGURES}})
        write_json(options.runs / "vib_beta.json", {"epochs": options.epochs, "rows": rows})
    sys.stdout.write(table(rows))
    save(picture(rows, f"VIB, {options.epochs} epochs, test images"), options.runs / "vib_beta.png")
    return 0


def table(rows: Sequence[dict[str, float]]) -> str:
    """A line for each β, in Markdown."""
    lines = ["| β | " + " | ".join(FIGURES.values()) + " |", "|---" * (1 + len(FIGURES)) + "|"]
    lines += [f"| {row['beta']:g} | " + " | ".join(f"{row[name]:.2f}" for name in FIGURES) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[dict[str, float]], title: str) -> Any:
    """Error above, information below, both against β on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    from jaxgen.pictures.curves import COLOURS, MARKS

    figure = Figure(figsize=(7.2, 7.2), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 1, sharex=True)
    beta = [row["beta"] for row in rows]
    panels = ("error", "error_1"), ("bits_zx", "bits_zy")
    for axis, names in zip(axes, panels):
        for number, name in enumerate(names):
            values = [row[name] for row in rows]
            axis.plot(beta, values, color=COLOURS[number], marker=MARKS[number], label=FIGURES[name])
        axis.legend(frameon=False)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_title(title, loc="left", fontsize="medium")
    axes[0].set_ylabel("error, %")
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[1].set_ylabel("bits")
    axes[1].set_yscale("symlog", linthresh=1.0)  # of a code that says nothing the bits are 0
    axes[1].set_ylim(min(-0.3, *(1.3 * row["bits_zy"] for row in rows)), 1.3 * max(row["bits_zx"] for row in rows))
    for axis in axes:
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[1].set_xlabel("β")
    axes[1].set_xscale("log")
    return figure


if __name__ == "__main__":
    sys.exit(main())
