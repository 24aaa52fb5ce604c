"""What a memory is made of: how well a generator keeps N images, by its width, the numbers of a code, and whether codes
are learned; and what lies between the codes of two images.

    python experiments/studies/memoriser.py --data PATH
    python experiments/studies/memoriser.py --data PATH --widths 16 32 --latents 2 8 32 128 --images 64 --net dense

Trains `memoriser` for each width, each number of z and each kind of codes, a run folder each; and, at the largest code,
on two controls that have lost what makes them images: their pixels in another order, the same for all, and noise of
their mean and standard deviation. Writes `memoriser.json`, a table and `memoriser.png`: PSNR of the images that are
kept, beside that of their mean image, which is what knowing nothing comes to; and of each run the images halfway
between the codes of two: how near the nearest kept image is (dB), and how often it is one of the two. `between.png`
shows ways between kept images by the last run of each kind of codes, over the kept image nearest to each step.

All runs have the same steps, so that a row says what is kept by then, not what could be. Flags that are not listed here
are the recipe's knobs. The same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CODES = ("fixed", "learned")
CONTENTS = ("images", "shuffled", "noise")
ROWS, STEPS = 4, 9
"""Ways in the picture, and images of each."""


def main(args: Sequence[str] | None = None) -> int:
    """Train, tell, draw; the exit code of the first training that was stopped, or 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, help="images, as `jaxgen train --data` takes them")
    parser.add_argument("--widths", nargs="+", type=int, default=(8, 16, 32), help="of the net (default 8 16 32)")
    parser.add_argument("--latents", nargs="+", type=int, default=(4, 16, 64), help="numbers of z (default 4 16 64)")
    parser.add_argument("--codes", nargs="+", choices=CODES, default=CODES, help="which (default: both)")
    parser.add_argument("--contents", nargs="+", choices=CONTENTS, default=CONTENTS, help="which (default: all)")
    parser.add_argument("--images", type=int, default=256, help="that are kept (default 256)")
    parser.add_argument("--steps", type=int, default=5000, help="of each run (default 5000)")
    parser.add_argument("--out", type=Path, default=Path("runs/memoriser_study"), help="where everything goes")
    options, knobs = parser.parse_known_args(args)
    if min(*options.widths, *options.latents, options.steps) < 1:
        parser.error("--widths, --latents and --steps are at least 1")
    from experiments.studies.gan_losses import Stopped
    from jaxgen.core.errors import UsageError
    from jaxgen.pictures.curves import save
    from jaxgen.pictures.grid import save_png

    try:
        rows = study(options, knobs)
    except UsageError as error:
        parser.error(str(error))
    except Stopped as stop:
        return stop.code
    sys.stdout.write(table(rows))
    save(picture(rows, f"{options.images} images, {options.steps:,} steps"), options.out / "memoriser.png")
    save_png(ways(options, rows), options.out / "between.png")
    return 0


def study(options: argparse.Namespace, knobs: Sequence[str]) -> list[dict[str, Any]]:
    """The figures of each cell. Raises `UsageError` where the folder holds a study of other settings."""
    from experiments.studies.resumed import begin, check
    from jaxgen.core.files import write_json

    settings = {"data": options.data, "images": options.images, "steps": options.steps, "knobs": list(knobs)}
    check(options.out, settings)
    begin(options.out, settings)
    rows = []
    for content, codes, width, latent in cells(options):
        rows.append(cell(options, knobs, content, codes, width, latent))
        write_json(options.out / "memoriser.json", {"settings": settings, "rows": rows})
    return rows


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """Content, codes, width and latent of each run: controls at the largest latent alone."""
    for content in options.contents:
        for codes in options.codes:
            for width in options.widths:
                for latent in options.latents if content == "images" else (max(options.latents),):
                    yield content, codes, width, latent


def cell(
    options: argparse.Namespace, knobs: Sequence[str], content: str, codes: str, width: int, latent: int
) -> dict[str, Any]:
    """One run and its figures. What is done is read from its file."""
    row: dict[str, Any] = {"content": content, "codes": codes, "width": width, "latent": latent}
    folder = folder_of(options, row)
    done = folder / "figures.json"
    if not done.exists():
        from experiments.studies.gan_losses import Stopped
        from jaxgen.cli.commands import train
        from jaxgen.core.files import write_json
        from jaxgen.data.memorised import mean_psnr
        from jaxgen.runs.load import load

        flags = ["--data", options.data, "--images", str(options.images), "--content", content, "--codes", codes]
        flags += ["--features", str(width), "--latent", str(latent), "--steps", str(options.steps)]
        flags += ["--evaluate-every", str(options.steps), *knobs, "--run", str(folder)]
        began = time.perf_counter()
        code = train.run([str(ROOT / "experiments/one_image/memoriser.py"), *flags])
        if code:
            raise Stopped(code)
        run = load(folder)
        told = json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"]
        figures = {name: told[f"test/{name}"] for name in ("psnr", "exact")}
        figures |= {"mean_psnr": mean_psnr(run.dataset.train.image, run.model.levels), **halfway(run)}
        write_json(done, {**figures, "seconds": round(time.perf_counter() - began, 1)})
        sys.stderr.write(f"{folder.name}: {figures}\n")
    return row | json.loads(done.read_text(encoding="utf-8"))


def folder_of(options: argparse.Namespace, row: Mapping[str, Any]) -> Path:
    """The folder of a cell's run."""
    place: Path = options.out / f"{row['content']}-{row['codes']}-{row['width']}-{row['latent']}"
    return place


def halfway(run: Any) -> dict[str, float]:
    """Of the image halfway between each kept one's code and the next one's: "nearest_psnr", dB from the nearest kept
    image, and "ends", the share of those that are one of the two."""
    from jaxgen.explore.latent import decoded, interpolate

    kept, codes = run.dataset.train.image, codes_of(run)
    between = decoded(run.decode, interpolate(run.model, codes, np.roll(codes, -1, axis=0), 3), None)[:, 1]
    place, mse = nearest_kept(between, kept, run.model.levels)
    own = np.arange(len(kept))
    ends = (place == own) | (place == np.roll(own, -1))
    return {"nearest_psnr": float(-10 * np.log10(np.maximum(mse, 1e-10)).mean()), "ends": float(ends.mean())}


def codes_of(run: Any) -> np.ndarray:
    """The codes of all kept images, by their numbers."""
    return np.asarray(run.model.codes_of(run.variables, np.arange(run.model.images)))


def nearest_kept(image: np.ndarray, kept: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each image the number of the nearest kept one, and the mean squared error from it."""
    from jaxgen.explore.features import nearest

    rows = [x.reshape(len(x), -1).astype(np.float32) / (levels - 1) for x in (image, kept)]
    place, distance = nearest(*rows, 1)
    return place[:, 0], distance[:, 0].astype(np.float64) ** 2 / rows[0].shape[1]


def ways(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Ways between kept images and, under each step, the kept image nearest to it: of the last run of either kind of
    codes on images."""
    from jaxgen.explore.latent import decoded, interpolate
    from jaxgen.pictures.grid import displayed
    from jaxgen.pictures.strips import strips
    from jaxgen.runs.load import load

    content, pictures, names = options.contents[0], [], []
    for codes in options.codes:
        row = [row for row in rows if (row["content"], row["codes"]) == (content, codes)][-1]
        run = load(folder_of(options, row))
        number = np.linspace(0, options.images - 1, ROWS + 1).astype(int)
        z = codes_of(run)[number]
        image = decoded(run.decode, interpolate(run.model, z[:-1], z[1:], STEPS), None)
        kept = run.dataset.train.image
        place, _ = nearest_kept(image.reshape(-1, *image.shape[2:]), kept, run.model.levels)
        both = np.stack([image, kept[place].reshape(image.shape)], axis=1).reshape(-1, STEPS, *image.shape[2:])
        pictures.append(displayed(both, run.model.levels))
        names += [f"{codes} codes", "nearest kept"] * ROWS
    heads = [f"{t:.2g}" for t in np.linspace(0.0, 1.0, STEPS)]
    title = f"Between the codes of two kept {content}: width {row['width']}, {row['latent']} numbers of a code"
    return strips([(np.concatenate(pictures), heads)], names, title)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each run, in Markdown."""
    head = ["kept", "codes", "width", "numbers of z", "PSNR, dB", "of the mean image", "exact, %"]
    head += ["halfway: dB from the nearest", "one of the two, %"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        lines.append(
            f"| {row['content']} | {row['codes']} | {row['width']} | {row['latent']} | {row['psnr']:.2f} | "
            f"{row['mean_psnr']:.2f} | {row['exact']:.1f} | {row['nearest_psnr']:.1f} | {100 * row['ends']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[Mapping[str, Any]], title: str) -> Any:
    """PSNR by the numbers of a code, a line for each width, a panel for each kind of codes; and a panel of the controls
    by width."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from jaxgen.pictures.curves import COLOURS, MARKS

    kinds, widths = (list(dict.fromkeys(row[name] for row in rows)) for name in ("codes", "width"))
    contents = list(dict.fromkeys(row["content"] for row in rows))
    most = max(row["latent"] for row in rows)
    figure = Figure(figsize=(3.6 * (len(kinds) + 1), 3.8), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(kinds) + 1, sharey=True, squeeze=False)[0]
    for axis, codes in zip(axes, kinds):
        own = [row for row in rows if (row["content"], row["codes"]) == (contents[0], codes)]
        for number, width in enumerate(widths):
            line = [(row["latent"], row["psnr"]) for row in own if row["width"] == width]
            style = dict(color=COLOURS[number], marker=MARKS[number], label=f"width {width}")
            axis.plot(*zip(*line), **style)
        ticks = sorted({row["latent"] for row in own})
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, ticks)
        axis.set_xlabel("numbers of a code")
        axis.set_title(f"{codes} codes", loc="left", fontsize="medium")
        axis.axhline(own[0]["mean_psnr"], color="#888888", linewidth=0.8, linestyle="--", label="the mean image")
        axis.legend(frameon=False, fontsize="small")
    for number, content in enumerate(contents):
        own = [row for row in rows if (row["content"], row["codes"], row["latent"]) == (content, kinds[0], most)]
        style = dict(color=COLOURS[number], marker=MARKS[number], label=content)
        axes[-1].plot([row["width"] for row in own], [row["psnr"] for row in own], **style)
        axes[-1].axhline(own[0]["mean_psnr"], color=COLOURS[number], linewidth=0.8, linestyle="--")
    axes[-1].set_xscale("log", base=2)
    axes[-1].set_xticks(widths, widths)
    axes[-1].set_xlabel("width of the net")
    axes[-1].set_title(f"controls, {kinds[0]} codes of {most} (dashed: mean)", loc="left", fontsize="medium")
    axes[-1].legend(frameon=False, fontsize="small")
    axes[0].set_ylabel("PSNR of what is kept, dB")
    for axis in axes:
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return figure


if __name__ == "__main__":
    sys.exit(main())
