"""Glow on CIFAR-10. 1807.03039: 3.35 bits/dim. Ours: not run yet.

Three scales of four steps over nets of 32 features: small, for an hour of two CPU cores. `--preset paper` has the
paper's: 32 steps, 512 features, Adamax with a step size of 1e-3 and a warm-up of ten epochs, batches of 512; where the
paper then holds the step size, it falls along a cosine, and the number of steps is ours. Training images are mirrored
at random, as in the authors' code.

Protocol: test bits/dim of the discrete image, 256 levels, a bound by one draw of uniform noise per image; 45k train and
a seeded 5k validation of the 50k, the 10k test images.

    jaxgen train glow_cifar10
    jaxgen train glow_cifar10 --preset paper    (on several GPUs or TPUs)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.core.conditions import Classes
from jaxgen.data.source import source
from jaxgen.data.transforms import flipped
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.flow.glow import Glow


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    classes: int = 0,  # of the labels that the prior is conditional on; 0: unconditional
    scales: int = 3,
    depth: int = 4,  # steps of the flow at each scale
    features: int = 32,
    coupling: Literal["affine", "additive"] = "affine",
    convolution: Literal["plu", "plain"] = "plu",  # how the 1×1 convolutions are parametrised
    dequantisation: Literal["uniform", "variational"] = "uniform",
    batch: int = 64,
    steps: int = 30_000,
    lr: float = 1e-3,
    warmup: int = 900,
    clip: float = 1.0,  # largest norm of a gradient
    ema: float = 0.999,
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the nets' arithmetic; the flow itself stays float32
    evaluate_every: int = 2000,
    samples: int = 64,
) -> Recipe:
    return Recipe(
        data=flipped(source(data)),
        model=Glow(
            shape=(32, 32, 3),
            levels=256,
            condition=Classes(classes) if classes else None,
            scales=scales,
            steps=depth,
            features=features,
            coupling=coupling,
            convolution=convolution,
            dequantisation=dequantisation,
            dtype=dtype,
        ),
        optimizer=optax.adamax(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        clip=clip,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(scales=1, depth=1, features=4, batch=8, steps=2, warmup=1, evaluate_every=2, samples=0)
PRESETS = {"paper": dict(depth=32, features=512, batch=512, steps=150_000, evaluate_every=5000)}
EXPECTED: dict[str, tuple[float, float]] = {}
