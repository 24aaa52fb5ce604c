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

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from beside_torch import engine, flags, quicker, table, work  # noqa: E402
from turns import Loop, cores  # noqa: E402

ASKED = 1.3


def main() -> None:
    """Start the workers, let them measure in turn, print the table."""
    parser = flags(__doc__)
    parser.add_argument("--side", type=int, default=128, help="pixels of the picture's sides (default 128)")
    parser.add_argument("--features", type=int, default=32, help="of each of the five scales (default 32)")
    options = parser.parse_args()
    if options.worker:
        side = torch_side if options.worker == "torch" else jax_side
        return work(lambda question: side(question["side"], question["features"]))
    name = f"Deep Image Prior, {options.side}×{options.side}, {options.features} features"
    table([(name, ASKED, {"side": options.side, "features": options.features})], __file__, options)


def model(side: int, features: int) -> Any:
    """Ours, of one gray picture."""
    from jaxgen.models.one_image.deep_image_prior import DeepImagePrior

    return DeepImagePrior(shape=(side, side, 1), levels=256, features=(features,) * 5)


def jax_side(side: int, features: int) -> Any:
    """Our steps through the engine."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(1)
    import optax

    return engine(model(side, features), {"image": picture(side)}, 1, optax.adam(0.01))


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

    return quicker(loop)


def picture(side: int) -> Any:
    """A random one, uint8[1,h,w,1]."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (1, side, side, 1)).astype(np.uint8)


if __name__ == "__main__":
    main()
