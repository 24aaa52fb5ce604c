"""A step of Deep Image Prior beside its PyTorch peer, in one run: prints a table.

    python experiments/benchmarks/one_image.py
    python experiments/benchmarks/one_image.py --side 256 --features 128 --samples 3

As `latent.py` does it: ours through the engine as the command line sets it up on this machine, the peer
(`peers_one_image.py`, which the tests hold against our model) eagerly with Adam, in the quicker of two memory layouts;
processes of their own, which measure in turn while the other sleeps. Both fit one gray picture and follow the average
of outputs; ours follows their variance as well, and looks for nets that broke down. Figures are medians over the
samples; a ratio is PyTorch's time over ours. Only a quiet machine gives figures worth keeping.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from train_step import SETTLE, Engine, Loop, Worker, cores, machine, median, say  # noqa: E402

ASKED = 1.3


def main() -> None:
    """Start the workers, let them measure in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="pixels of the picture's sides (default 128)")
    parser.add_argument("--features", type=int, default=32, help="of each of the five scales (default 32)")
    parser.add_argument("--samples", type=int, default=5, help="of each side, the median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a sample (default 1.5)")
    parser.add_argument("--worker", choices=("jaxgen", "torch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker)
    workers = {name: Worker(name, __file__) for name in ("jaxgen", "torch")}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    steps, layout = {}, ""
    for name, worker in workers.items():
        layout = worker.ask(do="prepare", side=options.side, features=options.features).get("layout", layout)
        time.sleep(SETTLE)
        steps[name] = max(3, round(options.seconds / worker.ask(do="measure", steps=1)["wall"]))
    for _ in range(options.samples):
        for name, worker in workers.items():
            time.sleep(SETTLE)
            sample = worker.ask(do="measure", steps=steps[name])
            samples[name].append((sample["wall"], sample["cpu"]))
    for worker in workers.values():
        worker.close()
    (ours, ours_cpu), (torch, torch_cpu) = median(samples["jaxgen"]), median(samples["torch"])
    case = f"Deep Image Prior, {options.side}×{options.side}, {options.features} features"
    say(
        f"{machine()}\n\n| case | asked | ratio, wall | ratio, CPU | ours, ms | PyTorch, ms | layout |\n"
        f"|---|---|---|---|---|---|---|\n| {case} | {ASKED:g} | {torch / ours:.2f} | {torch_cpu / ours_cpu:.2f} | "
        f"{1e3 * ours:,.1f} (CPU {1e3 * ours_cpu:,.1f}) | {1e3 * torch:,.1f} (CPU {1e3 * torch_cpu:,.1f}) | {layout} |"
    )


def work(name: str) -> None:
    """A worker's life: answer questions until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # so that nothing else gets between the answers
    side: Any = None
    for line in sys.stdin:
        question, answer = json.loads(line), {}
        if question["do"] == "prepare":
            sides = (question["side"], question["features"])
            side = torch_side(*sides) if name == "torch" else jax_side(*sides)
            answer = {"layout": side.layout} if name == "torch" else {}
        else:
            wall, cpu = side.measure(question["steps"])
            answer = {"wall": wall / question["steps"], "cpu": cpu / question["steps"]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def model(side: int, features: int) -> Any:
    """Ours, of one gray picture."""
    from jaxgen.models.one_image.deep_image_prior import DeepImagePrior

    return DeepImagePrior(shape=(side, side, 1), levels=256, features=(features,) * 5)


def jax_side(side: int, features: int) -> Any:
    """Our steps through the engine."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(1)
    import optax

    from jaxgen.data.dataset import Dataset, Source, Split
    from jaxgen.engine.recipe import Recipe

    split = Split({"image": picture(side)})
    data = Dataset("noise", 256, split, split, None, "noise")
    recipe = Recipe(
        data=Source("noise", lambda: data),
        model=model(side, features),
        optimizer=optax.adam(0.01),
        batch=1,
        steps=sys.maxsize,
        evaluate_every=sys.maxsize,
        save_every=sys.maxsize,
    )
    return Engine(recipe, data)


def torch_side(side: int, features: int) -> Loop:
    """The peer's loop, in the quicker memory layout."""
    import numpy as np
    import peers_one_image
    import torch

    torch.set_num_threads(cores())
    image = torch.from_numpy(picture(side).transpose(0, 3, 1, 2) / np.float32(255))

    def loop(layout: str) -> Loop:
        torch.manual_seed(0)
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        net = peers_one_image.peer(model(side, features)).to(memory_format=form)
        optimizer = torch.optim.Adam(net.parameters(), 0.01, foreach=True)

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = net.loss(image)
            loss.backward()
            optimizer.step()
            return loss.item()

        return Loop(step, layout)

    return min((loop(layout) for layout in ("contiguous", "channels_last")), key=lambda one: one.measure(3)[0])


def picture(side: int) -> Any:
    """A random one, uint8[1,h,w,1]."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (1, side, side, 1)).astype(np.uint8)


if __name__ == "__main__":
    main()
