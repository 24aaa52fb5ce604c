"""RealNVP on MNIST. 1605.08803 has no figure for it. Ours: not run yet.

Two scales (28×28 and 14×14) over residual nets of two blocks of 16 features: small, for an hour of two CPU cores.
`--preset paper` has the nets and the training of 1605.08803 for CIFAR-10: eight blocks of 64 features, Adam with a step
size of 1e-3, batches of 64; its steps are ours.

Protocol: test bits/dim of the discrete image, 256 levels, a bound by one draw of uniform noise per image; a seeded
tenth of the 60k training images is held out for validation, 10k test images. The second command has a tighter bound.

    jaxgen train realnvp_mnist
    jaxgen evaluate RUN --iw-samples 100
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.flow.realnvp import RealNVP


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    scales: int = 2,
    couplings: int = 3,  # by either mask at a scale
    blocks: int = 2,  # of each coupling's residual net
    features: int = 16,  # at the first scale; each further one has twice as many
    dequantisation: Literal["uniform", "variational"] = "uniform",
    batch: int = 64,
    steps: int = 15_000,
    lr: float = 1e-3,
    warmup: int = 500,
    clip: float = 1.0,  # largest norm of a gradient
    ema: float = 0.999,
    evaluate_every: int = 1000,
    samples: int = 64,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=RealNVP(
            shape=(28, 28, 1),
            levels=256,
            scales=scales,
            couplings=couplings,
            blocks=blocks,
            features=features,
            dequantisation=dequantisation,
        ),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        clip=clip,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(scales=1, couplings=1, blocks=1, features=4, batch=8, steps=2, warmup=1, evaluate_every=2, samples=0)
PRESETS = {"paper": dict(blocks=8, features=64, steps=200_000, evaluate_every=5000)}
EXPECTED: dict[str, tuple[float, float]] = {}
