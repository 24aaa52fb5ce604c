"""Diagonal BiLSTM on CIFAR-10. 1601.06759: 3.00 bits/dim. Ours: not run yet.

12 layers of 128 features, final layers of 1024, RMSProp, batches of 16; step size and number of steps are ours. The
wiring is the hole-free one; `--wiring paper` is the published one.

Protocol: exact test bits/dim, 256 levels, 45k train and a seeded 5k validation of the 50k, the 10k test images.

    jaxgen train diagonal_cifar10
    jaxgen train diagonal_cifar10 --dtype bfloat16 --batch 64    (on a GPU or TPU)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    layers: int = 12,
    features: int = 128,
    head_features: int = 1024,  # features of the final layers
    wiring: Literal["full", "paper"] = "full",  # hole-free, or as published
    batch: int = 16,
    steps: int = 200_000,
    lr: float = 1e-3,
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the layers' arithmetic; parameters stay float32
    evaluate_every: int = 5000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    return Recipe(
        data=source(data),
        model=DiagonalBiLSTM(
            shape=(32, 32, 3),
            levels=256,
            layers=layers,
            features=features,
            head_features=head_features,
            wiring=wiring,
            dtype=dtype,
        ),
        optimizer=optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=3, head_features=6, batch=8, steps=2, evaluate_every=2, samples=0)
EXPECTED = {"test/bits_per_dim": (2.93, 3.06)}
