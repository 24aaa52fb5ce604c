"""Train steps and likelihoods of latent models and flows beside their PyTorch peers, in one run: prints a table.

    python experiments/benchmarks/latent.py                     (all cases, some ten minutes on two cores)
    python experiments/benchmarks/latent.py --only VAE --samples 9

As `train_step.py` does it: ours through the engine as the command line sets it up on this machine, the peers
(`peers_latent.py`, `peers_flow.py`, which the tests hold against our models) eagerly with Adam, those of
flows in the quicker of two memory layouts; processes of their own, which measure in turn while the others sleep; both
sides may use every core. Rows give medians over the samples, wall and CPU time. A ratio is PyTorch's time over ours.
−L_5000 is a whole call: 5,000 importance samples for each of 1,000 images, by both sides 50 at a time for 100 images.
The flows are the default ones of their recipes, `realnvp_mnist` and `glow_cifar10`. Only a quiet machine gives figures
worth keeping.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from beside_torch import LAYOUTS, engine, flags, quicker, table, work  # noqa: E402
from turns import Loop, cores  # noqa: E402

IMAGES, SAMPLES, AT_ONCE = 1000, 5000, 100


@dataclasses.dataclass(frozen=True)
class Case:
    """One row. `peers` is the module of the model's peer, run in the quicker of `layouts`; `what` is "train" or
    "bound"."""

    name: str
    model: Callable[[], Any]
    peers: str
    batch: int
    asked: float
    what: str = "train"
    layouts: tuple[str, ...] = ("contiguous",)


def _vae() -> Any:
    from jaxgen.models.latent.vae import VAE

    return VAE(shape=(28, 28, 1), levels=2)


def _real_nvp() -> Any:
    from jaxgen.models.flow.realnvp import RealNVP

    return RealNVP(shape=(28, 28, 1), levels=256, scales=2, blocks=2, features=16)


def _glow() -> Any:
    from jaxgen.models.flow.glow import Glow

    return Glow(shape=(32, 32, 3), levels=256, scales=3, steps=4, features=32)


BOTH = {"layouts": LAYOUTS}
CASES = (
    Case("VAE 784–200–200–50, train, b100", _vae, "peers_latent", 100, 1.5),
    Case(f"−L_{SAMPLES} of {IMAGES:,} images, the same VAE", _vae, "peers_latent", AT_ONCE, 2.0, "bound"),
    Case("RealNVP 28×28×1, 2 scales, 2 blocks of 16, train, b64", _real_nvp, "peers_flow", 64, 1.5, **BOTH),
    Case("Glow 32×32×3, 3 scales of 4 steps of 32, train, b64", _glow, "peers_flow", 64, 1.0, **BOTH),
)


def main() -> None:
    """Start the workers, let them measure in turn, print the table."""
    parser = flags(__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this, in any case")
    options = parser.parse_args()
    known = {case.name: case for case in CASES}
    if options.worker:
        side = torch_side if options.worker == "torch" else jax_side
        return work(lambda question: side(known[question["case"]]))
    cases = [case for case in CASES if options.only.lower() in case.name.lower()]
    if not cases:
        parser.error(f"no case contains {options.only!r}: {', '.join(known)}")
    rows = [(case.name, case.asked, {"case": case.name}) for case in cases]
    table(rows, __file__, options, least=1 if any(case.what == "bound" for case in cases) else 3)


def jax_side(case: Case) -> Any:
    """Our steps through the engine, or our bound through its evaluation, as the commands set them up."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(case.batch)
    import jax
    import optax

    from jaxgen.data.dataset import Split
    from jaxgen.engine.devices.mesh import make_mesh, replicated
    from jaxgen.engine.evaluate import evaluate

    model = case.model()
    split = Split({"image": pictures(model)})
    if case.what == "bound":
        mesh = make_mesh()
        init = jax.jit(model.init, out_shardings=replicated(mesh))
        variables = init(jax.random.key(0), {"image": split.image[: case.batch]})
        return Loop(
            lambda: evaluate(model, variables, split, mesh=mesh, batch=case.batch, iw_samples=SAMPLES), warm_up=1
        )
    return engine(model, split, case.batch, optax.adam(1e-4))


def torch_side(case: Case) -> Loop:
    """The peer's loop, in the quicker of the case's memory layouts."""
    import numpy as np
    import torch

    torch.set_num_threads(cores())
    peers = importlib.import_module(case.peers)
    model = case.model()
    images = torch.from_numpy(pictures(model).transpose(0, 3, 1, 2).copy())

    def loop(layout: str) -> Loop:
        torch.manual_seed(0)
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        net = peers.peer(model).to(memory_format=form)
        optimizer = torch.optim.Adam(net.parameters(), 1e-4, foreach=True)
        draw = np.random.default_rng(0)

        def bound() -> float:
            return torch.cat([net.iwae_bound(x.float(), SAMPLES) for x in images.split(case.batch)]).mean().item()

        def step() -> float:
            batch = images[torch.from_numpy(draw.integers(0, IMAGES, case.batch))].contiguous(memory_format=form)
            optimizer.zero_grad(set_to_none=True)
            loss = net.loss(batch.float())
            loss.backward()
            optimizer.step()
            return loss.item()

        return Loop(bound, layout, warm_up=1) if case.what == "bound" else Loop(step, layout)

    return quicker(loop, case.layouts)


def pictures(model: Any) -> Any:
    """Random images, uint8[n,h,w,c]."""
    import numpy as np

    return np.random.default_rng(0).integers(0, model.levels, (IMAGES, *model.shape)).astype(np.uint8)


if __name__ == "__main__":
    main()
