"""RealNVP on CIFAR-10. 1605.08803: 3.49 bits/dim. Ours: not run yet.

Two scales (32×32 and 16×16) over residual nets of two blocks of 16 features: small, for an hour of two CPU cores.
`--preset paper` has the paper's: eight blocks of 64 features, Adam with a step size of 1e-3, batches of 64; its steps
are ours. Training images are mirrored at random, as in the paper.

Protocol: test bits/dim of the discrete image, 256 levels, a bound by one draw of uniform noise per image; 45k train and
a seeded 5k validation of the 50k, the 10k test images.

    jaxgen train realnvp_cifar10
    jaxgen train realnvp_cifar10 --preset paper    (on a GPU or TPU)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.data.transforms import flipped
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.flow.realnvp import RealNVP


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    scales: int = 2,
    couplings: int = 3,  # by either mask at a scale
    blocks: int = 2,  # of each coupling's residual net
    features: int = 16,  # at the first scale; each further one has twice as many
    dequantisation: Literal["uniform", "variational"] = "uniform",
    batch: int = 64,
    steps: int = 12_000,
    lr: float = 1e-3,
    warmup: int = 500,
    clip: float = 1.0,  # largest norm of a gradient
    ema: float = 0.999,
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the nets' arithmetic; the flow itself stays float32
    evaluate_every: int = 1000,
    samples: int = 64,
) -> Recipe:
    return Recipe(
        data=flipped(source(data)),
        model=RealNVP(
            shape=(32, 32, 3),
            levels=256,
            scales=scales,
            couplings=couplings,
            blocks=blocks,
            features=features,
            dequantisation=dequantisation,
            dtype=dtype,
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
PRESETS = {"paper": dict(blocks=8, features=64, steps=300_000, evaluate_every=5000)}
EXPECTED: dict[str, tuple[float, float]] = {}
