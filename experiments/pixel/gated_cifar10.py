"""Gated PixelCNN on CIFAR-10. 1606.05328: 3.03 bits/dim. Ours: not run yet.

15 layers of 128 features with 5×5 kernels, so that a pixel sees all that comes before it, final layers of 1024; Adam
with a cosine, averaged parameters. Depth, width and training are ours.

Protocol: exact test bits/dim, 256 levels, 45k train and a seeded 5k validation of the 50k, the 10k test images.

    jaxgen train gated_cifar10
    jaxgen train gated_cifar10 --dtype bfloat16 --batch 64    (on a GPU or TPU)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.pixel.gated import GatedPixelCNN


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    layers: int = 15,
    features: int = 128,
    kernel: int = 5,  # width of the layers' convolutions
    head_features: int = 1024,  # features of the final layers
    dropout: float = 0.0,
    batch: int = 32,
    steps: int = 200_000,
    lr: float = 5e-4,
    warmup: int = 500,
    ema: float = 0.9995,  # decay of the averaged parameters that are evaluated; 0: none
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the layers' arithmetic; parameters stay float32
    evaluate_every: int = 5000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    schedule = warmup_cosine(lr, steps, warmup)
    return Recipe(
        data=source(data),
        model=GatedPixelCNN(
            shape=(32, 32, 3),
            levels=256,
            layers=layers,
            features=features,
            kernel=kernel,
            head_features=head_features,
            dropout=dropout,
            dtype=dtype,
        ),
        optimizer=optax.adam(schedule),
        batch=batch,
        steps=steps,
        clip=1.0,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=3, head_features=6, batch=8, steps=2, evaluate_every=2, samples=0)
EXPECTED = {"test/bits_per_dim": (2.95, 3.10)}
