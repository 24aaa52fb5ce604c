"""Glow on MNIST. 1807.03039 has no figure for it. Ours: not run yet.

Two scales of eight steps, at 14×14 and 7×7, over nets of 64 features: small, for an hour of two CPU cores. `--preset
paper` has the depth and width of 1807.03039 for CIFAR-10, 32 steps and 512 features, with two scales as 28 can be
halved twice; its steps are ours. With classes the prior is that of the label, and samples show the classes in turn.

Protocol: test bits/dim of the discrete image, 256 levels, a bound by one draw of uniform noise per image; with classes
given the label, which may lie up to log2(10)/784 = 0.004 bits/dim lower. A seeded tenth of the 60k training images is
held out for validation, 10k test images. The last command has a tighter bound.

    jaxgen train glow_mnist
    jaxgen train glow_mnist --classes 10
    jaxgen evaluate RUN --iw-samples 100
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.core.conditions import Classes
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.flow.glow import Glow


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    classes: int = 0,  # of the labels that the prior is conditional on; 0: unconditional
    scales: int = 2,
    depth: int = 8,  # steps of the flow at each scale
    features: int = 64,
    coupling: Literal["affine", "additive"] = "affine",
    convolution: Literal["plu", "plain"] = "plu",  # how the 1×1 convolutions are parametrised
    dequantisation: Literal["uniform", "variational"] = "uniform",
    batch: int = 64,
    steps: int = 30_000,
    lr: float = 1e-3,
    warmup: int = 500,
    clip: float = 1.0,  # largest norm of a gradient
    ema: float = 0.999,
    evaluate_every: int = 2000,
    samples: int = 64,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=Glow(
            shape=(28, 28, 1),
            levels=256,
            condition=Classes(classes) if classes else None,
            scales=scales,
            steps=depth,
            features=features,
            coupling=coupling,
            convolution=convolution,
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


SMOKE = dict(scales=1, depth=1, features=4, batch=8, steps=2, warmup=1, evaluate_every=2, samples=0)
PRESETS = {"paper": dict(depth=32, features=512, steps=200_000, evaluate_every=5000)}
EXPECTED: dict[str, tuple[float, float]] = {}
