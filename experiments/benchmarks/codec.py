"""How many bits the codec takes for a split, beside the model's likelihood, PNG and lossless WebP: prints a table.

    python experiments/benchmarks/codec.py RUN [--split test] [--num N]

Pictures are written by Pillow, as small as it can: PNG with `optimize` in the narrowest of its modes (1 bit for binary
images), WebP with quality 100 and method 6. "A file each" adds up the files of all images, headers included; "one
picture" is a grid of all of them without margins, which lets both formats learn from one image for the next. The
images are read back from the codec's file and compared.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PIL import Image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a trained run")
    parser.add_argument("--split", default="test", help="split of its data (default test)")
    parser.add_argument("--num", type=int, default=None, help="so many images of it, evenly spaced (default all)")
    parser.add_argument("--batch", type=int, default=500, help="images coded side by side (default 500)")
    options = parser.parse_args()
    from jaxgen import codec
    from jaxgen.cli.inputs import named_images
    from jaxgen.engine.devices import cpu
    from jaxgen.runs.load import load

    cpu.prepare_cpu(1)
    run = load(options.run)
    images = named_images(run, options.split, options.num)
    image, levels, bits = images.image, run.model.levels, images.image.size
    nats = -float(run.log_prob(image, condition=images.condition).astype(np.float64).sum())
    start = time.perf_counter()
    data, figures = codec.compress(run.model, run.variables, image, images.condition, options.batch)
    middle = time.perf_counter()
    back = codec.decompress(run.model, run.variables, data)
    end = time.perf_counter()
    if not np.array_equal(back.image, image):
        raise SystemExit("the images did not come back")
    whole = tiled(image)
    rows = [
        ("raw, as many bits as the levels need", figures["raw_bytes"]),
        ("PNG, a file each", sum(len(png(x, levels)) for x in image)),
        ("PNG, one picture", len(png(whole, levels))),
        ("WebP lossless, a file each", sum(len(webp(x)) for x in image)),
        ("WebP lossless, one picture", len(webp(whole))),
        ("likelihood by full passes", nats / math.log(2) / 8),
        ("codec, stream", figures["stream_bytes"]),
        ("codec, file", figures["bytes"]),
    ]
    lines = [
        f"{len(image):,} {options.split} images {'×'.join(map(str, run.model.shape))} of {levels} levels, "
        f"{type(run.model).__name__} at step {run.step:,}; written in {middle - start:.0f} s, read in "
        f"{end - middle:.0f} s",
        "",
        "| how | bytes | bits/dim | of the likelihood |",
        "|---|---|---|---|",
    ]
    likelihood = nats / math.log(2)
    lines += [f"| {how} | {size:,.0f} | {8 * size / bits:.4f} | {8 * size / likelihood:.4f} |" for how, size in rows]
    sys.stdout.write("\n".join(lines) + "\n")


def tiled(image: np.ndarray) -> np.ndarray:
    """All images in one picture [H,W,c], row by row, nearly square; what is left over is zero."""
    n, h, w, c = image.shape
    columns = math.ceil(math.sqrt(n * h / w))
    full = np.zeros((-(-n // columns) * columns, h, w, c), np.uint8)
    full[:n] = image
    return full.reshape(-1, columns, h, w, c).swapaxes(1, 2).reshape(-1, columns * w, c)


def png(image: np.ndarray, levels: int) -> bytes:
    """The smallest of the PNG files that Pillow writes of one image [h,w,c]."""
    page = picture(image)
    forms = [page]
    if page.mode == "L" and levels == 2:
        forms.append(Image.fromarray(image[..., 0].astype(bool)))
    elif page.mode == "L" and levels <= 16:  # a palette of so many colours has 2 or 4 bits in the file
        narrow = page.convert("P")
        narrow.putpalette([value for value in range(levels) for _ in range(3)])
        forms.append(narrow)
    return min((saved(lambda file, x=x: x.save(file, "PNG", optimize=True)) for x in forms), key=len)


def webp(image: np.ndarray) -> bytes:
    """The lossless WebP file of one image [h,w,c]."""
    page = picture(image).convert("RGB")
    return saved(lambda file: page.save(file, "WEBP", lossless=True, quality=100, method=6))


def picture(image: np.ndarray) -> Image.Image:
    """An image [h,w,c] with its values as they are."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def saved(save: Callable[[Any], None]) -> bytes:
    """What a function writes to a file."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


if __name__ == "__main__":
    main()
