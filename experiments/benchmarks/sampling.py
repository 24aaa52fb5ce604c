"""Cached sampling beside full passes, and beside PyTorch peers: prints a table, 16 images of 28×28.

    python experiments/benchmarks/sampling.py                    (all models, some twenty minutes on two cores)
    python experiments/benchmarks/sampling.py --only pixelcnn --naive 5

"naive" is `complete_by_full_passes`: the definition, one compiled program too, a full pass of the net for every
sub-pixel. Both sample with the same keys; the table says in how many sub-pixels they differ. PyTorch samples as its
users do, eagerly, a full pass for every pixel, in the quicker memory layout (a single run). Weights are random. As many
virtual devices as cores share the batch, for both of ours. Medians: of `--samples` cached runs, half of them before the
`--naive` naive ones and half after.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
IMAGES, SHAPE = 16, (28, 28, 1)


def models() -> dict[str, tuple[Any, float | None]]:
    """Each model by its name, with the ratio that is asked of it, if one is."""
    from jaxgen.models.pixel.gated import GatedPixelCNN
    from jaxgen.models.pixel.multiscale import MultiScale
    from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
    from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
    from jaxgen.models.pixel.pixelsnail import PixelSNAIL

    binary = {"shape": SHAPE, "levels": 2}
    small = DiagonalBiLSTM(**binary)
    return {
        "PixelCNN 15×64": (PixelCNN(**binary), 320),
        "Diagonal BiLSTM 7×16": (DiagonalBiLSTM(**binary), 1000),
        "Row LSTM 7×16": (RowLSTM(**binary), None),
        "Gated PixelCNN 15×64": (GatedPixelCNN(**binary), None),
        "PixelCNN++ 2×32, 256 levels": (PixelCNNPlusPlus(shape=SHAPE, levels=256, layers=2, features=32), None),
        "PixelSNAIL 2×2×32": (PixelSNAIL(**binary, blocks=2, layers=2, features=32), None),
        "Multi-scale, Diagonal 7×16 twice": (MultiScale(**binary, small=small, large=small), None),
    }


def main() -> None:
    """Time each model and print its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=30, help="cached runs, the median counts (default 30)")
    parser.add_argument("--naive", type=int, default=1, help="naive runs, the median counts (default 1)")
    parser.add_argument("--only", default="", help="models whose name contains this, in any case")
    parser.add_argument("--no-torch", action="store_true", help="leave the PyTorch peers out")
    options = parser.parse_args()
    if options.samples < 1 or options.naive < 0:
        parser.error(f"wanted --samples from 1 and --naive from 0 on, got {options.samples}, {options.naive}")
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(IMAGES)
    say(machine() + "\n\n| model | cached, s | images/s | naive, s | ratio | asked | differing | PyTorch, s | ratio |")
    say("|---|---|---|---|---|---|---|---|---|")
    for name, (model, asked) in models().items():
        if options.only.lower() in name.lower():
            row(name, model, asked, options)


def row(name: str, model: Any, asked: float | None, options: argparse.Namespace) -> None:
    """One row of the table."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxgen.core.capabilities import Incremental
    from jaxgen.engine.devices.mesh import make_mesh, replicated, sharded
    from jaxgen.verification.full_passes import complete_by_full_passes

    mesh = make_mesh()
    variables = random_weights(model)
    variables = jax.device_put(variables, replicated(mesh))
    blank, nothing = jnp.zeros((IMAGES, *model.shape), jnp.uint8), jnp.zeros(model.shape[:2], bool)
    cached = jax.jit(lambda v, k: model.sample(v, k, IMAGES), out_shardings=sharded(mesh))

    def quick(i: int) -> Any:
        return cached(variables, jax.random.key(i))

    before, _ = timed(quick, options.samples - options.samples // 2)
    naive, differing = [], "–"
    if isinstance(model, Incremental) and options.naive:
        full = jax.jit(
            lambda v, k, image: complete_by_full_passes(model, v, k, image, nothing), out_shardings=sharded(mesh)
        )
        blank = jax.device_put(blank, sharded(mesh))
        full = full.lower(variables, jax.random.key(0), blank).compile()
        naive, slow = timed(lambda i: full(variables, jax.random.key(i), blank), options.naive, warm=False)
        drawn = cached(variables, jax.random.key(options.naive - 1))
        differing = str(int((np.asarray(slow) != np.asarray(drawn)).sum()))
    after, _ = timed(quick, options.samples // 2, warm=False)  # a machine changes its pace while the naive runs last
    seconds = statistics.median(before + after)
    naive_text = ratio_text = "–"
    if naive:
        naive_text, ratio_text = f"{statistics.median(naive):.1f}", f"{statistics.median(naive) / seconds:.0f}"
    torch_text = torch_ratio = "–"
    if not options.no_torch and (took := torch_seconds(model)) is not None:
        torch_text, torch_ratio = f"{took:.1f}", f"{took / seconds:.0f}"
    wanted = f"{asked:g}" if asked else "–"
    say(
        f"| {name} | {seconds:.3f} | {IMAGES / seconds:.0f} | {naive_text} | {ratio_text} | {wanted} | {differing} | "
        f"{torch_text} | {torch_ratio} |"
    )


def random_weights(model: Any) -> Any:
    """Fresh weights, moved a little, so that no map is still zero."""
    import jax
    import numpy as np

    image = np.random.default_rng(0).integers(0, model.levels, (IMAGES, *model.shape), np.uint8)
    leaves, tree = jax.tree.flatten(jax.jit(model.init)(jax.random.key(0), {"image": image}))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(tree, [a + 0.02 * jax.random.normal(k, a.shape, a.dtype) for a, k in zip(leaves, keys)])


def timed(run: Callable[[int], Any], samples: int, warm: bool = True) -> tuple[list[float], Any]:
    """Seconds of runs 0, 1, …, and the last result; `warm` where `run` is not compiled yet."""
    import jax

    result, seconds = None, []
    for _ in range(2 if warm else 0):  # the first compiles
        jax.block_until_ready(run(0))
    for i in range(samples):
        start = time.perf_counter()
        result = jax.block_until_ready(run(i))
        seconds.append(time.perf_counter() - start)
    return seconds, result


def torch_seconds(model: Any) -> float | None:
    """One run of the peer's sampler, where the model has a peer."""
    try:
        import torch
    except ImportError:
        return None
    import peers
    import peers_gated

    torch.set_num_threads(cores())
    kind = type(model).__name__
    if kind in peers.LAYERS:
        net = peers.peer(model)
    elif kind == "GatedPixelCNN":
        net = peers_gated.peer(model)
    else:
        return None
    h, w, c = model.shape

    @torch.inference_mode()
    def draw(form: Any, pixels: int) -> float:
        own = net.to(memory_format=form).eval()
        image = torch.zeros(IMAGES, c, h, w)
        start = time.perf_counter()
        for i in range(pixels):
            logit = own(image.contiguous(memory_format=form))[:, i // w, i % w, :, 0]
            image[:, :, i // w, i % w] = torch.bernoulli(torch.sigmoid(logit))
        return time.perf_counter() - start

    forms = torch.contiguous_format, torch.channels_last
    quicker = min(forms, key=lambda form: min(draw(form, 4), draw(form, 4)))
    return draw(quicker, h * w)


def machine() -> str:
    """Processor, cores and versions in one line."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {cores()} cores, jax {version('jax')}, load {os.getloadavg()[0]:.1f}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
