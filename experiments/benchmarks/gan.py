"""Train steps of GANs beside their PyTorch peers, and seeds trained together beside seeds in turn: prints two tables.

    python experiments/benchmarks/gan.py                        (all cases, some ten minutes on two cores)
    python experiments/benchmarks/gan.py --only ring --samples 9

Steps as `latent.py` and `train_step.py` take them: ours through the engine as the command line sets it up on this
machine, the peers (`peers_gan.py`, which the tests hold against our models) eagerly with Adam in the quicker of two
memory layouts; processes of their own, which measure in turn while the others sleep; both sides may use every core.
Rows give medians over the samples, wall and CPU time. A ratio is PyTorch's time over ours. The nets are those of the
recipes `gan_mnist --preset wgan-gp` and `dcgan`; a row of the first is five steps of the critic and one of the
generator.

The ring is the study `mode_collapse.py`: eight seeds by its one program, beside eight runs in turn, each by the same
program for a single seed, and each as a run of the engine. Only a quiet machine gives figures worth keeping.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from beside_torch import engine, flags, quicker, table, work  # noqa: E402
from turns import Engine, Loop, cores, machine, say  # noqa: E402

IMAGES, SEEDS, CHUNK = 1000, 8, 500


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: a model, its batch and Adam, and how many of the critic's steps one of the row is."""

    name: str
    model: Callable[[], Any]
    batch: int
    asked: float
    lr: float
    b1: float
    b2: float
    critic_steps: int = 1


def _wgan_gp() -> Any:
    from jaxgen.models.gan.base import GAN

    return GAN(shape=(28, 28, 1), levels=256, features=32, latent=64, loss="wgan", penalty="two-sided", critic_steps=5)


def _dcgan() -> Any:
    from jaxgen.models.gan.dcgan import DCGAN

    return DCGAN(shape=(28, 28, 1), levels=256)


CASES = (
    Case("WGAN-GP 28×28×1, 32 features, 5 critic + 1 generator, b64", _wgan_gp, 64, 1.5, 1e-4, 0.5, 0.9, 5),
    Case("DCGAN 28×28×1, 64 features, b128", _dcgan, 128, 1.0, 2e-4, 0.5, 0.999),
)
RING = f"ring of 8, {SEEDS} seeds"


def main() -> None:
    """Start the workers, let them measure in turn, print the tables."""
    parser = flags(__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this, in any case")
    options = parser.parse_args()
    known = {case.name: case for case in CASES}
    if options.worker:
        side = torch_side if options.worker == "torch" else jax_side
        return work(lambda question: side(known[question["case"]]))
    cases = [case for case in CASES if options.only.lower() in case.name.lower()]
    ring = options.only.lower() in RING
    if not cases and not ring:
        parser.error(f"no case contains {options.only!r}: {', '.join((*known, RING))}")
    if cases:
        table([(case.name, case.asked, {"case": case.name}) for case in cases], __file__, options)
    if ring:
        together(options)


class Rounds:
    """An engine's steps, each one of the critic's, by as many as one of the generator's comes with."""

    def __init__(self, steps: Engine, critic_steps: int):
        self.steps, self.critic_steps = steps, critic_steps

    def measure(self, rounds: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many rounds."""
        return self.steps.measure(self.critic_steps * rounds)

    def end(self) -> None:
        """Stop the run."""
        self.steps.end()


def jax_side(case: Case) -> Any:
    """Our steps through the engine, as the command sets it up."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(case.batch)
    import optax

    model = case.model()
    optimizer = optax.adam(case.lr, b1=case.b1, b2=case.b2)
    return Rounds(engine(model, {"image": pictures(model)}, case.batch, optimizer), case.critic_steps)


def torch_side(case: Case) -> Loop:
    """The peer's loop, in the quicker of two memory layouts."""
    import numpy as np
    import peers_gan
    import torch

    torch.set_num_threads(cores())
    model = case.model()
    images = torch.from_numpy(pictures(model).transpose(0, 3, 1, 2).copy())

    def loop(layout: str) -> Loop:
        torch.manual_seed(0)
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        net = peers_gan.GAN(model).to(memory_format=form)
        adam = {"lr": case.lr, "betas": (case.b1, case.b2), "foreach": True}
        critic = torch.optim.Adam(net.critic.parameters(), **adam)
        generator = torch.optim.Adam(net.generator.parameters(), **adam)
        draw = np.random.default_rng(0)

        def step() -> float:
            for _ in range(case.critic_steps):
                batch = images[torch.from_numpy(draw.integers(0, IMAGES, case.batch))].contiguous(memory_format=form)
                critic.zero_grad(set_to_none=True)
                net.critic_loss(batch.float()).backward()
                critic.step()
            generator.zero_grad(set_to_none=True)
            net.critic.requires_grad_(False)  # whose gradients nobody wants here
            loss = net.generator_loss(case.batch)
            loss.backward()
            net.critic.requires_grad_(True)
            generator.step()
            return loss.item()

        return Loop(step, layout)

    return quicker(loop)


def together(options: argparse.Namespace) -> None:
    """The second table: one process, which measures the three ways in turn."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(SEEDS)
    import jax
    import numpy as np

    from experiments.studies import mode_collapse as study

    knobs = argparse.Namespace(batch=128, width=64, latent=16, lr=1e-3, steps=CHUNK)
    recipe, _ = study.recipe_of("ring", "non-saturating", "epochs", knobs)
    data = recipe.data.load()
    x = data.train["x"]

    def scanned(seeds: tuple[int, ...]) -> Callable[[], float]:
        same = dataclasses.replace(recipe, data=study.data_of(study.DATA[0])[0], steps=1)
        begin, steps = study.programs(same, len(seeds))
        state = begin(np.asarray(seeds, np.uint32), {"x": x[: recipe.batch]})
        rows = study.orders(seeds, CHUNK, recipe.batch, len(x), False)

        def chunk() -> float:
            nonlocal state
            began = time.perf_counter()
            state = jax.block_until_ready(steps(state, x, rows))
            return (time.perf_counter() - began) / CHUNK

        chunk()
        return chunk

    run = Engine(dataclasses.replace(recipe, steps=sys.maxsize, evaluate_every=sys.maxsize), data)
    ways = {"all by one program": scanned(tuple(range(SEEDS))), "one by that program": scanned((0,))}
    ways["one run of the engine"] = lambda: run.measure(CHUNK)[0] / CHUNK
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.samples):
        for name, way in ways.items():
            samples[name].append(way())
    run.end()
    all_of, alone, of_engine = (1e3 * sorted(values)[len(values) // 2] for values in samples.values())
    say(
        f"{machine()}\n\n| {RING} | asked | ratio | a step of all, ms | of one in turn, ms |\n|---|---|---|---|---|\n"
        f"| each by that program for one seed | 4 | {SEEDS * alone / all_of:.2f} | {all_of:.2f} | {alone:.2f} |\n"
        f"| each a run of the engine | 4 | {SEEDS * of_engine / all_of:.2f} | {all_of:.2f} | {of_engine:.2f} |"
    )


def pictures(model: Any) -> Any:
    """Random images, uint8[n,h,w,c]."""
    import numpy as np

    return np.random.default_rng(0).integers(0, model.levels, (IMAGES, *model.shape)).astype(np.uint8)


if __name__ == "__main__":
    main()
